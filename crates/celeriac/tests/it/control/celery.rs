//! Celery's own programs direct our worker.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use celeriac::SendOptions;
use serde_json::{Value, json};
use testkit::{CeleryCommandLine, Process, Signal, Vhost};
use tokio::process::Command;

use super::remote::{Remote, serve};
use crate::worker::setup::{SOON, Serving};
use crate::worker::tasks::{Add, Nothing, Wait};

/// Where the scripts are.
pub(super) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/control")
}

/// A program beside the interpreter.
pub(super) fn program(name: &str) -> PathBuf {
    testkit::python().with_file_name(name)
}

/// What a program prints, and how it ends.
pub(super) async fn run(vhost: &Vhost, program: PathBuf, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory()).kill_on_drop(true).stdin(Stdio::null());
    command.env("BROKER_URL", vhost.amqp_url()).env_remove("RESULT_BACKEND").env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::time::timeout(Duration::from_secs(120), command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A worker with a task that runs and one that waits for its time.
async fn busy(vhost: &Vhost) -> (Serving, Remote) {
    let serving = serve(vhost, |worker| worker.concurrency(2)).await;
    let remote = Remote::of(&serving.app, &["w@test"]).await;
    serving.app.send_with(Wait, SendOptions::new().task_id("running")).await.unwrap();
    let later = SendOptions::new().task_id("scheduled").countdown(Duration::from_secs(3600));
    serving.app.send_with(Add { x: 1, y: 2 }, later).await.unwrap();
    serving.log.begun_count(1).await;
    testkit::eventually(SOON, async || serving.handle.scheduled().len() == 1).await;
    (serving, remote)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celerys_client_is_answered_everything() {
    let vhost = testkit::rabbitmq().await;
    let (serving, _remote) = busy(&vhost).await;
    let (status, printed, complaints) = run(&vhost, testkit::python(), &["ask.py", "w@test"]).await;
    assert_eq!(status, 0, "{complaints}");
    let answers: Value = serde_json::from_str(&printed).unwrap();
    for (command, expected) in [
        ("ping", json!({"ok": "pong"})),
        ("glob", json!({"ok": "pong"})),
        ("pcre", json!({"ok": "pong"})),
        ("reserved", json!([])),
        ("revoked", json!([])),
        ("rate_limit", json!({"ok": "new rate limit set successfully"})),
        ("time_limit", json!({"ok": "time limits set successfully"})),
        ("pool_grow", json!({"ok": "pool will grow"})),
        ("pool_shrink", json!({"ok": "pool will shrink"})),
        ("autoscale", json!({"error": "ValueError('Autoscale not enabled')"})),
        ("add_consumer", json!({"ok": "add consumer newq"})),
        ("cancel_consumer", json!({"ok": "no longer consuming from newq"})),
        ("revoke", json!({"ok": "tasks {'cccccccc-0000-4000-8000-000000000001'} flagged as revoked"})),
        ("terminate", json!({"ok": "terminate: tasks unknown"})),
        (
            "revoke_by_stamped_headers",
            json!({"ok": "headers {'tenant': ['t-1']} flagged as revoked, but not terminated"}),
        ),
        ("enable_events", json!({"ok": "task events enabled"})),
        ("disable_events", json!({"ok": "task events disabled"})),
        ("heartbeat", json!(null)),
        ("unknown", json!({"error": "KeyError('no_such_command')"})),
    ] {
        assert_eq!(answers[command], expected, "{command}");
    }
    assert_eq!(answers["active"][0]["id"], "running");
    assert_eq!(answers["active_safe"][0]["args"], "()");
    assert_eq!(answers["scheduled"][0]["request"]["id"], "scheduled");
    assert_eq!(answers["query_task"]["running"][0], "active");
    assert_eq!(answers["hello"]["revoked"], json!(["dddddddd-0000-4000-8000-000000000002"]));
    assert!(answers["hello"]["clock"].as_u64().unwrap() > answers["clock"]["clock"].as_u64().unwrap());
    assert_eq!(answers["active_queues"][0]["name"], "celery");
    assert_eq!(answers["stats"]["broker"]["virtual_host"], vhost.name());
    let broker = answers["conf"]["broker_url"].as_str().unwrap();
    assert!(broker.contains(":********@"), "{broker}");
    assert!(answers["report"]["ok"].as_str().unwrap().contains("transport:amqp"));
    serving.log.gate.add_permits(1);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celerys_command_line_shows_our_worker() {
    let vhost = testkit::rabbitmq().await;
    let (serving, _remote) = busy(&vhost).await;
    let mut program = CeleryCommandLine::load(&directory(), "proj", [("BROKER_URL", vhost.amqp_url())]).await;
    let mut celery = async |line: &str| {
        let said = program.run(&line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(said.status, 0, "celery {line}: {said:#?}");
        said.printed
    };
    assert_eq!(celery("status -t 10 -d w@test").await, "->  w@test: OK\n\n1 node online.\n");
    for (line, printed) in [
        ("inspect ping -t 10 -d w@test", "->  w@test: OK\n        pong\n\n1 node online.\n"),
        ("inspect reserved -t 10 -d w@test", "->  w@test: OK\n    - empty -\n\n1 node online.\n"),
        ("control pool_grow 2 -t 10 -d w@test", "->  w@test: OK\n        pool will grow\n"),
        ("control rate_limit nope 1/s -t 10 -d w@test", "->  w@test: ERROR\n        unknown task\n"),
    ] {
        assert_eq!(celery(line).await, printed, "{line}");
    }
    let active = celery("inspect active -t 10 -d w@test").await;
    assert!(active.starts_with("->  w@test: OK\n    * {'id': 'running', 'name': 't.wait', 'args': [], "), "{active}");
    let said = program.run(&["control", "shutdown", "-t", "0.5", "-d", "w@test"]).await;
    assert_eq!(said.status, 69, "{said:#?}");
    assert!(said.complaints.contains("No nodes replied within time constraint"), "{said:#?}");
    serving.log.gate.add_permits(1);
    serving.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celerys_dump_shows_what_our_worker_does() {
    let vhost = testkit::rabbitmq().await;
    let serving = serve(&vhost, |worker| worker.events(true)).await;
    Remote::of(&serving.app, &["w@test"]).await;
    let mut command = std::process::Command::new(program("celery"));
    command.args(["events", "--dump"]).current_dir(directory()).env("BROKER_URL", vhost.amqp_url());
    let mut dump = Process::spawn("celery events --dump", command);
    // It has asked for that heartbeat itself, so it listens.
    dump.wait_for_line("heartbeat", Duration::from_secs(60)).await;
    serving.app.send_with(Nothing, SendOptions::new().task_id("told")).await.unwrap();
    let succeeded = dump.wait_for_line("task succeeded: t.nothing(told) args=() kwargs={}", SOON).await;
    assert!(succeeded.starts_with("w@test [") && succeeded.contains("result=None, runtime="), "{succeeded}");
    for line in ["task received: t.nothing(told)", "task started: t.nothing(told)", "sw_ident=celeriac"] {
        assert!(dump.output().contains(line), "{line}\n{}", dump.output());
    }
    dump.signal(Signal::Interrupt);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_of_a_node_is_declared_as_kombu_declares_it() {
    let vhost = testkit::rabbitmq().await;
    let serving = serve(&vhost, |worker| worker).await;
    Remote::of(&serving.app, &["w@test"]).await;
    let known = async || vhost.queue("w@test.celery.pidbox").await;
    let mut queue = testkit::eventually(SOON, known).await;
    // RabbitMQ 4 tells the type of every queue, also of those that were declared without one.
    if let Some(arguments) = queue["arguments"].as_object_mut() {
        assert!(arguments.remove("x-queue-type").is_none_or(|kind| kind == "classic"));
    }
    let properties = [&queue["durable"], &queue["auto_delete"], &queue["exclusive"], &queue["arguments"]];
    let arguments = json!({"x-expires": 10_000, "x-message-ttl": 300_000});
    assert_eq!(properties, [&json!(false), &json!(true), &json!(true), &arguments]);
    serving.stop().await;
}
