//! Requests and replies of remote control.

use celeriac::protocol::pidbox::{CONTROL_EXCHANGE, PidboxError, REPLY_EXCHANGE, Reply, Request, one_or_many, truth};
use celeriac::protocol::{Message, RawJson};
use serde::Deserialize;
use serde_json::{Value as JsonValue, json};

use super::fixtures::{all, message, normal};

/// Every message on one of the exchanges, of all captures.
fn captured(exchange: &str) -> Vec<(String, Message)> {
    let mut captured = Vec::new();
    for fixture in ["pidbox", "events", "flow"].into_iter().flat_map(all) {
        for key in ["request", "replies", "published", "side_publishes"] {
            let entries = fixture.json.get(key).and_then(JsonValue::as_array).into_iter().flatten();
            for entry in entries.filter(|entry| entry["exchange"] == exchange && entry["body_b64"].is_string()) {
                captured.push((fixture.name.clone(), message(entry)));
            }
        }
    }
    captured
}

#[test]
fn every_request_is_read_and_written_again_as_it_was() {
    let captured = captured(CONTROL_EXCHANGE);
    assert!(captured.len() > 30, "{}", captured.len());
    for (name, message) in captured {
        let request = Request::decode(&message).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = request.to_message();
        assert_eq!(written.headers, message.headers, "{name}");
        assert_eq!(written.properties, message.properties, "{name}");
        assert_eq!(normal(&written.body), normal(&message.body), "{name}");
    }
}

#[test]
fn every_reply_is_read_and_written_again_as_it_was() {
    let captured = captured(REPLY_EXCHANGE);
    assert!(captured.len() > 30, "{}", captured.len());
    for (name, message) in captured {
        let reply = Reply::decode(&message).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = reply.to_message();
        let sorted = super::fixtures::sorted;
        assert_eq!(sorted(&written.headers), sorted(&message.headers), "{name}");
        assert_eq!(written.properties, message.properties, "{name}");
        assert_eq!(normal(&written.body), normal(&message.body), "{name}");
    }
}

fn request(body: &JsonValue) -> Result<Request, PidboxError> {
    Request::decode(&Message { body: body.to_string().into(), ..Message::default() })
}

#[test]
fn a_request_is_for_all_for_those_named_or_for_those_that_match() {
    let is_for = |extra: JsonValue| {
        let mut body = json!({"method": "ping", "arguments": {}});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        request(&body).unwrap().is_for("w1@cap").unwrap()
    };
    assert!(is_for(json!({})));
    assert!(is_for(json!({"destination": null})));
    assert!(is_for(json!({"destination": []})));
    assert!(is_for(json!({"destination": ["w1@cap", "w2@cap"]})));
    assert!(is_for(json!({"destination": "w1@cap"})));
    assert!(!is_for(json!({"destination": ["w2@cap"]})));
    assert!(is_for(json!({"pattern": "w*", "matcher": "glob"})));
    assert!(!is_for(json!({"pattern": "x*", "matcher": "glob"})));
    assert!(is_for(json!({"pattern": "w[0-9]", "matcher": "pcre"})));
    assert!(!is_for(json!({"pattern": "cap", "matcher": "pcre"})));
    assert!(is_for(json!({"pattern": "x*"})), "a pattern without a matcher is for all");
    assert!(!is_for(json!({"destination": ["w2@cap"], "pattern": "w*", "matcher": "glob"})));
}

#[test]
fn a_matcher_that_is_not_known_is_an_error() {
    let request = request(&json!({"method": "ping", "pattern": "w*", "matcher": "soundex"})).unwrap();
    assert!(request.is_for("w1@cap").is_err());
}

#[test]
fn what_is_no_request_is_refused() {
    for body in [json!(1), json!({}), json!({"method": null}), json!({"method": ""}), json!([])] {
        assert_eq!(request(&body), Err(PidboxError::Field("method")), "{body}");
    }
    assert_eq!(request(&json!({"method": "ping", "arguments": [1]})), Err(PidboxError::Field("arguments")));
    assert_eq!(request(&json!({"method": "ping", "destination": 1})), Err(PidboxError::Field("destination")));
}

#[test]
fn a_reply_to_that_cannot_be_read_means_no_reply() {
    let request = request(&json!({"method": "ping", "arguments": null, "reply_to": {"exchange": 1}})).unwrap();
    assert_eq!(request.reply_to, None);
}

#[test]
fn arguments_are_read_as_python_callers_write_them() {
    #[derive(Deserialize, Debug, PartialEq)]
    struct Revoke {
        #[serde(deserialize_with = "one_or_many")]
        task_id: Vec<String>,
        #[serde(default, deserialize_with = "truth")]
        terminate: bool,
    }

    let read = |arguments: JsonValue| {
        request(&json!({"method": "revoke", "arguments": arguments})).unwrap().arguments.read::<Revoke>()
    };
    for (terminate, expected) in
        [(json!(1), true), (json!(true), true), (json!(0), false), (json!(null), false), (json!(false), false)]
    {
        let revoke = read(json!({"task_id": "a", "terminate": terminate})).unwrap();
        assert_eq!(revoke, Revoke { task_id: vec!["a".to_owned()], terminate: expected });
    }
    assert_eq!(read(json!({"task_id": ["a", "b"]})).unwrap().task_id, ["a", "b"]);
    assert!(read(json!({"task_id": 7})).is_err());
    assert!(read(json!({"task_id": "a", "terminate": "yes"})).is_err());
}

#[test]
fn a_reply_carries_the_ticket_of_its_request() {
    let mut request = Request::new("ping", RawJson::EMPTY_OBJECT);
    request.ticket = Some("ticket".to_owned());
    let reply = Reply::to(&request, "w1@cap", Reply::ok("pong"), 7);
    let read = Reply::decode(&reply.to_message()).unwrap();
    assert_eq!(read, reply);
    assert_eq!(read.value.as_str(), r#"{"ok":"pong"}"#);
    assert_eq!(Reply::error("KeyError('x')").as_str(), r#"{"error":"KeyError('x')"}"#);
}
