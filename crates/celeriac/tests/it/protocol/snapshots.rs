//! The wire formats at a glance: a change of these is a change of what other programs read.

use celeriac::protocol::event::{Event, EventBody, TaskReceived, TaskSent, WorkerStatus};
use celeriac::protocol::pidbox::{ReplyTo, Request};
use celeriac::protocol::{Json, Message, RawJson, Signature, TaskMessage};

fn shown(message: &Message) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let properties = &message.properties;
    let _ = writeln!(text, "content    {:?} {:?}", properties.content_type, properties.content_encoding);
    let _ = writeln!(text, "delivery   {:?} priority {:?}", properties.delivery_mode, properties.priority);
    let _ = writeln!(text, "reply      {:?} {:?}", properties.correlation_id, properties.reply_to);
    for (name, value) in message.headers.iter() {
        let _ = writeln!(text, "{name}: {value:?}");
    }
    text + std::str::from_utf8(&message.body).unwrap()
}

#[test]
fn a_task_message() {
    let args = RawJson::parse(r#"[7, "it's", [1, {"a": []}]]"#).unwrap();
    let mut task = TaskMessage::new("billing.charge", "id-1", args, RawJson::parse(r#"{"amount": 199.5}"#).unwrap());
    task.eta = celeriac::protocol::parse_time("2031-05-06T07:08:09.123456+03:00");
    task.group = Some("group-1".to_owned());
    task.group_index = Some(2);
    task.time_limit = Some(std::time::Duration::from_secs(30));
    task.soft_time_limit = Some(std::time::Duration::from_millis(20_500));
    task.origin = Some("gen1@host".to_owned());
    task.headers.insert("x-trace", "abc");
    let mut next = Signature::new("billing.receipt");
    next.set_option("task_id", Json::Str("id-2".to_owned()));
    task.embed.chain = Some(vec![next]);
    insta::assert_snapshot!(shown(&task.into_message()));
}

fn event(body: EventBody<'_>) -> String {
    let event = Event {
        hostname: "w1@host".into(),
        utcoffset: 0.0,
        pid: 18906,
        clock: Some(7),
        timestamp: 1_795_374_209.231_625_6,
        body,
    };
    std::str::from_utf8(&event.to_message().body).unwrap().to_owned()
}

#[test]
fn events() {
    let status = || WorkerStatus {
        freq: 2.0,
        active: Some(0),
        processed: Some(3),
        loadavg: Some([1.21, 1.41, 0.8]),
        sw_ident: "celeriac".into(),
        sw_ver: "0.1.0".into(),
        sw_sys: "Linux".into(),
    };
    let sent = TaskSent {
        uuid: "id-1".into(),
        root_id: Some("id-1".into()),
        name: "proj.add".into(),
        args: "(2, 3)".into(),
        kwargs: "{}".into(),
        queue: Some("celery".into()),
        exchange: Some("".into()),
        routing_key: Some("celery".into()),
        ..TaskSent::default()
    };
    let received =
        TaskReceived { uuid: "id-1".into(), name: "proj.add".into(), args: "(2, 3)".into(), ..TaskReceived::default() };
    let failed = || ("id-1".into(), "ValueError('boom')".into(), Some("Traceback".into()));
    let (uuid, exception, traceback) = failed();
    let events = [
        event(EventBody::WorkerOnline(status())),
        event(EventBody::WorkerHeartbeat(WorkerStatus { active: None, processed: None, loadavg: None, ..status() })),
        event(EventBody::WorkerOffline(status())),
        event(EventBody::TaskSent(Box::new(sent))),
        event(EventBody::TaskReceived(Box::new(received))),
        event(EventBody::TaskStarted { uuid: "id-1".into() }),
        event(EventBody::TaskSucceeded { uuid: "id-1".into(), result: "5".into(), runtime: 0.005 }),
        event(EventBody::TaskFailed { uuid, exception, traceback }),
        event(EventBody::TaskRetried { uuid: "id-1".into(), exception: "ValueError('boom')".into(), traceback: None }),
        event(EventBody::TaskRevoked { uuid: "id-1".into(), terminated: true, signum: Json::Int(15), expired: false }),
        event(EventBody::TaskRejected { uuid: "id-1".into(), requeue: false }),
        event(EventBody::TaskCancelled { uuid: "id-1".into() }),
    ];
    insta::assert_snapshot!(events.join("\n"));
}

#[test]
fn a_request() {
    let mut request = Request::new("rate_limit", RawJson::parse(r#"{"task_name": "proj.add"}"#).unwrap());
    request.destination = Some(vec!["w1@host".to_owned()]);
    request.ticket = Some("ticket-1".to_owned());
    request.reply_to = Some(ReplyTo { exchange: "reply.celery.pidbox".to_owned(), routing_key: "oid-1".to_owned() });
    request.clock = Some(3);
    request.expires = Some(1_795_374_206.5);
    insta::assert_snapshot!(shown(&request.to_message()));
}
