//! Signatures from outside: whatever they say, nothing panics, and what is published can be read.

use celeriac::canvas::{Canvas, CanvasError, Signature, after_failure, after_success, chord_failed};
use celeriac::protocol::{Json, TaskMessage};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value as JsonValue, json};

use super::golden::tree;
use super::simulation::Ids;

fn options(signature: impl Strategy<Value = JsonValue> + Clone) -> impl Strategy<Value = JsonValue> {
    let value = prop_oneof![
        Just(JsonValue::Null),
        any::<i32>().prop_map(Into::into),
        any::<bool>().prop_map(Into::into),
        "[a-z]{0,3}".prop_map(Into::into),
        signature.clone(),
        vec(signature, 0..3).prop_map(Into::into),
    ];
    const NAMES: [&str; 22] = [
        "task_id",
        "group_id",
        "group_index",
        "chord",
        "chain",
        "link",
        "link_error",
        "root_id",
        "parent_id",
        "countdown",
        "priority",
        "stamped_headers",
        "queue",
        "expires",
        "delivery_mode",
        "expiration",
        "timestamp",
        "headers",
        "correlation_id",
        "type",
        "argsrepr",
        "kwargsrepr",
    ];
    vec(((0..NAMES.len()).prop_map(|index| NAMES[index].to_owned()), value), 0..4)
        .prop_map(|entries| JsonValue::Object(entries.into_iter().collect()))
}

fn signature() -> impl Strategy<Value = JsonValue> {
    let leaf =
        prop_oneof![4 => Just(json!({"task": "proj.add", "args": [1]})), 1 => Just(json!({})), 1 => Just(json!(7))];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let tasks = vec(inner.clone(), 0..4);
        let kind = prop_oneof![
            (tasks.clone(), prop_oneof![Just("chain"), Just("group")])
                .prop_map(|(tasks, kind)| json!({"task": format!("celery.{kind}"), "subtask_type": kind, "kwargs": {"tasks": tasks}})),
            (tasks, inner.clone()).prop_map(|(header, body)| {
                json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": header, "body": body}})
            }),
            Just(json!({"task": "proj.add"})),
        ];
        (kind, options(inner), any::<bool>()).prop_map(|(mut signature, options, immutable)| {
            signature["options"] = options;
            signature["immutable"] = immutable.into();
            signature
        })
    })
}

proptest! {
    #[test]
    fn no_signature_makes_us_panic(json in signature(), embed in prop_oneof![Just("chain"), Just("callbacks"), Just("errbacks")]) {
        let tree = tree(&json);
        if let Ok(canvas) = Canvas::from_json(&tree)
            && let Ok(plan) = Ids::new().with(None, |publisher| canvas.publish(&[Json::Null], publisher))
        {
            for publish in plan.messages() {
                let message = publish.message.clone().into_message();
                prop_assert!(TaskMessage::decode(message).is_ok());
            }
        }
        if let Ok(body) = Signature::from_json(&tree) {
            let _ = Ids::new().with(None, |publisher| chord_failed(&body, publisher));
            let mut task = TaskMessage::new("proj.add", "id", celeriac::protocol::RawJson::EMPTY_LIST, celeriac::protocol::RawJson::EMPTY_OBJECT);
            match embed {
                "chain" => task.embed.chain = Some(vec![body]),
                "callbacks" => task.embed.callbacks = Some(vec![body.clone(), body]),
                _ => task.embed.errbacks = Some(vec![body]),
            }
            let _ = Ids::new().with(None, |publisher| after_success(&task, &Json::Null, publisher));
            let _ = Ids::new().with(None, |publisher| after_failure(&task, publisher));
        }
    }
}

#[test]
fn what_is_nested_too_deeply_to_be_read_is_not_published() {
    let mut deep = Json::Null;
    for _ in 0..254 {
        deep = Json::List(vec![deep]);
    }
    let publish = |value: Json| {
        let canvas = Canvas::from(Signature::new("proj.add").arg(value));
        Ids::new().with(None, |publisher| canvas.publish(&[], publisher))
    };
    let plan = publish(deep.clone()).unwrap();
    let message = plan.messages().next().unwrap().message.clone().into_message();
    assert!(TaskMessage::decode(message).is_ok());
    assert!(matches!(publish(Json::List(vec![deep])), Err(CanvasError::Json(_))));
}
