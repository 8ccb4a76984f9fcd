//! Task messages that Celery sent: we read what they say, and would have sent the same.

use celeriac::protocol::{DecodeErrorKind, Json, Message, RawJson, TaskMessage, Value};
use serde_json::Value as JsonValue;

use super::fixtures::{Fixture, all, message, normal, sorted};

/// Celery's headers in its order.
const ORDER: [&str; 19] = [
    "lang",
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
];

/// Every captured task message, with the name of its file.
fn captured() -> Vec<(String, Message)> {
    let of = |fixture: Fixture, key: &str| {
        let tasks = |entry: &JsonValue| entry.get("kind").is_none_or(|kind| kind == "task");
        let list = fixture.json.get(key).and_then(JsonValue::as_array).cloned().unwrap_or_default();
        let name = fixture.name;
        list.into_iter()
            .filter(tasks)
            .enumerate()
            .map(move |(index, entry)| (format!("{name}#{index}"), message(&entry)))
            .collect::<Vec<_>>()
    };
    let sent = all("task").into_iter().flat_map(|fixture| of(fixture, "messages"));
    let in_flows = all("flow").into_iter().flat_map(|fixture| of(fixture, "published"));
    sent.chain(in_flows).collect()
}

fn is_json(message: &Message) -> bool {
    message.properties.content_type.as_deref() == Some("application/json")
}

/// Those that a worker can run.
fn runnable() -> Vec<(String, Message)> {
    let all = captured().into_iter();
    all.filter(|(name, message)| is_json(message) && !name.starts_with("flow/malformed")).collect()
}

fn is_protocol_2(message: &Message) -> bool {
    message.headers.get("task").is_some()
}

