//! Chords that fail, and chords whose tasks run twice.

use celeriac::backend::{ChordPart, ChordProgress};
use celeriac::canvas::Canvas;
use celeriac::protocol::{RawJson, State};
use celeriac::{GetError, SendOptions};
use serde_json::{Value, json};

use super::tasks::{Ids, serve, task};
use crate::worker::on_every_broker;
use crate::worker::setup::{SOON, Serving, Setup, drain};

async fn failure(serving: &Serving, id: &str) -> celeriac::Failure {
    match serving.app.result::<Value>(id).get(SOON).await {
        Err(GetError::Failed(failure)) => failure,
        other => panic!("{id} has not failed: {other:?}"),
    }
}

pub(super) async fn a_task_of_the_header_that_fails_fails_the_body_and_what_follows(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let errback = ids.name("errback", task("echo", []));
    let header = [task("add", [1]), ids.name("culprit", task("fail", [])), task("add", [2])];
    let body = ids.name("body", task("tsum", [])) | ids.name("after", task("add", [1]));
    let published = serving.app.publish(Canvas::chord(header, body).link_error(errback)).await.unwrap();
    assert_eq!(published.id(), ids.of("after"));
    let failure = failure(&serving, &ids.of("after")).await;
    assert_eq!((failure.exc_type.as_str(), failure.exc_module.as_str()), ("ChordError", "celery.exceptions"));
    let message = format!("Dependency {} raised ValueError('boom')", ids.of("culprit"));
    assert_eq!(failure.exc_message, [json!(message)]);
    // A body that is a chain goes by the id of its last task, and no other is failed.
    assert_eq!(serving.app.result::<Value>(ids.of("body")).meta().await.unwrap(), None);
    assert_eq!(serving.app.result::<Value>(ids.of("errback")).get(SOON).await.unwrap(), json!([ids.of("after")]));
    serving.stop().await;
}

pub(super) async fn a_chord_in_a_chord_that_fails_fails_the_outer_one(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let inner = Canvas::chord([task("fail", []), task("add", [1])], ids.name("inner", task("tsum", [])));
    let outer = Canvas::chord([inner, task("add", [1]).into()], ids.name("outer", task("tsum", [])));
    serving.app.publish(outer).await.unwrap();
    assert!(failure(&serving, &ids.of("inner")).await.repr().contains("ValueError('boom')"));
    assert!(
        failure(&serving, &ids.of("outer"))
            .await
            .repr()
            .contains(&format!("Dependency {} raised ChordError(", ids.of("inner")))
    );
    serving.stop().await;
}

pub(super) async fn a_chord_fails_if_a_task_of_it_is_revoked_or_of_unknown_name(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    serving.handle.revoke(&ids.of("revoked"), false);
    let header = [ids.name("revoked", task("add", [1])), task("add", [1])];
    serving.app.publish(Canvas::chord(header, ids.name("first", task("tsum", [])))).await.unwrap();
    assert!(failure(&serving, &ids.of("first")).await.repr().contains("raised TaskRevokedError('revoked')"));

    let header = [task("add", [1]), ids.name("unknown", task("nobody.knows", []))];
    serving.app.publish(Canvas::chord(header, ids.name("second", task("tsum", [])))).await.unwrap();
    let repr = failure(&serving, &ids.of("second")).await.repr();
    assert!(repr.contains("raised Task of kind 'proj.nobody.knows' never registered, please make sure"), "{repr}");
    serving.stop().await;
}

async fn a_task_of_the_header_that_is_delivered_twice_counts_once(setup: Setup) {
    let ids = Ids::new();
    let app = setup.app().await;
    app.declare_queue("celery").await.unwrap();
    let header = [ids.name("one", task("add", [1])), task("add", [2]).with("queue", "later")];
    app.publish(Canvas::chord(header, ids.name("body", task("echo", [])))).await.unwrap();
    let first = drain(&app, "celery", 1).await.remove(0);
    let again = |message| celeriac::broker::Publication {
        exchange: String::new(),
        routing_key: "celery".to_owned(),
        mandatory: true,
        message,
    };
    for _ in 0..2 {
        app.broker().publish(again(first.message.clone())).await.unwrap();
    }
    let serving = serve(&setup).await;
    serving.settled("celery").await;
    assert_eq!(app.result::<()>(ids.of("body")).state().await.unwrap(), State::Pending);
    let last = drain(&app, "later", 1).await.remove(0);
    app.broker().publish(again(last.message)).await.unwrap();
    assert_eq!(app.result::<Value>(ids.of("body")).get(SOON).await.unwrap(), json!([[1, 2]]));

    // A copy that comes after all is done does not begin the chord again.
    app.backend().forget(&ids.of("body")).await.unwrap();
    app.broker().publish(again(first.message)).await.unwrap();
    serving.settled("celery").await;
    let ping = app.send_named("proj.add", [1], json!({}), SendOptions::new()).await.unwrap();
    ping.get(SOON).await.unwrap();
    assert_eq!(app.result::<()>(ids.of("body")).state().await.unwrap(), State::Pending);
    serving.stop().await;
}

async fn a_chord_belongs_to_one_worker_until_that_one_is_done(setup: Setup) {
    let app = setup.app().await;
    let backend = app.backend();
    let part = |index: i64| ChordPart {
        group_id: "g".to_owned(),
        task_id: format!("t{index}"),
        group_index: Some(index),
        state: State::Success,
        result: RawJson::of(&index).unwrap(),
    };
    backend.begin_chord("g", 2).await.unwrap();
    assert_eq!(backend.chord_part(&part(1), "a").await.unwrap(), ChordProgress::Open);
    assert_eq!(backend.chord_part(&part(1), "a").await.unwrap(), ChordProgress::Open);
    let complete = backend.chord_part(&part(0), "b").await.unwrap();
    let ChordProgress::Complete(chord) = &complete else { panic!("{complete:?}") };
    assert_eq!(chord.parts, [r#"[1, "t0", "SUCCESS", 0]"#, r#"[1, "t1", "SUCCESS", 1]"#]);
    assert_eq!(backend.chord_part(&part(0), "b").await.unwrap(), complete, "its answer may have been lost");
    assert_eq!(backend.chord_part(&part(1), "a").await.unwrap(), ChordProgress::Claimed);
    assert!(!backend.extend_chord("g", "a").await.unwrap());
    backend.end_chord("g", "a").await.unwrap();
    assert!(backend.extend_chord("g", "b").await.unwrap());
    backend.end_chord("g", "b").await.unwrap();
    assert_eq!(backend.chord_part(&part(1), "a").await.unwrap(), ChordProgress::Open);
    assert!(!backend.extend_chord("g", "b").await.unwrap());

    // A new run with the same id.
    backend.begin_chord("g", 1).await.unwrap();
    assert!(matches!(backend.chord_part(&part(5), "c").await.unwrap(), ChordProgress::Complete(_)));
    backend.fail_chord("g").await.unwrap();
    assert_eq!(backend.chord_part(&part(5), "d").await.unwrap(), ChordProgress::Open);
}

on_every_broker!(
    a_task_of_the_header_that_fails_fails_the_body_and_what_follows,
    a_chord_in_a_chord_that_fails_fails_the_outer_one,
    a_chord_fails_if_a_task_of_it_is_revoked_or_of_unknown_name,
    a_task_of_the_header_that_is_delivered_twice_counts_once,
    a_chord_belongs_to_one_worker_until_that_one_is_done,
);
