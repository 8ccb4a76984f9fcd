//! What follows a failure, and what cannot be published.

use celeriac::canvas::{Canvas, CanvasError, Plan, Signature, after_failure, after_success, chord_failed};
use celeriac::protocol::{Json, RawJson, TaskMessage, Value};

use super::golden::tree;
use super::simulation::{Ids, NOW};

fn task(embed: &str) -> TaskMessage {
    let body = format!("[[], {{}}, {embed}]");
    let headers = [("task", "proj.fail"), ("id", "failed-id"), ("root_id", "root-id")];
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    TaskMessage::decode(celeriac::protocol::Message { headers, body: body.into(), ..Default::default() }).unwrap()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.messages().map(|publish| publish.message.task.as_str()).collect()
}

#[test]
fn errbacks_get_the_id_of_the_failed_task() {
    let task = task(r#"{"errbacks": [{"task": "proj.on_error"}, {"task": "proj.alarm", "args": ["loud"]}]}"#);
    let broken = Ids::new().with(None, |publisher| after_failure(&task, publisher)).unwrap();
    assert_eq!(names(&broken.plan), ["proj.on_error", "proj.alarm"]);
    let messages: Vec<_> = broken.plan.messages().map(|publish| &publish.message).collect();
    assert_eq!(messages[0].args.as_str(), r#"["failed-id"]"#);
    assert_eq!(messages[1].args.as_str(), r#"["failed-id","loud"]"#);
    for message in messages {
        assert_eq!(message.parent_id.as_deref(), Some("failed-id"));
        assert_eq!(message.root_id.as_deref(), Some("root-id"));
    }
    assert_eq!(broken.failed, []);
}

#[test]
fn the_rest_of_a_chain_fails_with_its_step() {
    let task = task(
        r#"{"chain": [
            {"task": "proj.last", "options": {"task_id": "c", "chord": {"task": "proj.body", "options": {"task_id": "body"}},
                "group_id": "g", "group_index": 1}},
            {"task": "celery.chord", "subtask_type": "chord", "options": {"task_id": "b"},
                "kwargs": {"header": [], "body": {"task": "proj.sum", "options": {"task_id": "b-body"}}}},
            {"task": "proj.next", "options": {"task_id": "a"}},
            {"task": "proj.without_an_id"}
        ]}"#,
    );
    let broken = Ids::new().with(None, |publisher| after_failure(&task, publisher)).unwrap();
    let ids: Vec<_> = broken.failed.iter().map(|step| step.task_id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["c", "b", "a", "b-body"]);
    let last = &broken.failed[0];
    assert_eq!((last.group_id.as_deref(), last.group_index), (Some("g"), Some(1)));
    assert_eq!(last.chord.as_ref().map(|body| body.task.as_str()), Some("proj.body"));
    assert_eq!(names(&broken.plan), [] as [&str; 0]);
}

fn signature(json: &serde_json::Value) -> Signature {
    Signature::from_json(&tree(json)).unwrap()
}

#[test]
fn a_chord_that_cannot_complete_fails_its_body() {
    let body = signature(&serde_json::json!({
        "task": "proj.sum",
        "options": {"task_id": "body", "link_error": [{"task": "proj.on_error"}],
            "chain": [{"task": "proj.next", "options": {"task_id": "next"}}]},
    }));
    let broken = Ids::new().with(None, |publisher| chord_failed(&body, publisher)).unwrap();
    assert_eq!(names(&broken.plan), ["proj.on_error"]);
    assert_eq!(broken.plan.messages().next().unwrap().message.args.as_str(), r#"["body"]"#);
    let ids: Vec<_> = broken.failed.iter().filter_map(|step| step.task_id.as_deref()).collect();
    assert_eq!(ids, ["body", "next"]);
}

/// A chain goes by the id of its last task, and Celery fails no other (`chord_error_from_stack`).
#[test]
fn of_a_body_that_is_a_chain_the_last_task_fails() {
    let body = signature(&serde_json::json!({
        "task": "celery.chain", "subtask_type": "chain",
        "kwargs": {"tasks": [
            {"task": "proj.one", "options": {"task_id": "one"}}, {"task": "proj.two", "options": {"task_id": "two"}},
        ]},
        "options": {"task_id": "two", "link_error": [{"task": "proj.on_error"}]},
    }));
    let broken = Ids::new().with(None, |publisher| chord_failed(&body, publisher)).unwrap();
    assert_eq!(names(&broken.plan), ["proj.on_error"]);
    let ids: Vec<_> = broken.failed.iter().filter_map(|step| step.task_id.as_deref()).collect();
    assert_eq!(ids, ["two"]);
}

#[test]
fn each_task_of_a_group_fails_when_the_group_was_the_body() {
    let body = signature(&serde_json::json!({
        "task": "celery.group", "subtask_type": "group",
        "kwargs": {"tasks": [
            {"task": "proj.one", "options": {"task_id": "one", "link_error": [{"task": "proj.own"}]}},
            {"task": "proj.two", "options": {"task_id": "two"}},
        ]},
        "options": {"task_id": "group", "link_error": [{"task": "proj.all"}]},
    }));
    let broken = Ids::new().with(None, |publisher| chord_failed(&body, publisher)).unwrap();
    assert_eq!(names(&broken.plan), ["proj.own", "proj.all", "proj.all"]);
    let ids: Vec<_> = broken.failed.iter().filter_map(|step| step.task_id.as_deref()).collect();
    assert_eq!(ids, ["one", "two"]);
}

#[test]
fn a_task_that_nothing_follows_publishes_nothing() {
    let task = task("null");
    let plan = Ids::new().with(None, |publisher| after_success(&task, &Json::Null, publisher)).unwrap();
    assert_eq!(plan, Plan::default());
}

#[test]
fn what_cannot_be_published_says_why() {
    let publish = |signature: Signature| {
        Ids::new().with(None, |publisher| Canvas::from(signature).publish(&[], publisher)).unwrap_err()
    };
    for (option, value) in [
        ("priority", Json::Int(256)),
        ("priority", "high".into()),
        ("eta", "tomorrow".into()),
        ("expires", "never".into()),
        ("countdown", Json::Number("1e300".to_owned())),
        ("compression", "brotli".into()),
    ] {
        let error = publish(Signature::new("proj.add").with(option, value));
        assert!(matches!(&error, CanvasError::Option { name, .. } if *name == option), "{option}: {error}");
    }
    let error = publish(Signature::new("proj.add").with("link", "proj.cb"));
    assert!(matches!(error, CanvasError::Signature(_)), "{error}");
    let chord = tree(&serde_json::json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": []}}));
    assert_eq!(Canvas::from_json(&chord), Err(CanvasError::NoBody));
}

#[test]
fn times_are_counted_from_now() {
    let signature = Signature::new("proj.add").with("countdown", 1.5).with("expires", 60);
    let plan = Ids::new().with(None, |publisher| Canvas::from(signature).publish(&[], publisher)).unwrap();
    let message = &plan.messages().next().unwrap().message;
    assert_eq!(message.eta.map(|eta| eta.to_utc()), Some(NOW + chrono::TimeDelta::milliseconds(1500)));
    assert_eq!(message.expires.map(|at| at.to_utc()), Some(NOW + chrono::TimeDelta::seconds(60)));
    assert_eq!(message.properties.expiration, Some(60_000));
}

#[test]
fn big_numbers_pass_through_a_workflow() {
    let digits = "123456789012345678901234567890123456789012345678901234567890";
    let task = task(r#"{"chain": [{"task": "proj.next", "options": {"task_id": "a"}}]}"#);
    let result = RawJson::parse(digits).unwrap().to_tree();
    let plan = Ids::new().with(None, |publisher| after_success(&task, &result, publisher)).unwrap();
    assert_eq!(plan.messages().next().unwrap().message.args.as_str(), format!("[{digits}]"));
}
