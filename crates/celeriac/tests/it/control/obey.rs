//! What our worker answers, word for word as Celery's does.

use std::time::Duration;

use celeriac::broker::Publication;
use celeriac::control::{Command, Matcher};
use celeriac::protocol::pidbox::CONTROL_EXCHANGE;
use celeriac::protocol::{Message, Properties};
use celeriac::{SendOptions, WorkerBuilder};
use chrono::{DateTime, FixedOffset};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::remote::{Remote, SILENCE};
use crate::worker::setup::{Serving, Setup};
use crate::worker::tasks::{Add, Log, Wait};

async fn serving(configure: impl FnOnce(WorkerBuilder<Log>) -> WorkerBuilder<Log>) -> (Setup, Serving, Remote) {
    let setup = Setup::memory().await;
    let serving = setup.serve(configure).await;
    let remote = Remote::of(&serving.app, &["w@test"]).await;
    (setup, serving, remote)
}

fn command(method: &str, arguments: &Value) -> Command {
    let arguments = arguments.as_object().unwrap().clone();
    arguments.into_iter().fold(Command::new(method), |command, (name, value)| command.argument(name, value))
}

#[tokio::test]
async fn replies_are_celerys_word_for_word() {
    let (_setup, serving, remote) = serving(|worker| worker.concurrency(2)).await;
    for (method, arguments, reply) in [
        ("ping", json!({}), json!({"ok": "pong"})),
        ("ping", json!({"unknown": 1}), json!({"ok": "pong"})),
        ("no_such_command", json!({}), json!({"error": "KeyError('no_such_command')"})),
        (
            "rate_limit",
            json!({"task_name": "t.add", "rate_limit": "100/m"}),
            json!({"ok": "new rate limit set successfully"}),
        ),
        (
            "rate_limit",
            json!({"task_name": "t.add", "rate_limit": 0}),
            json!({"ok": "rate limit disabled successfully"}),
        ),
        (
            "rate_limit",
            json!({"task_name": "t.add", "rate_limit": null}),
            json!({"ok": "rate limit disabled successfully"}),
        ),
        ("rate_limit", json!({"task_name": "nope", "rate_limit": "1/s"}), json!({"error": "unknown task"})),
        (
            "rate_limit",
            json!({"task_name": "t.add", "rate_limit": "often"}),
            json!({"error": "Invalid rate limit string: ValueError(\"could not convert string to float: 'often'\")"}),
        ),
        ("rate_limit", json!({"task_name": "t.add", "rate_limit": "5/d"}), json!({"error": "KeyError('d')"})),
        (
            "rate_limit",
            json!({"task_name": "t.add"}),
            json!({"error": "TypeError(\"rate_limit() missing 1 required positional argument: 'rate_limit'\")"}),
        ),
        (
            "time_limit",
            json!({"task_name": "t.add", "hard": 120, "soft": 60}),
            json!({"ok": "time limits set successfully"}),
        ),
        ("time_limit", json!({"task_name": "nope"}), json!({"error": "unknown task"})),
        ("time_limit", json!({}), json!({"error": "unknown task"})),
        ("pool_grow", json!({"n": 1}), json!({"ok": "pool will grow"})),
        ("pool_shrink", json!({"n": 1}), json!({"ok": "pool will shrink"})),
        ("pool_shrink", json!({"n": 100}), json!({"error": "ValueError(\"Can't shrink pool. All processes busy!\")"})),
        (
            "pool_grow",
            json!({"n": "x"}),
            json!({"error": "TypeError(\"'str' object cannot be interpreted as an integer\")"}),
        ),
        ("pool_restart", json!({}), json!({"error": "ValueError('Pool restarts not enabled')"})),
        ("autoscale", json!({"max": 6, "min": 2}), json!({"error": "ValueError('Autoscale not enabled')"})),
        (
            "autoscale",
            json!({"mid": 6}),
            json!({"error": "TypeError(\"autoscale() got an unexpected keyword argument 'mid'\")"}),
        ),
        (
            "add_consumer",
            json!({"queue": "newq", "exchange": null, "exchange_type": "direct", "routing_key": null}),
            json!({"ok": "add consumer newq"}),
        ),
        ("cancel_consumer", json!({"queue": "newq"}), json!({"ok": "no longer consuming from newq"})),
        ("enable_events", json!({}), json!({"ok": "task events enabled"})),
        ("enable_events", json!({}), json!({"ok": "task events already enabled"})),
        ("disable_events", json!({}), json!({"ok": "task events disabled"})),
        ("disable_events", json!({}), json!({"ok": "task events already disabled"})),
        (
            "enable_events",
            json!({"x": 1}),
            json!({"error": "TypeError(\"enable_events() got an unexpected keyword argument 'x'\")"}),
        ),
        ("heartbeat", json!({}), json!(null)),
        ("active", json!({}), json!([])),
        ("dump_active", json!({}), json!([])),
        ("reserved", json!({}), json!([])),
        ("scheduled", json!({}), json!([])),
        ("revoked", json!({}), json!([])),
        ("query_task", json!({"ids": ["x"]}), json!({})),
        ("revoke", json!({"task_id": "a"}), json!({"ok": "tasks {'a'} flagged as revoked"})),
        (
            "revoke",
            json!({"task_id": ["b", "a"], "terminate": 0}),
            json!({"ok": "tasks {'a', 'b'} flagged as revoked"}),
        ),
        ("revoke", json!({"task_id": null}), json!({"ok": "tasks set() flagged as revoked"})),
        (
            "revoke",
            json!({"task_id": "a", "terminate": 1, "signal": "SIGTERM"}),
            json!({"ok": "terminate: tasks unknown"}),
        ),
        ("terminate", json!({"task_id": ["a"], "signal": "KILL"}), json!({"ok": "terminate: tasks unknown"})),
        (
            "terminate",
            json!({"task_id": ["a"], "signal": "FOO"}),
            json!({"error": "AttributeError(\"module 'signal' has no attribute 'SIGFOO'\")"}),
        ),
        (
            "revoke",
            json!({}),
            json!({"error": "TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")"}),
        ),
        (
            "revoke_by_stamped_headers",
            json!({"headers": {"tenant": ["t-1"]}, "terminate": false, "signal": "SIGTERM"}),
            json!({"ok": "headers {'tenant': ['t-1']} flagged as revoked, but not terminated"}),
        ),
        (
            "revoke_by_stamped_headers",
            json!({"headers": ["tenant=t-2"], "terminate": true}),
            json!({"ok": "headers {'tenant': 't-2'} were not terminated"}),
        ),
        (
            "election",
            json!({}),
            json!({"error": "TypeError(\"election() missing 2 required positional arguments: 'id' and 'topic'\")"}),
        ),
    ] {
        assert_eq!(remote.ask(command(method, &arguments)).await, reply, "{method} {arguments}");
    }
    serving.stop().await;
}

#[tokio::test]
async fn a_command_is_for_those_who_are_named_or_fit_the_pattern() {
    let (setup, serving, remote) = serving(|worker| worker).await;
    let other = setup.serve(|worker| worker.hostname("v@test")).await;
    Remote::of(&serving.app, &["v@test"]).await;
    let both = ["v@test", "w@test"];
    for (command, nodes) in [
        (Command::ping(), &both[..]),
        (Command::ping().to(["w@test"]), &both[1..]),
        (Command::ping().to(["w@test", "x@test"]), &both[1..]),
        (Command::ping().to(["x@test"]), &[]),
        (Command::ping().to(Vec::<String>::new()), &both),
        (Command::ping().matching("v@*", Matcher::Glob), &both[..1]),
        (Command::ping().matching("[vw]@t", Matcher::Pcre), &both),
        (Command::ping().matching("test", Matcher::Pcre), &[]),
        (Command::ping().matching("(", Matcher::Pcre), &[]),
    ] {
        let shown = format!("{command:?}");
        // One more than expected would come within the same time.
        let replies = remote.all(command, SILENCE).await;
        assert_eq!(
            replies.iter().map(|(node, _)| node).collect::<Vec<_>>(),
            nodes.iter().collect::<Vec<_>>(),
            "{shown}"
        );
    }
    other.stop().await;
    serving.stop().await;
}

#[tokio::test]
async fn tasks_are_described_with_the_fields_that_celery_tells() {
    let (_setup, serving, remote) = serving(|worker| worker.concurrency(1)).await;
    let eta: DateTime<FixedOffset> = "2099-05-06T07:08:09+00:00".parse().unwrap();
    let app = &serving.app;
    app.send_with(Wait, SendOptions::new().task_id("running").priority(3)).await.unwrap();
    serving.log.begun_count(1).await;
    app.send_with(Add { x: 1, y: 2 }, SendOptions::new().task_id("waiting")).await.unwrap();
    app.send_with(Add { x: 3, y: 4 }, SendOptions::new().task_id("scheduled").eta(eta)).await.unwrap();
    let all_here = async || {
        let (reserved, scheduled) = (serving.handle.reserved(), serving.handle.scheduled());
        reserved.len() == 1 && scheduled.len() == 1
    };
    testkit::eventually(crate::worker::setup::SOON, all_here).await;

    let active = remote.ask(Command::active(false)).await;
    let started = active[0]["time_start"].as_f64().unwrap();
    assert!((started - celeriac::clock::unix_seconds()).abs() < 60.0);
    let pid = std::process::id();
    assert_eq!(
        active,
        json!([{
            "id": "running", "name": "t.wait", "args": [], "kwargs": {}, "type": "t.wait", "hostname": "w@test",
            "time_start": started, "acknowledged": false, "worker_pid": pid,
            "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 3, "redelivered": false},
        }])
    );
    let waiting = |id: &str, kwargs: Value| {
        json!({
            "id": id, "name": "t.add", "args": [], "kwargs": kwargs, "type": "t.add", "hostname": "w@test",
            "time_start": null, "acknowledged": false, "worker_pid": null,
            "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": false},
        })
    };
    assert_eq!(remote.ask(Command::reserved()).await, json!([waiting("waiting", json!({"x": 1, "y": 2}))]));
    assert_eq!(
        remote.ask(Command::scheduled()).await,
        json!([{"eta": "2099-05-06T07:08:09+00:00", "priority": 6, "request": waiting("scheduled", json!({"x": 3, "y": 4}))}])
    );
    assert_eq!(
        remote.ask(Command::query_task(["running", "waiting", "scheduled", "unknown"])).await,
        json!({
            "running": ["active", active[0]],
            "waiting": ["reserved", waiting("waiting", json!({"x": 1, "y": 2}))],
            "scheduled": ["scheduled", waiting("scheduled", json!({"x": 3, "y": 4}))],
        })
    );
    serving.log.gate.add_permits(1);
    serving.stop().await;
}

