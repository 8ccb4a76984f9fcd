//! Captured messages. Every file that lies in a folder is used, so a new case needs no code.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celeriac::protocol::{DeliveryMode, Headers, Json, Message, Properties, RawJson, Value};
use serde_json::Value as JsonValue;

/// A captured file.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) json: JsonValue,
}

/// All files below a folder of `tests/fixtures`.
pub(crate) fn all(folder: &str) -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut files = Vec::new();
    collect(&root.join(folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {folder}");
    files.iter().map(|file| read(&root, file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
}

fn read(root: &Path, file: &Path) -> Fixture {
    let text = std::fs::read_to_string(file).unwrap();
    let name = file.strip_prefix(root).unwrap().display().to_string();
    // Python wrote these files, some with an `Infinity`.
    let json = serde_json::from_str(&text).or_else(|_| RawJson::parse(text).and_then(|json| json.read()));
    Fixture { json: json.unwrap_or_else(|error| panic!("{name}: {error}")), name }
}

/// The message that an entry describes.
pub(super) fn message(entry: &JsonValue) -> Message {
    let headers = match entry["header_types"].as_object() {
        Some(types) => match value(&entry["headers"], &serde_json::json!({ "F": types })) {
            Value::Table(headers) => headers,
            other => panic!("headers are no table: {other:?}"),
        },
        None => Headers::default(),
    };
    let body = match (entry["body_b64"].as_str(), entry["body_utf8"].as_str(), &entry["event"]) {
        (Some(body), _, _) => STANDARD.decode(body).unwrap(),
        (None, Some(body), _) => body.as_bytes().to_vec(),
        // A sample that was taken out of a batch.
        (None, None, event) if event.is_object() => event.to_string().into_bytes(),
        (None, None, _) => panic!("an entry without a body: {entry}"),
    };
    Message { properties: properties(&entry["properties"]), headers, body: body.into() }
}

fn properties(json: &JsonValue) -> Properties {
    let text = |key: &str| json.get(key).and_then(JsonValue::as_str).map(str::to_owned);
    Properties {
        content_type: text("content_type"),
        content_encoding: text("content_encoding"),
        delivery_mode: match json.get("delivery_mode").and_then(JsonValue::as_u64) {
            Some(2) => DeliveryMode::Persistent,
            _ => DeliveryMode::Transient,
        },
        priority: json.get("priority").and_then(JsonValue::as_u64).map(|priority| priority.try_into().unwrap()),
        correlation_id: text("correlation_id"),
        reply_to: text("reply_to"),
        expiration: text("expiration").map(|milliseconds| milliseconds.parse().unwrap()),
        message_id: text("message_id"),
        timestamp: json.get("timestamp").and_then(JsonValue::as_u64),
        kind: text("type"),
        user_id: text("user_id"),
        app_id: text("app_id"),
    }
}

/// A header value by its AMQP type: `"S"`, `{"A": [types]}`, `{"F": {name: type}}`.
fn value(json: &JsonValue, tag: &JsonValue) -> Value {
    if let Some(types) = tag.get("A").and_then(JsonValue::as_array) {
        let elements = json.as_array().expect("an array for tag A");
        return Value::List(elements.iter().zip(types).map(|(element, tag)| value(element, tag)).collect());
    }
    if let Some(types) = tag.get("F").and_then(JsonValue::as_object) {
        let table = json.as_object().expect("an object for tag F");
        // The order on the wire is that of the types: serde_json sorts what it reads.
        return Value::Table(types.iter().map(|(name, tag)| (name.clone(), value(&table[name], tag))).collect());
    }
    match tag.as_str().expect("a tag") {
        "V" => Value::Null,
        "S" => Value::Str(json.as_str().unwrap().to_owned()),
        "I" | "L" | "l" | "s" | "b" | "B" => Value::Int(json.as_i64().unwrap()),
        "d" | "f" => Value::Float(json.as_f64().unwrap()),
        "t" => Value::Bool(json.as_bool().unwrap()),
        "T" => Value::Timestamp(json.as_str().unwrap().parse().unwrap()),
        unknown => panic!("a fixture has the unknown tag {unknown}"),
    }
}

/// A JSON text as a tree whose keys are sorted, so that two texts of the same value are equal.
pub(super) fn normal(text: &[u8]) -> Json {
    fn sort(json: &mut Json) {
        match json {
            Json::List(elements) => elements.iter_mut().for_each(sort),
            Json::Object(entries) => {
                entries.iter_mut().for_each(|(_, value)| sort(value));
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            }
            _ => {}
        }
    }
    let mut tree = RawJson::parse(text.to_vec()).expect("JSON").to_tree();
    sort(&mut tree);
    tree
}

/// Headers in the order of their names, which fixtures cannot keep.
pub(super) fn sorted(headers: &Headers) -> Vec<(String, Value)> {
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), sorted_value(value))).collect();
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    headers
}

fn sorted_value(value: &Value) -> Value {
    match value {
        Value::Table(table) => Value::Table(sorted(table).into_iter().collect()),
        Value::List(elements) => Value::List(elements.iter().map(sorted_value).collect()),
        other => other.clone(),
    }
}
