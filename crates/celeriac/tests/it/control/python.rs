//! Our client directs Celery's own workers, and hears their events.

use std::process::Command as Program;
use std::time::Duration;

use celeriac::control::{Command, Matcher};
use celeriac::events::{Receiver, State};
use celeriac::{App, SendOptions};
use serde_json::{Value, json};
use testkit::{Process, Vhost};

use super::celery::{directory, program};
use super::remote::{Remote, serve};
use crate::worker::setup::SOON;

const STARTS_WITHIN: Duration = Duration::from_secs(90);

/// Starts a worker of Celery's.
fn worker(vhost: &Vhost, name: &str) -> Process {
    let mut command = Program::new(program("celery"));
    let arguments = ["-A", "proj", "worker", "-n", name, "-c", "2", "-P", "threads", "-l", "INFO"];
    command.args(arguments).current_dir(directory());
    command.env("BROKER_URL", vhost.amqp_url()).env_remove("RESULT_BACKEND").env("PYTHONDONTWRITEBYTECODE", "1");
    Process::spawn(name, command)
}

async fn client(vhost: &Vhost) -> App {
    let backend = format!("memory://{}", uuid::Uuid::new_v4());
    App::builder().broker(vhost.amqp_url()).backend(backend).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celerys_workers_obey_our_client_and_their_events_make_a_picture() {
    let vhost = testkit::rabbitmq().await;
    let app = client(&vhost).await;
    let mut workers = [worker(&vhost, "w1@python"), worker(&vhost, "w2@python")];
    for worker in &mut workers {
        worker.wait_for_line(" ready.", STARTS_WITHIN).await;
    }
    let remote = Remote::of(&app, &["w1@python", "w2@python"]).await;

    for (command, nodes) in [
        (Command::ping(), &["w1@python", "w2@python"][..]),
        (Command::ping().to(["w2@python"]), &["w2@python"]),
        (Command::ping().matching("w1@*", Matcher::Glob), &["w1@python"]),
        (Command::ping().matching("w[12]", Matcher::Pcre), &["w1@python", "w2@python"]),
    ] {
        assert_eq!(remote.nodes(command.clone(), nodes.len()).await, nodes, "{command:?}");
    }

    let mut receiver = Receiver::all(app.broker()).await.unwrap();
    app.send_named("t.add", [1, 2], json!({}), SendOptions::new().task_id("added")).await.unwrap();
    app.send_named("t.fail", Vec::<i32>::new(), json!({}), SendOptions::new().task_id("failed")).await.unwrap();
    let mut state = State::default();
    let both_ended =
        |state: &State| ["added", "failed"].iter().all(|id| state.task(id).is_some_and(|task| task.state.is_ready()));
    while !both_ended(&state) {
        let events = tokio::time::timeout(SOON, receiver.events()).await.unwrap().unwrap();
        events.iter().for_each(|event| state.apply(event, celeriac::clock::unix_seconds()));
    }
    let added = state.task("added").unwrap();
    assert_eq!(
        (added.name.as_deref(), added.args.as_deref(), added.result.as_deref()),
        (Some("t.add"), Some("(1, 2)"), Some("3"))
    );
    assert_eq!(state.task("failed").unwrap().exception.as_deref(), Some("ValueError('boom')"));

    obeys(&remote).await;
    remote.0.cast(Command::shutdown().to(["w1@python"])).await.unwrap();
    assert!(workers[0].wait(STARTS_WITHIN).await.success());
}

/// Every command, to one of them.
async fn obeys(remote: &Remote) {
    let ask = async |command: Command| remote.ask(command.to(["w2@python"])).await;
    for (command, reply) in [
        (Command::rate_limit("t.add", "100/m"), json!({"ok": "new rate limit set successfully"})),
        (Command::rate_limit("nope", "1/s"), json!({"error": "unknown task"})),
        (Command::time_limit("t.add", Some(60.0), Some(120.0)), json!({"ok": "time limits set successfully"})),
        (Command::add_consumer("newq"), json!({"ok": "add consumer newq"})),
        (Command::cancel_consumer("newq"), json!({"ok": "no longer consuming from newq"})),
        (Command::revoke(["a"]), json!({"ok": "tasks {'a'} flagged as revoked"})),
        (Command::revoked(), json!(["a"])),
        (Command::terminate(["a"]), json!({"ok": "terminate: tasks unknown"})),
        (
            Command::revoke_by_stamp("tenant", ["t-1"], false),
            json!({"ok": "headers {'tenant': ['t-1']} flagged as revoked, but not terminated"}),
        ),
        (Command::autoscale(3, 1), json!({"error": "ValueError('Autoscale not enabled')"})),
        (Command::enable_events(), json!({"ok": "task events already enabled"})),
        (Command::disable_events(), json!({"ok": "task events already disabled"})),
        (Command::heartbeat(), json!(null)),
        (Command::active(true), json!([])),
        (Command::scheduled(), json!([])),
        (Command::reserved(), json!([])),
        (Command::query_task(["x"]), json!({})),
        (
            Command::registered(["rate_limit"]),
            json!(["t.add [rate_limit=100/m]", "t.fail", "t.limited [rate_limit=10/m]", "t.sleep"]),
        ),
        (Command::new("no_such_command"), json!({"error": "KeyError('no_such_command')"})),
    ] {
        assert_eq!(ask(command.clone()).await, reply, "{command:?}");
    }
    for (command, path) in [
        (Command::stats(), "/broker/virtual_host"),
        (Command::active_queues(), "/0/exchange/name"),
        (Command::conf(false), "/broker_url"),
        (Command::report(), "/ok"),
        (Command::clock(), "/clock"),
        (Command::hello("x@y", ["b"]), "/revoked/0"),
    ] {
        let reply = ask(command.clone()).await;
        assert!(reply.pointer(path).is_some_and(|value| *value != Value::Null), "{command:?}: {reply}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_both_kinds_tell_each_other_what_is_revoked() {
    let vhost = testkit::rabbitmq().await;
    let mut python = worker(&vhost, "w1@python");
    python.wait_for_line(" ready.", STARTS_WITHIN).await;
    let remote = Remote::of(&client(&vhost).await, &["w1@python"]).await;
    remote.ask(Command::revoke(["of python"])).await;

    let ours = serve(&vhost, |worker| worker.mingle(true)).await;
    Remote::of(&ours.app, &["w@test"]).await;
    assert_eq!(remote.ask(Command::revoked().to(["w@test"])).await, json!(["of python"]));

    remote.ask(Command::revoke(["of ours"]).to(["w@test"])).await;
    let mut second = worker(&vhost, "w2@python");
    second.wait_for_line("mingle: sync complete", STARTS_WITHIN).await;
    second.wait_for_line(" ready.", STARTS_WITHIN).await;
    Remote::of(&ours.app, &["w2@python"]).await;
    let mut revoked: Vec<String> =
        serde_json::from_value(remote.ask(Command::revoked().to(["w2@python"])).await).unwrap();
    revoked.sort();
    assert_eq!(revoked, ["of ours", "of python"]);
    ours.stop().await;
}
