//! Results that Celery stored.

use celeriac::Failure;
use celeriac::protocol::{Extended, ResultMeta, ResultTuple, Revocation, State};
use chrono::{DateTime, Utc};
use serde_json::{Value as JsonValue, json};

use super::fixtures::{all, normal};

/// Every piece of metadata that was stored or published, with the name of its file.
fn captured() -> Vec<(String, String)> {
    let mut captured = Vec::new();
    for fixture in all("flow") {
        let keys = fixture.json["redis_keys_after"].as_object().into_iter().flatten();
        for (_, stored) in keys.filter(|(key, _)| key.starts_with("celery-task-meta-")) {
            captured.push((fixture.name.clone(), stored["value"].as_str().unwrap().to_owned()));
        }
        let commands = fixture.json["redis_commands"].as_array().into_iter().flatten();
        for command in commands.filter_map(|command| command["cmd"].as_str()) {
            if let Some((_, meta)) =
                command.strip_prefix("PUBLISH celery-task-meta-").and_then(|rest| rest.split_once(' '))
            {
                // MONITOR escapes what it shows.
                let meta = meta.replace("\\\\", "\u{0}").replace("\\\"", "\"").replace('\u{0}', "\\");
                if serde_json::from_str::<JsonValue>(&meta).is_ok() {
                    captured.push((fixture.name.clone(), meta));
                }
            }
        }
    }
    captured
}

/// The keys in the order in which they stand in the text.
fn keys(text: &str) -> Vec<String> {
    let json: JsonValue = serde_json::from_str(text).unwrap();
    let compact: String = text.replace("\": ", "\":");
    let mut keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    keys.sort_by_key(|key| {
        if key == "task_id" { compact.rfind("\"task_id\":") } else { compact.find(&format!("\"{key}\":")) }
    });
    keys
}

