//! What follows a failure, and what cannot be published.

use celeriac::canvas::{
    Canvas, CanvasError, KnownTask, Plan, Publisher, Signature, Step, after_failure, after_success, chord_failed,
    chord_ready,
};
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
    assert_eq!(ids, ["one", "two", "group"]);
}

#[test]
fn a_chord_in_a_group_that_was_the_body_fails_where_its_result_is() {
    let outer = serde_json::json!({"task": "proj.outer", "options": {"task_id": "outer"}});
    let body = signature(&serde_json::json!({
        "task": "celery.group", "subtask_type": "group",
        "kwargs": {"tasks": [
            {"task": "celery.chord", "subtask_type": "chord",
                "kwargs": {
                    "header": [{"task": "proj.one", "options": {"task_id": "one"}}],
                    "body": {"task": "proj.sum", "options": {"task_id": "sum", "link_error": [{"task": "proj.of_body"}],
                        "chord": outer, "group_id": "g", "group_index": 0}},
                },
                "options": {"task_id": "header", "link_error": [{"task": "proj.of_chord"}, {"task": "proj.all"}]}},
            {"task": "celery.chain", "subtask_type": "chain",
                "kwargs": {"tasks": [
                    {"task": "proj.two", "options": {"task_id": "two"}},
                    {"task": "proj.three", "options": {"task_id": "three", "chord": outer, "group_id": "g", "group_index": 1}},
                ]},
                "options": {"task_id": "three"}},
        ]},
        "options": {"task_id": "group", "link_error": [{"task": "proj.all"}]},
    }));
    let broken = Ids::new().with(None, |publisher| chord_failed(&body, publisher)).unwrap();
    assert_eq!(names(&broken.plan), ["proj.of_chord", "proj.all", "proj.of_body", "proj.all"]);
    let told: Vec<_> = broken.plan.messages().map(|publish| publish.message.args.as_str()).collect();
    assert_eq!(told, [r#"["sum"]"#, r#"["sum"]"#, r#"["sum"]"#, r#"["three"]"#]);
    let ids: Vec<_> = broken.failed.iter().filter_map(|step| step.task_id.as_deref()).collect();
    assert_eq!(ids, ["sum", "three", "group"]);
    let parts: Vec<_> = broken.failed.iter().map(|step| (step.chord.is_some(), step.group_index)).collect();
    assert_eq!(parts, [(true, Some(0)), (true, Some(1)), (false, None)], "an outer chord gets its parts");
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
        ("delivery_mode", Json::Int(3)),
        ("timestamp", "yesterday".into()),
        ("timestamp", Json::Int(-1)),
        ("expiration", "soon".into()),
        ("expiration", Json::Int(-1)),
        ("expiration", Json::Int(5_000_000)),
        ("message_id", Json::Int(7)),
        ("app_id", "x".repeat(256).into()),
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
fn what_a_signature_says_of_its_message_is_said_in_the_message() {
    let when = tree(&serde_json::json!({"__type__": "datetime", "__value__": "2026-11-29T17:43:38.5+03:00"}));
    let price = tree(&serde_json::json!({"__type__": "decimal", "__value__": "-12.50"}));
    let headers = Json::Object(vec![("when".to_owned(), when.clone()), ("price".to_owned(), price)]);
    let signature = Signature::new("proj.add")
        .with("delivery_mode", 1)
        .with("expiration", 1.5)
        .with("correlation_id", "c")
        .with("message_id", "m")
        .with("app_id", "a")
        .with("type", "t")
        .with("timestamp", when)
        .with("origin", "gen1@there")
        .with("user_id", "guest")
        .with("headers", headers);
    // In the first message, and in one that is sent by the worker before.
    let canvas = Signature::new("proj.one") | signature.clone();
    let (first, _) = Ids::new().with(None, |publisher| canvas.begin(&[], publisher)).unwrap();
    let before = first.messages().next().unwrap().message.clone();
    let later = Ids::new().with(None, |publisher| after_success(&before, &Json::Null, publisher)).unwrap();
    let at_once = Ids::new().with(None, |publisher| Canvas::from(signature).publish(&[], publisher)).unwrap();
    for plan in [later, at_once] {
        let message = plan.messages().next().unwrap().message.clone().into_message();
        let properties = &message.properties;
        assert_eq!(properties.delivery_mode, celeriac::protocol::DeliveryMode::Transient);
        assert_eq!(properties.expiration, Some(1500));
        assert_eq!(properties.correlation_id.as_deref(), Some("c"));
        assert_eq!(properties.message_id.as_deref(), Some("m"));
        assert_eq!(properties.app_id.as_deref(), Some("a"));
        assert_eq!(properties.kind.as_deref(), Some("t"));
        assert_eq!(properties.user_id.as_deref(), Some("guest"));
        assert_eq!(properties.timestamp, Some(1_795_963_418));
        assert_eq!(message.headers.get("origin").and_then(Value::as_str), Some("gen1@there"));
        let when = "2026-11-29T14:43:38.5Z".parse().unwrap();
        assert_eq!(message.headers.get("when"), Some(&Value::Timestamp(when)));
        assert_eq!(message.headers.get("price"), Some(&Value::Decimal { scale: 2, mantissa: -1250 }));
    }
}

#[test]
fn who_knows_what_a_task_hides_says_so_for_all_who_send_it_on() {
    const SECRET: &str = "SECRET-4711";
    let pay = || Signature::new("t.pay").kwarg("pin", SECRET).immutable();
    let other = || Signature::new("t.other").immutable();
    let linked = Canvas::from(other()).link(pay()).link_error(pay());
    let canvas = other() | pay() | Canvas::group([Canvas::from(pay()), linked]) | pay() | pay();
    let known = |name: &str| {
        let options = celeriac::TaskOptions::DEFAULT;
        (name == "t.pay").then_some(KnownTask { options, fields: &["pin"], redacted: &["pin"] })
    };
    let mut count = 0;
    let mut new_id = || {
        count += 1;
        format!("id-{count}")
    };
    let mut publisher = Publisher { now: NOW, reply_to: "client", new_id: &mut new_id, known: &known, parent: None };
    let (plan, _) = canvas.begin(&[], &mut publisher).unwrap();
    // Whoever sends the steps that follow knows nothing.
    let mut waiting: Vec<_> = plan.messages().map(|publish| publish.message.clone()).collect();
    let mut seen = 0;
    while let Some(task) = waiting.pop() {
        let message = task.clone().into_message();
        assert!(!format!("{:?}", message.headers).contains(SECRET), "{:?}", message.headers);
        seen += usize::from(task.task == "t.pay");
        let task = TaskMessage::decode(message).unwrap();
        let next = Ids::new().with(None, |publisher| after_success(&task, &Json::Null, publisher)).unwrap();
        waiting.extend(next.messages().map(|publish| publish.message.clone()));
        if let Some(body) = task.embed.chord.filter(|_| task.group_index == Some(0)) {
            let body = Ids::new().with(None, |publisher| chord_ready(&body, Vec::new(), publisher)).unwrap();
            waiting.extend(body.messages().map(|publish| publish.message.clone()));
        }
        for step in &next.steps {
            if let Step::ApplyChord(chord) = step {
                let shown = chord.body.option("kwargsrepr").and_then(Json::as_str);
                assert_eq!(shown, Some("{'pin': '***'}"), "celery.chord_unlock shows the body");
            }
        }
    }
    assert_eq!(seen, 5, "each of them has been sent");
}

#[test]
fn nested_groups_count_their_tasks_as_celery_does() {
    let task = |name: &str| Canvas::from(Signature::new(name));
    let nested = Canvas::group([Canvas::group([task("a"), task("b")]), task("c")]);
    let (plan, result) = Ids::new().with(None, |publisher| nested.begin(&[], publisher)).unwrap();
    let indices: Vec<_> = plan.messages().map(|publish| publish.message.group_index.unwrap()).collect();
    assert_eq!((names(&plan), indices), (vec!["a", "b", "c"], vec![0, 1, 1]));
    let ids: Vec<_> = plan.messages().map(|publish| publish.message.id.clone()).collect();
    let results: Vec<_> = result.children.unwrap().into_iter().map(|child| child.id).collect();
    assert_eq!(results, ids, "their results are in their order");
}

#[test]
fn options_of_a_group_are_those_of_its_tasks() {
    let errback = |name: &str| Signature::new(name).to_json();
    let chord = Canvas::chord([Signature::new("head")], Signature::new("body"));
    let tasks = [Canvas::from(Signature::new("a")).link_error(Signature::new("own")), chord];
    let mut group = Signature::from_json(&Canvas::group(tasks).to_json()).unwrap();
    group.set_option("link_error", Json::List(vec![errback("of_group")]));
    group.set_option("link", Json::List(vec![errback("callback")]));
    let group = Canvas::from_json(&group.to_json()).unwrap();
    let (plan, _) = Ids::new().with(None, |publisher| group.begin(&[], publisher)).unwrap();
    let messages: Vec<_> = plan.messages().map(|publish| &publish.message).collect();
    let [first, head] = messages.as_slice() else { panic!("{messages:?}") };
    let linked =
        |list: &Option<Vec<Signature>>| list.iter().flatten().map(|link| link.task.clone()).collect::<Vec<_>>();
    assert_eq!(
        (linked(&first.embed.errbacks), linked(&first.embed.callbacks)),
        (vec!["of_group".into()], vec!["callback".into()])
    );
    let body = head.embed.chord.as_ref().unwrap();
    assert!(format!("{:?}", body.option("link_error")).contains("of_group"), "{body:?}");
    assert!(format!("{:?}", body.option("link")).contains("callback"), "{body:?}");
}

#[test]
fn big_numbers_pass_through_a_workflow() {
    let digits = "123456789012345678901234567890123456789012345678901234567890";
    let task = task(r#"{"chain": [{"task": "proj.next", "options": {"task_id": "a"}}]}"#);
    let result = RawJson::parse(digits).unwrap().to_tree();
    let plan = Ids::new().with(None, |publisher| after_success(&task, &result, publisher)).unwrap();
    assert_eq!(plan.messages().next().unwrap().message.args.as_str(), format!("[{digits}]"));
}
