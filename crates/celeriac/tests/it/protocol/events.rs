//! Events that Celery sent.

use celeriac::protocol::event::{EVENT_EXCHANGE, Event, EventBatch, EventBody, EventError};
use celeriac::protocol::{Json, Message};
use serde_json::Value as JsonValue;

use super::fixtures::{all, message};

/// Every message on the event exchange, of all captures.
fn captured() -> Vec<(String, Message)> {
    let mut captured = Vec::new();
    for fixture in ["events", "flow", "pidbox"].into_iter().flat_map(all) {
        for key in ["messages", "published", "samples", "events"] {
            let entries = fixture.json.get(key).and_then(JsonValue::as_array).into_iter().flatten();
            for entry in entries.filter(|entry| entry["exchange"] == EVENT_EXCHANGE) {
                captured.push((fixture.name.clone(), message(entry)));
            }
        }
    }
    captured
}

/// The events of a body as plain JSON.
fn texts(message: &Message) -> Vec<serde_json::Map<String, JsonValue>> {
    let body: JsonValue = serde_json::from_slice(&message.body).unwrap();
    let events = match body {
        JsonValue::Array(events) => events,
        event => vec![event],
    };
    events.into_iter().map(|event| event.as_object().unwrap().clone()).collect()
}

#[test]
fn every_event_is_read_and_written_again_as_it_was() {
    let captured = captured();
    assert!(captured.len() > 100, "{}", captured.len());
    for (name, message) in &captured {
        let events = Event::decode(message).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (event, expected) in events.iter().zip(texts(message)) {
            let written = event.to_message();
            assert_eq!(written.properties, message.properties, "{name}");
            assert_eq!(written.headers, message.headers, "{name}");
            let written = texts(&written).remove(0);
            for (key, expected) in &expected {
                let value = &written[key];
                // `freq` of a heartbeat on demand is the integer 5.
                let same = value == expected || value.as_f64().is_some_and(|value| Some(value) == expected.as_f64());
                // Arguments that a worker could not show are null in its event, and empty in ours.
                let unknown = expected.is_null() && value == "";
                assert!(same || unknown, "{name}: {key} is {value} instead of {expected}");
            }
            // A client that speaks protocol 1 leaves out what protocol 1 lacks; we say null.
            for (key, value) in written.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                assert!(value.is_null(), "{name}: {key} is {value}");
            }
        }
    }
}

#[test]
fn every_kind_of_event_is_known_by_its_fields() {
    let mut kinds = std::collections::BTreeSet::new();
    for (_, message) in captured() {
        for event in Event::decode(&message).unwrap() {
            let is_other = matches!(event.body, EventBody::Other { .. });
            assert_eq!(is_other, event.kind().starts_with("worker-elect"), "{}", event.kind());
            kinds.insert(event.kind().to_owned());
        }
    }
    let expected = [
        "task-cancelled",
        "task-failed",
        "task-received",
        "task-rejected",
        "task-retried",
        "task-revoked",
        "task-sent",
        "task-started",
        "task-succeeded",
        "worker-elect",
        "worker-elect-ack",
        "worker-heartbeat",
        "worker-offline",
        "worker-online",
    ];
    assert!(kinds.iter().map(String::as_str).eq(expected), "{kinds:?}");
}

/// The order of the keys as the capture lists it.
#[test]
fn keys_stand_in_celerys_order() {
    for fixture in all("events") {
        let (Some(fields), Some(samples)) = (fixture.json["fields"].as_array(), fixture.json["samples"].as_array())
        else {
            continue;
        };
        let sample = message(&samples[0]);
        for event in Event::decode(&sample).unwrap().iter().filter(|event| fixture.name.contains(event.kind())) {
            let body = String::from_utf8(event.to_message().body.to_vec()).unwrap();
            let positions: Vec<_> = fields.iter().filter_map(|field| body.find(&format!("{field}:"))).collect();
            assert!(positions.is_sorted() && positions.len() > 4, "{}: {body}", fixture.name);
        }
    }
}

#[test]
fn a_routing_key_is_the_type_with_dots() {
    for fixture in all("events") {
        let Some(expected) = fixture.json["routing_key_unbatched"].as_str() else { continue };
        let sample = message(&fixture.json["samples"][0]);
        let kind = expected.replacen('.', "-", 1).replace('.', "-");
        let events = Event::decode(&sample).unwrap();
        let event = events.iter().find(|event| event.kind() == kind).expect(expected);
        assert_eq!(event.routing_key(), expected);
    }
}

fn started(uuid: &'static str) -> Event<'static> {
    Event {
        hostname: "w1@cap".into(),
        utcoffset: 0.0,
        pid: 1,
        clock: Some(2),
        timestamp: 1_795_374_209.25,
        body: EventBody::TaskStarted { uuid: uuid.into() },
    }
}

#[test]
fn a_batch_is_a_list_of_its_events() {
    let mut batch = EventBatch::default();
    assert_eq!(batch.take("w1@cap"), None);
    batch.push(&started("a"));
    batch.push(&started("b"));
    assert_eq!(batch.len(), 2);
    let message = batch.take("w1@cap").unwrap();
    assert_eq!(Event::decode(&message).unwrap(), [started("a"), started("b")]);
    assert!(batch.is_empty());
    batch.push(&started("c"));
    assert_eq!(Event::decode(&batch.take("w1@cap").unwrap()).unwrap(), [started("c")]);
}

#[test]
fn only_what_celerys_receiver_needs_is_required() {
    let decode = |body: &str| {
        let message = Message { body: body.to_owned().into(), ..Message::default() };
        Event::decode(&message).map(|mut events| events.remove(0))
    };
    let event = decode(r#"{"hostname": "h", "type": "task-started", "timestamp": 1, "uuid": "u"}"#).unwrap();
    assert_eq!((event.clock, event.utcoffset, event.body.uuid()), (None, 0.0, Some("u")));
    let event = decode(r#"{"hostname": "h", "type": "worker-online", "timestamp": 1.5}"#).unwrap();
    assert!(matches!(event.body, EventBody::WorkerOnline(status) if status.freq == 60.0));
    let event = decode(r#"{"hostname": "h", "type": "task-custom", "timestamp": 1, "uuid": "u", "step": 3}"#).unwrap();
    let EventBody::Other { fields, .. } = event.body else { panic!("{event:?}") };
    assert!(fields.contains(&("step".to_owned(), Json::Int(3))));

    for (missing, body) in [
        ("uuid", r#"{"hostname": "h", "type": "task-started", "timestamp": 1}"#),
        ("uuid", r#"{"hostname": "h", "type": "task-custom", "timestamp": 1}"#),
        ("timestamp", r#"{"hostname": "h", "type": "worker-online", "timestamp": null}"#),
        ("hostname", r#"{"type": "worker-online", "timestamp": 1}"#),
        ("type", r#"{"hostname": "h", "timestamp": 1}"#),
    ] {
        assert_eq!(decode(body), Err(EventError::Field(missing)), "{body}");
    }
    assert_eq!(decode("7"), Err(EventError::Shape));
    assert!(matches!(decode("{"), Err(EventError::Json(_))));
}