#[test]
fn every_stored_result_is_read_and_written_again_as_it_was() {
    let captured = captured();
    assert!(captured.len() > 80, "{}", captured.len());
    for (name, text) in captured {
        let meta = ResultMeta::from_json(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = meta.to_json();
        assert_eq!(normal(written.as_bytes()), normal(text.as_bytes()), "{name}");
        assert_eq!(keys(&written), keys(&text), "{name}");
    }
}

#[test]
fn every_state_was_captured() {
    let states: std::collections::BTreeSet<_> =
        captured().iter().map(|(_, text)| ResultMeta::from_json(text).unwrap().state.to_string()).collect();
    for state in ["SUCCESS", "FAILURE", "RETRY", "STARTED", "REVOKED", "PROGRESS"] {
        assert!(states.contains(state), "{state} is not among {states:?}");
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn object(meta: &ResultMeta) -> JsonValue {
    serde_json::from_str(&meta.to_json()).unwrap()
}

#[test]
fn each_state_is_written_as_celery_writes_it() {
    let done = at("2026-11-22T19:03:29.233525Z");
    let success = ResultMeta::success("t", &json!({"a": 1}), done).unwrap();
    assert_eq!(
        success.to_json(),
        r#"{"status":"SUCCESS","result":{"a":1},"traceback":null,"children":[],"date_done":"2026-11-22T19:03:29.233525+00:00","task_id":"t"}"#
    );
    let failure = Failure::builtin("ValueError", "boom").with_traceback("Traceback");
    let exception = json!({"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"});
    let stored = object(&ResultMeta::failure("t", &failure, done));
    assert_eq!((&stored["status"], &stored["result"]), (&json!("FAILURE"), &exception));
    assert_eq!(stored["traceback"], "Traceback");

    let stored = object(&ResultMeta::retry("t", &failure));
    assert_eq!((&stored["status"], &stored["result"]), (&json!("RETRY"), &exception));
    assert_eq!(stored["date_done"], JsonValue::Null);

    let stored = object(&ResultMeta::started("t", 12, "w1@cap"));
    assert_eq!(stored["status"], "STARTED");
    assert_eq!(stored["result"], json!({"pid": 12, "hostname": "w1@cap"}));

    for (why, word) in
        [(Revocation::Revoked, "revoked"), (Revocation::Expired, "expired"), (Revocation::Terminated, "terminated")]
    {
        let stored = object(&ResultMeta::revoked("t", why, done));
        assert_eq!(stored["status"], "REVOKED");
        let expected =
            json!({"exc_type": "TaskRevokedError", "exc_message": [word], "exc_module": "celery.exceptions"});
        assert_eq!(stored["result"], expected);
        assert_eq!(stored["traceback"], JsonValue::Null);
    }

    let stored = object(&ResultMeta::rejected("t", "no thanks", false, done));
    let expected =
        json!({"exc_type": "Reject", "exc_message": ["no thanks", false], "exc_module": "celery.exceptions"});
    assert_eq!((&stored["status"], &stored["result"]), (&json!("FAILURE"), &expected));

    let stored = object(&ResultMeta::custom("t", "PROGRESS", &json!({"done": 1})).unwrap());
    assert_eq!((&stored["status"], &stored["result"]), (&json!("PROGRESS"), &json!({"done": 1})));
    assert_eq!(stored["date_done"], JsonValue::Null);
}

#[test]
fn a_whole_second_has_no_fraction() {
    let meta = ResultMeta::success("t", &1, at("2026-11-22T19:03:29Z")).unwrap();
    assert!(meta.to_json().contains(r#""date_done":"2026-11-22T19:03:29+00:00""#));
}

#[test]
fn extended_results_stand_between_parent_and_task_id() {
    let mut meta = ResultMeta::success("t", &1, at("2026-11-22T19:03:29Z")).unwrap();
    meta.parent_id = Some("p".to_owned());
    meta.group_id = Some("g".to_owned());
    meta.children = Some(vec![ResultTuple::task("c")]);
    meta.extended =
        Some(Box::new(Extended { name: Some("proj.add".to_owned()), retries: Some(2), ..Extended::default() }));
    assert_eq!(
        meta.to_json(),
        r#"{"status":"SUCCESS","result":1,"traceback":null,"children":[[["c",null],null]],"date_done":"2026-11-22T19:03:29+00:00","group_id":"g","parent_id":"p","name":"proj.add","args":null,"kwargs":null,"worker":null,"retries":2,"queue":null,"task_id":"t"}"#
    );
    assert_eq!(ResultMeta::from_json(&meta.to_json()).unwrap(), meta);
}

#[test]
fn results_of_older_versions_are_read() {
    let text = r#"{"status": "SUCCESS", "result": Infinity, "traceback": null, "children": [],
        "date_done": "2026-11-22T19:03:29.233525", "task_id": "t"}"#;
    let meta = ResultMeta::from_json(text).unwrap();
    assert_eq!(meta.date_done, Some(at("2026-11-22T19:03:29.233525Z")));
    assert_eq!(meta.value::<f64>().unwrap(), f64::INFINITY);
    let meta =
        ResultMeta::from_json(r#"{"status": "SUCCESS", "result": 340282366920938463463374607431768211456}"#).unwrap();
    assert_eq!(meta.result.as_str(), "340282366920938463463374607431768211456");
}

#[test]
fn what_is_no_result_is_refused() {
    for text in ["", "7", "[]", "{}", r#"{"status": 1}"#, "null"] {
        assert!(ResultMeta::from_json(text).is_err(), "{text}");
    }
}

#[test]
fn an_exception_is_read_back() {
    let failure = Failure::new("PaymentDeclined", [json!("no funds"), json!(402)]).with_traceback("why");
    let meta = ResultMeta::failure("t", &failure, at("2026-11-22T19:03:29Z"));
    assert_eq!(ResultMeta::from_json(&meta.to_json()).unwrap().exception_info(), Some(failure));
    assert_eq!(ResultMeta::success("t", &1, at("2026-11-22T19:03:29Z")).unwrap().exception_info(), None);
}

#[test]
fn nested_groups_are_read_and_written() {
    let tuple = json!([["g", [["p", null], null]], [[["a", null], null], [["b", null], null]]]);
    let mut text = tuple.to_string().into_bytes();
    let read = ResultTuple::from_json(&celeriac::protocol::RawJson::parse(text.clone()).unwrap().to_tree()).unwrap();
    assert_eq!((read.id.as_str(), read.children.as_ref().unwrap().len()), ("g", 2));
    assert_eq!(read.parent.as_ref().unwrap().id, "p");
    let mut written = Vec::new();
    read.write(&mut written);
    assert_eq!(normal(&written), normal(&std::mem::take(&mut text)));
}

#[test]
fn states_have_celerys_names() {
    for name in
        ["PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "REVOKED", "REJECTED", "RETRY", "IGNORED", "PROGRESS"]
    {
        assert_eq!(State::from(name).as_str(), name);
        assert_eq!(State::from(name).is_ready(), ["SUCCESS", "FAILURE", "REVOKED"].contains(&name), "{name}");
        assert_eq!(State::from(name).is_exception(), ["RETRY", "FAILURE", "REVOKED"].contains(&name), "{name}");
    }
}
