//! Chords whose parts nobody counts: results in PostgreSQL, and `celery.chord_unlock` (`celery/app/builtins.py`).

use celeriac::broker::ExchangeKind;
use celeriac::canvas::Canvas;
use celeriac::protocol::{ResultTuple, State, TaskMessage};
use celeriac::{QueueDefinition, SendOptions};
use serde_json::{Value, json};

use super::ours::kinds;
use super::python::{client, python_worker, stop};
use super::tasks::{Ids, serve, serve_queue, task};
use super::{chords, ours};
use crate::worker::setup::{SOON, Setup, drain};

macro_rules! with_results_in_postgresql {
    ($($module:ident::$name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $module::$name(Setup::postgres().await).await;
            }
        )*
    };
}

with_results_in_postgresql!(
    ours::each_kind_of_workflow_gives_its_result,
    chords::a_task_of_the_header_that_fails_fails_the_body_and_what_follows,
    chords::a_chord_in_a_chord_that_fails_fails_the_outer_one,
    chords::a_chord_fails_if_a_task_of_it_is_revoked_or_of_unknown_name,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_that_looks_for_the_parts_is_celerys() {
    let (ids, setup) = (Ids::new(), Setup::postgres().await);
    let app = setup.app().await;
    let header = [ids.name("one", task("add", [1])), ids.name("two", task("add", [2]))];
    let body = ids.name("body", task("tsum", [])).with("queue", "bodies").with("priority", 7);
    app.publish(Canvas::chord(header, body)).await.unwrap();
    let unlock = TaskMessage::decode(drain(&app, "bodies", 1).await.remove(0).message).unwrap();
    assert_eq!((unlock.task.as_str(), unlock.ignore_result), ("celery.chord_unlock", Some(true)));
    assert!(unlock.eta.is_some() && unlock.properties.priority == Some(7));
    let group = TaskMessage::decode(drain(&app, "celery", 1).await.remove(0).message).unwrap().group.unwrap();
    let args: Value = unlock.args.read().unwrap();
    assert_eq!((&args[0], &args[1]["options"]["task_id"]), (&json!(group), &json!(ids.of("body"))));
    let kwargs: Value = unlock.kwargs.read().unwrap();
    let results = json!([[[ids.of("one"), null], null], [[ids.of("two"), null], null]]);
    let expected = json!({
        "interval": null, "max_retries": null, "result": results, "_chord_unlock_exchange_type": "direct",
    });
    assert_eq!(kwargs, expected);
}

/// It goes the way of the body, its key included (`fallback_chord_unlock`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_that_looks_for_the_parts_has_the_routing_key_of_the_body() {
    let setup = Setup::postgres().await;
    let bodies = QueueDefinition::new("bodies").exchange("work", ExchangeKind::Topic, "work.#");
    let app = setup.builder().queue(bodies).build().await.unwrap();
    let body = task("tsum", []).with("queue", "bodies").with("routing_key", "work.heavy");
    app.publish(Canvas::chord([task("add", [1])], body)).await.unwrap();
    let unlock = drain(&app, "bodies", 1).await.remove(0);
    assert_eq!((unlock.exchange.as_str(), unlock.routing_key.as_str()), ("work", "work.heavy"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_often_enough_for_parts_that_never_come_fails_the_chord() {
    let (ids, setup) = (Ids::new(), Setup::postgres().await);
    let serving = serve(&setup).await;
    let body = ids.name("body", task("tsum", []));
    let mut nobody = Vec::new();
    ResultTuple::task("nobody").write(&mut nobody);
    let nobody: Value = serde_json::from_slice(&nobody).unwrap();
    let mut text = Vec::new();
    Canvas::from(body).to_json().write(&mut text);
    let body: Value = serde_json::from_slice(&text).unwrap();
    let kwargs = json!({"interval": 0.01, "max_retries": 2, "result": [nobody]});
    serving.app.send_named("celery.chord_unlock", ("group", body), kwargs, SendOptions::new()).await.unwrap();
    let body = serving.meta_when(&ids.of("body"), |meta| meta.state == State::Failure).await;
    let failure = body.exception_info().unwrap();
    assert!(failure.repr().contains("chord_unlock could not be retried"), "{}", failure.repr());
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chords_built_in_python_over_a_database_run_on_our_worker() {
    let setup = Setup::postgres().await;
    let serving = serve_queue(setup.app().await, "celery");
    assert_eq!(client(&setup, &["run", "celery"]).await, "ok");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_chords_over_a_database_run_on_a_python_worker() {
    let setup = Setup::postgres().await;
    let worker = python_worker(&setup, "celery").await;
    let app = setup.app().await;
    for (what, canvas, expected) in kinds().into_iter().filter(|(what, ..)| what.contains("chord")) {
        let published = app.publish(canvas).await.expect(what);
        assert_eq!(published.get::<Value>(SOON * 2).await.expect(what), expected, "{what}");
    }
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_can_be_added_to_a_chord_that_nobody_counts() {
    let setup = Setup::postgres().await;
    let serving = serve(&setup).await;
    let (ids, header) = (Ids::new(), task("join", [1]));
    serving.app.publish(Canvas::chord([ids.name("joining", header)], task("tsum", []))).await.unwrap();
    let meta = serving.meta_when(&ids.of("joining"), |meta| meta.state == State::Failure).await;
    let failure = meta.exception_info().unwrap();
    assert!(failure.repr().contains("keeps no chords"), "{}", failure.repr());
    serving.stop().await;
}