#[tokio::test]
async fn safe_arguments_are_text() {
    let (_setup, serving, remote) = serving(|worker| worker).await;
    let kwargs = Map::from_iter([("then".to_owned(), json!("it's"))]);
    serving.app.send_named("t.listen", [0; 0], kwargs, SendOptions::new()).await.unwrap();
    serving.log.begun_count(1).await;
    let active = remote.ask(Command::active(true)).await;
    assert_eq!((&active[0]["args"], &active[0]["kwargs"]), (&json!("()"), &json!(r#"{'then': 'it\'s'}"#)));
    let active = remote.ask(Command::active(false)).await;
    assert_eq!((&active[0]["args"], &active[0]["kwargs"]), (&json!([]), &json!({"then": "it's"})));
    serving.handle.revoke(active[0]["id"].as_str().unwrap(), true);
    serving.stop().await;
}

#[tokio::test]
async fn registered_tasks_are_listed_with_the_attributes_that_are_asked_for() {
    let (_setup, serving, remote) = serving(|worker| worker).await;
    let names = remote.ask(Command::registered([])).await;
    let names: Vec<_> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(
        names.is_sorted() && names.contains(&"t.add") && names.contains(&"t.limited [rate_limit=10/s]"),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.starts_with("celery.")));
    let described =
        remote.ask(Command::registered(["max_retries", "time_limit", "acks_late", "_private", "nope"])).await;
    let described: Vec<_> = described.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(described.contains(&"t.add [max_retries=3 acks_late=True]"), "{described:?}");
    assert!(described.contains(&"t.request [max_retries=3 time_limit=90 acks_late=False]"), "{described:?}");
    remote.ask(Command::rate_limit("t.add", "5/m")).await;
    let names = remote.ask(Command::registered(["rate_limit"])).await;
    assert!(names.as_array().unwrap().contains(&json!("t.add [rate_limit=5/m]")));
    serving.stop().await;
}

#[tokio::test]
async fn stats_have_everything_that_flower_and_celery_read() {
    let (_setup, serving, remote) = serving(|worker| worker.concurrency(3).prefetch_multiplier(2)).await;
    let result = serving.app.send(Add { x: 1, y: 2 }).await.unwrap();
    result.get(crate::worker::setup::SOON).await.unwrap();
    let stats = remote.ask(Command::stats()).await;
    assert_eq!(stats["total"], json!({"t.add": 1}));
    assert_eq!(stats["pid"], json!(std::process::id()));
    assert!(stats["clock"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(stats["uptime"].as_u64().unwrap() < 600);
    assert_eq!(stats["pool"]["max-concurrency"], 3);
    assert_eq!(stats["pool"]["max-tasks-per-child"], "N/A");
    assert_eq!(stats["pool"]["processes"], json!([std::process::id()]));
    assert_eq!(stats["prefetch_count"], 6);
    assert_eq!(stats["broker"]["transport"], "memory");
    for field in ["utime", "stime", "maxrss", "minflt", "nvcsw", "nivcsw"] {
        assert!(stats["rusage"][field].is_number(), "{field}");
    }
    assert!(stats["rusage"]["maxrss"].as_u64().unwrap() > 1000);
    assert_eq!(stats.get("autoscaler"), None);
    let memory = remote.ask(Command::new("memsample")).await;
    assert!(memory.as_str().unwrap().ends_with("MB"), "{memory}");
    serving.stop().await;
}

#[tokio::test]
async fn settings_are_told_under_celerys_names() {
    let (_setup, serving, remote) = serving(|worker| {
        let worker = worker.concurrency(3).track_started(true).max_tasks(1000).max_memory(64 << 20);
        worker.soft_shutdown(CancellationToken::new(), Duration::from_millis(1500))
    })
    .await;
    let changed = remote.ask(Command::conf(false)).await;
    assert_eq!(changed["worker_concurrency"], 3);
    assert_eq!(changed["task_track_started"], true);
    assert_eq!(changed["worker_max_tasks_per_child"], 1000);
    assert_eq!(changed["worker_max_memory_per_child"], 65_536);
    assert_eq!(changed["worker_soft_shutdown_timeout"], 1.5);
    assert_eq!(remote.ask(Command::stats()).await["pool"]["max-tasks-per-child"], 1000);
    assert!(changed["broker_url"].as_str().unwrap().starts_with("memory://"));
    assert_eq!(changed.get("worker_prefetch_multiplier"), None);
    let all = remote.ask(Command::conf(true)).await;
    assert_eq!((&all["worker_prefetch_multiplier"], &all["timezone"]), (&json!(4), &json!("UTC")));
    assert!(changed.as_object().unwrap().keys().all(|name| all.get(name).is_some()));
    assert_eq!((&all["task_send_sent_event"], changed.get("task_send_sent_event")), (&json!(false), None));
    let report = remote.ask(Command::report()).await;
    let report = report["ok"].as_str().unwrap();
    assert!(report.contains("software -> celeriac:") && report.contains("\ntask_track_started: True\n"), "{report}");
    serving.stop().await;
}

/// The names are those of a real worker of Celery 5.7.0 (`inspect conf`), and of its environment.
#[tokio::test]
async fn settings_of_the_application_are_told_too_and_no_name_is_our_own() {
    let setup = Setup::memory().await;
    let builder = setup.builder().sent_events(true).max_priority(5).result_expires(Some(Duration::from_secs(60)));
    let serving = setup.serve_app(builder, |worker| worker.revokes_max(7)).await;
    let remote = Remote::of(&serving.app, &["w@test"]).await;
    let changed = remote.ask(Command::conf(false)).await;
    for (name, value) in [
        ("task_send_sent_event", json!(true)),
        ("task_queue_max_priority", json!(5)),
        ("result_expires", json!(60.0)),
        ("CELERY_WORKER_REVOKES_MAX", json!(7)),
    ] {
        assert_eq!(changed[name], value, "{name}");
    }
    let known = testkit::run_python(fixture("conf.py"), [] as [&str; 0]).await;
    let known: std::collections::HashSet<_> = known.lines().collect();
    let all = remote.ask(Command::conf(true)).await;
    for name in all.as_object().unwrap().keys().filter(|name| !name.starts_with("CELERY_")) {
        assert!(known.contains(name.as_str()), "{name} is no setting of Celery");
    }
    serving.stop().await;
}

fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/control").join(name)
}

#[tokio::test]
async fn a_command_without_a_ticket_or_with_garbage_inside_disturbs_nobody() {
    let (_setup, serving, remote) = serving(|worker| worker).await;
    let bodies = [
        r#"{"method": "ping", "arguments": {}}"#,
        r#"{"method": "no_such_command", "arguments": {}}"#,
        r#"{"method": "rate_limit", "arguments": 5}"#,
        r#"{"method": "revoke", "arguments": {"task_id": {"a": 1}}, "reply_to": {"exchange": "no such exchange", "routing_key": "x"}}"#,
        r#"{"arguments": {}}"#,
        "not JSON",
        "[]",
        "",
    ];
    for body in bodies {
        let message = Message { properties: Properties::default(), body: body.into(), ..Message::default() };
        let publication =
            Publication { exchange: CONTROL_EXCHANGE.to_owned(), routing_key: String::new(), mandatory: true, message };
        serving.app.broker().publish(publication).await.unwrap();
    }
    assert_eq!(remote.ask(Command::ping()).await, json!({"ok": "pong"}));
    serving.stop().await;
}

#[tokio::test]
async fn the_logical_clock_goes_on_with_every_command() {
    let (_setup, serving, remote) = serving(|worker| worker).await;
    let clock = async || remote.ask(Command::clock()).await["clock"].as_u64().unwrap();
    let (first, second) = (clock().await, clock().await);
    assert!(second > first, "{first} {second}");
    serving.stop().await;
}