fn decode(name: &str, message: &Message) -> TaskMessage {
    TaskMessage::decode(message.clone()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn body(message: &Message) -> Json {
    let task = decode("body", message);
    match task.compression {
        None => normal(&message.body),
        Some(_) => {
            let plain = TaskMessage { compression: None, ..task };
            normal(&plain.into_message().body)
        }
    }
}

#[test]
fn there_are_messages_of_every_kind() {
    assert!(captured().len() > 60);
    assert!(captured().iter().any(|(_, message)| !is_json(message)));
    assert!(runnable().iter().any(|(_, message)| !is_protocol_2(message)));
}

#[test]
fn every_message_says_what_its_headers_say() {
    for (name, message) in runnable().into_iter().filter(|(_, message)| is_protocol_2(message)) {
        let task = decode(&name, &message);
        let text = |header: &str| message.headers.get(header).and_then(Value::as_str).map(str::to_owned);
        assert_eq!(Some(&task.task), text("task").as_ref(), "{name}");
        assert_eq!(Some(&task.id), text("id").as_ref(), "{name}");
        assert_eq!(task.root_id, text("root_id"), "{name}");
        assert_eq!(task.parent_id, text("parent_id"), "{name}");
        assert_eq!(task.group, text("group"), "{name}");
        assert_eq!(task.origin, text("origin"), "{name}");
        assert_eq!(task.argsrepr, text("argsrepr"), "{name}");
        assert_eq!(task.kwargsrepr, text("kwargsrepr"), "{name}");
        assert_eq!(task.group_index, message.headers.get("group_index").and_then(Value::as_i64), "{name}");
        let retries = message.headers.get("retries").and_then(Value::as_i64).unwrap_or(0);
        assert_eq!(i64::from(task.retries), retries, "{name}");
        let eta = task.eta.map(|eta| celeriac::protocol::format_time(&eta));
        assert_eq!(eta, text("eta"), "{name}");
        for (header, value) in message.headers.iter() {
            if !ORDER.contains(&header) && header != "compression" {
                assert_eq!(task.headers.get(header), Some(value), "{name}: {header}");
            }
        }
    }
}

#[test]
fn what_is_read_is_written_again_as_it_was() {
    for (name, message) in runnable().into_iter().filter(|(_, message)| is_protocol_2(message)) {
        // Minimal messages lack headers that we always write.
        if message.headers.get("stamps").is_none() {
            continue;
        }
        let written = decode(&name, &message).into_message();
        assert_eq!(sorted(&written.headers), sorted(&message.headers), "{name}");
        assert_eq!(written.properties, message.properties, "{name}");
        assert_eq!(body(&written), body(&message), "{name}");
    }
}

#[test]
fn headers_are_written_in_celerys_order() {
    for (name, message) in runnable() {
        let written = decode(&name, &message).into_message();
        let names: Vec<_> = written.headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names[..ORDER.len()], ORDER, "{name}");
    }
}

/// The same call, made by us: from the name, the id, the arguments and the options alone.
#[test]
fn our_message_of_the_same_call_is_celerys() {
    for (name, message) in captured().into_iter().filter(|(name, _)| name.starts_with("task/")) {
        if !is_json(&message) || !is_protocol_2(&message) {
            continue;
        }
        let theirs = decode(&name, &message);
        let mut ours = TaskMessage::new(&*theirs.task, &*theirs.id, theirs.args.clone(), theirs.kwargs.clone());
        ours.eta = theirs.eta;
        ours.expires = theirs.expires;
        ours.group.clone_from(&theirs.group);
        ours.group_index = theirs.group_index;
        ours.retries = theirs.retries;
        ours.time_limit = theirs.time_limit;
        ours.soft_time_limit = theirs.soft_time_limit;
        ours.parent_id.clone_from(&theirs.parent_id);
        if theirs.root_id.as_ref() != Some(&theirs.id) {
            ours.root_id.clone_from(&theirs.root_id);
        }
        ours.origin.clone_from(&theirs.origin);
        ours.ignore_result = theirs.ignore_result;
        ours.stamped_headers.clone_from(&theirs.stamped_headers);
        ours.stamps = theirs.stamps.clone();
        ours.headers = theirs.headers.clone();
        ours.embed = theirs.embed.clone();
        ours.compression = theirs.compression;
        ours.properties = celeriac::protocol::Properties {
            content_type: ours.properties.content_type,
            content_encoding: ours.properties.content_encoding,
            delivery_mode: ours.properties.delivery_mode,
            correlation_id: ours.properties.correlation_id,
            ..theirs.properties.clone()
        };
        let ours = ours.into_message();
        for (header, expected) in message.headers.iter() {
            let written = ours.headers.get(header).unwrap_or_else(|| panic!("{name}: {header} is missing"));
            if header == "argsrepr" {
                assert_eq!(written.as_str(), Some(as_tuple(expected.as_str().unwrap()).as_str()), "{name}: {header}");
            } else {
                assert_eq!(sorted_one(written), sorted_one(expected), "{name}: {header}");
            }
        }
        assert_eq!(ours.headers.len(), message.headers.len(), "{name}");
        assert_eq!(ours.properties, message.properties, "{name}");
        assert_eq!(body(&ours), body(&message), "{name}");
    }
}

fn sorted_one(value: &Value) -> Vec<(String, Value)> {
    sorted(&[(String::new(), value.clone())].into_iter().collect())
}

/// Python shows whether the caller passed a list or a tuple. JSON does not say: we show the arguments as a tuple and
/// what is nested in them as lists (`json_types` nests a tuple).
pub(crate) fn as_tuple(repr: &str) -> String {
    let repr = match repr.strip_prefix('[').and_then(|repr| repr.strip_suffix(']')) {
        Some(elements) if !elements.contains(", ") && !elements.is_empty() => format!("({elements},)"),
        Some(elements) => format!("({elements})"),
        None => repr.to_owned(),
    };
    repr.replace(", (1, 2))", ", [1, 2])")
}

#[test]
fn other_content_is_refused() {
    for (name, message) in captured().into_iter().filter(|(_, message)| !is_json(message)) {
        let error = TaskMessage::decode(message).expect_err(&name);
        assert!(matches!(error.kind, DecodeErrorKind::ContentType { .. }), "{name}: {error}");
    }
}

#[test]
fn malformed_messages_are_refused() {
    for (name, message) in captured().into_iter().filter(|(name, _)| name.starts_with("flow/malformed")) {
        let error = TaskMessage::decode(message).expect_err(&name);
        let expected = match name.split(['/', '.']).nth(1).unwrap() {
            "malformed_bad_json" => matches!(error.kind, DecodeErrorKind::Json(_)),
            "malformed_content_type_pickle" => matches!(error.kind, DecodeErrorKind::ContentType { .. }),
            "malformed_no_headers" => matches!(error.kind, DecodeErrorKind::NotATask),
            _ => true,
        };
        assert!(expected, "{name}: {error}");
    }
}

#[test]
fn protocol_1_is_read_and_written_as_protocol_2() {
    for (name, message) in runnable().into_iter().filter(|(_, message)| !is_protocol_2(message)) {
        let task = decode(&name, &message);
        let body: JsonValue = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(task.task, body["task"], "{name}");
        assert_eq!(task.id, body["id"], "{name}");
        assert_eq!(task.args.read::<JsonValue>().unwrap(), body["args"], "{name}");
        assert_eq!(task.kwargs.read::<JsonValue>().unwrap(), body["kwargs"], "{name}");
        let written = task.into_message();
        assert_eq!(written.headers.get("task").and_then(Value::as_str), body["task"].as_str(), "{name}");
        assert_eq!(decode(&name, &written).args.read::<JsonValue>().unwrap(), body["args"], "{name}");
    }
}

#[test]
fn what_follows_a_task_survives() {
    for (name, message) in runnable() {
        let task = decode(&name, &message);
        if !is_protocol_2(&message) || task.compression.is_some() {
            continue;
        }
        let body: JsonValue = serde_json::from_slice(&message.body).unwrap();
        let embed = &body[2];
        let count = |key: &str| embed[key].as_array().map(Vec::len);
        assert_eq!(task.embed.chain.as_ref().map(Vec::len), count("chain"), "{name}");
        assert_eq!(task.embed.callbacks.as_ref().map(Vec::len), count("callbacks"), "{name}");
        assert_eq!(task.embed.errbacks.as_ref().map(Vec::len), count("errbacks"), "{name}");
        let chord = task.embed.chord.as_ref().map(|chord| chord.task.as_str());
        assert_eq!(chord, embed["chord"]["task"].as_str(), "{name}");
        for (index, signature) in task.embed.chain.iter().flatten().enumerate() {
            let mut written = Vec::new();
            signature.to_json().write(&mut written);
            assert_eq!(normal(&written), normal(embed["chain"][index].to_string().as_bytes()), "{name}");
        }
    }
}

#[test]
fn a_value_in_the_body_is_found_without_a_copy() {
    let (name, message) = runnable().into_iter().find(|(name, _)| name.starts_with("task/plain_args")).unwrap();
    let task = decode(&name, &message);
    let within = message.body.as_ptr_range();
    assert!(within.contains(&task.args.as_bytes().as_ptr()));
    assert_eq!(task.args, RawJson::parse("[2, 3]").unwrap());
}
