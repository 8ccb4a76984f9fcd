//! Celery 5.7 ran these workflows through its own classes, with workers that answer as ours do: we publish the same
//! messages in the same order, from the first to the last.

use std::collections::HashMap;

use celeriac::canvas::{Canvas, Step};
use celeriac::protocol::{Json, Message, RawJson, Value};
use serde_json::{Value as JsonValue, json};

use super::simulation::{OID, run};
use crate::protocol::fixtures::all;
use crate::protocol::golden::as_tuple;

/// Ids by the order in which they are first seen, so that two runs can be compared.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    fn of(&mut self, text: &str) -> String {
        let is_id = text.len() == 36 && text.bytes().filter(|byte| *byte == b'-').count() == 4;
        if !is_id {
            return text.to_owned();
        }
        let next = format!("#{}", self.0.len());
        self.0.entry(text.to_owned()).or_insert(next).clone()
    }

    /// The value with names for ids, and without what means nothing: options that are null (Celery passes on
    /// `priority=None`, `root_id=None`) and a flag that only Python's own process looks at.
    fn plain(&mut self, value: &JsonValue) -> JsonValue {
        match value {
            JsonValue::String(text) => self.of(text).into(),
            JsonValue::Array(elements) => elements.iter().map(|element| self.plain(element)).collect(),
            JsonValue::Object(entries) => entries
                .iter()
                .filter(|(name, value)| !value.is_null() && *name != "add_to_parent")
                .map(|(name, value)| (name.clone(), self.plain(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }
}

const HEADERS: [&str; 14] = [
    "task",
    "id",
    "shadow",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
];

fn theirs(step: &JsonValue, oid: &str) -> JsonValue {
    if step.get("chord_size").is_some() {
        return step.clone();
    }
    let message = &step["message"];
    let mut headers = HEADERS.map(|name| (name.to_owned(), message["headers"][name].clone()));
    for (_, repr) in headers.iter_mut().filter(|(name, _)| name == "argsrepr") {
        *repr = as_tuple(repr.as_str().unwrap()).into();
    }
    let json = json!({
        "headers": serde_json::Map::from_iter(headers),
        "eta": message["headers"]["eta"].is_string(),
        "expires": message["headers"]["expires"].is_string(),
        "priority": message["priority"].as_u64().unwrap_or(0),
        "queue": message["queue"],
        "expiration": message["expiration"].as_f64().map(|seconds| (seconds * 1000.0) as u64),
        "reply_to": message["reply_to"],
        "body": message["body"],
    });
    // The client's own id differs from client to client.
    serde_json::from_str(&json.to_string().replace(oid, OID)).unwrap()
}

/// The beginning of a chord leaves no trace in what Celery has published: its backend counts the parts.
fn ours(step: &Step) -> Option<JsonValue> {
    let publish = match step {
        Step::ChordSize(size) => return Some(json!({"chord_size": [size.group_id, size.size]})),
        Step::ApplyChord(_) => return None,
        Step::Publish(publish) => publish,
    };
    let message = publish.message.clone().into_message();
    let header = |name: &str| message.headers.get(name).map_or(JsonValue::Null, plain_value);
    let headers = HEADERS.map(|name| (name.to_owned(), header(name)));
    Some(json!({
        "headers": serde_json::Map::from_iter(headers),
        "eta": header("eta").is_string(),
        "expires": header("expires").is_string(),
        "priority": message.properties.priority,
        "queue": publish.route.queue,
        "expiration": message.properties.expiration,
        "reply_to": message.properties.reply_to,
        "body": body(&message),
    }))
}

fn body(message: &Message) -> JsonValue {
    serde_json::from_slice(&message.body).unwrap()
}

fn plain_value(value: &Value) -> JsonValue {
    match value {
        Value::Null => JsonValue::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Str(text) => text.as_str().into(),
        Value::List(values) => values.iter().map(plain_value).collect(),
        Value::Table(table) => table
            .iter()
            .map(|(name, value)| (name.to_owned(), plain_value(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => panic!("a header that Celery does not write: {other:?}"),
    }
}

pub(super) fn tree(json: &JsonValue) -> Json {
    RawJson::of(json).unwrap().to_tree()
}

#[test]
fn every_workflow_is_published_as_celery_publishes_it() {
    let fixtures = all("canvas");
    assert!(fixtures.len() > 50);
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        let steps = fixture.json["steps"].as_array().unwrap();
        let oid = steps.iter().find_map(|step| step["message"]["reply_to"].as_str()).unwrap();
        let canvas = Canvas::from_json(&tree(&fixture.json["canvas"])).unwrap();
        let (mut our_names, mut their_names) = (Names::default(), Names::default());
        let ours: Vec<_> = run(canvas).unwrap().iter().filter_map(ours).map(|step| our_names.plain(&step)).collect();
        let theirs: Vec<_> = steps.iter().map(|step| their_names.plain(&theirs(step, oid))).collect();
        let pretty = |steps: &[JsonValue], at: usize| steps.get(at).map_or("nothing".to_owned(), JsonValue::to_string);
        if let Some(at) = (0..ours.len().max(theirs.len())).find(|at| ours.get(*at) != theirs.get(*at)) {
            wrong.push(format!(
                "{} step {at}\nours   {}\ntheirs {}",
                fixture.name,
                pretty(&ours, at),
                pretty(&theirs, at)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), fixtures.len(), wrong.join("\n"));
}

#[test]
fn a_workflow_is_written_as_it_was_read() {
    for fixture in all("canvas") {
        let json = tree(&fixture.json["canvas"]);
        let mut read = Vec::new();
        Canvas::from_json(&json).unwrap().to_json().write(&mut read);
        assert_eq!(serde_json::from_slice::<JsonValue>(&read).unwrap(), fixture.json["canvas"], "{}", fixture.name);
    }
}
