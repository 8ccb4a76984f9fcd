//! What a client does with the results of a workflow.

use std::collections::BTreeSet;
use std::time::Duration;

use celeriac::canvas::Canvas;
use celeriac::protocol::State;
use celeriac::{AsyncResult, GetError, GroupResult, Published, SendOptions};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::tasks::{Ids, serve, task};
use crate::worker::on_every_broker;
use crate::worker::setup::{SOON, Serving, Setup};

async fn published(serving: &Serving, canvas: impl Into<Canvas>) -> AsyncResult {
    match serving.app.publish(canvas).await.unwrap() {
        Published::Task(result) => result,
        Published::Group(group) => panic!("a group: {group:?}"),
    }
}

async fn group(serving: &Serving, canvas: Canvas) -> GroupResult {
    match serving.app.publish(canvas).await.unwrap() {
        Published::Group(group) => group,
        Published::Task(result) => panic!("a task: {result:?}"),
    }
}

async fn a_result_knows_the_steps_before_it(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let header = Canvas::group([ids.name("b1", task("add", [1])), ids.name("b2", task("add", [2]))]);
    let canvas =
        ids.name("a", task("add", [1])) | header | ids.name("c", task("tsum", [])) | ids.name("d", task("add", []));
    let last = published(&serving, canvas).await;
    assert_eq!(last.clone().typed::<i64>().get(SOON).await.unwrap(), 5);
    assert_eq!(last.id(), ids.of("d"));
    let Some(Published::Task(body)) = last.parent() else { panic!("the body of the chord") };
    assert_eq!(body.id(), ids.of("c"));
    let Some(Published::Group(header)) = body.parent() else { panic!("the header of the chord") };
    let members: Vec<_> = header.results::<()>().iter().map(|result| result.id().to_owned()).collect();
    assert_eq!(members, [ids.of("b1"), ids.of("b2")]);
    let Some(Published::Task(first)) = header.parent() else { panic!("the first step") };
    assert_eq!((first.id(), first.parent().is_none()), (&*ids.of("a"), true));

    const STEPS: [&str; 5] = ["a", "b1", "b2", "c", "d"];
    for name in STEPS {
        // A step stores its result when the next one has been sent, which may be faster.
        serving.meta_when(&ids.of(name), |meta| meta.state.is_ready()).await;
    }
    last.forget().await.unwrap();
    for name in STEPS {
        assert!(serving.app.result::<()>(ids.of(name)).meta().await.unwrap().is_none(), "{name} is forgotten with it");
    }
    serving.stop().await;
}

async fn a_step_that_is_revoked_ends_the_waiting_for_those_after_it(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    serving.handle.revoke(&ids.of("revoked"), false);
    let revoked = || ids.name("revoked", task("add", [1]));
    let last = published(&serving, task("add", [1]) | revoked() | task("add", [1])).await;
    assert!(matches!(last.get(SOON).await, Err(GetError::Revoked(reason)) if reason == "revoked"));
    assert_eq!(last.state().await.unwrap(), State::Pending, "nobody tells it that it will never run");

    let ending = Canvas::group([task("add", [1]), task("add", [2])]);
    let last = group(&serving, task("add", [1]) | revoked() | ending).await;
    assert!(matches!(last.get::<Value>(SOON).await, Err(GetError::Revoked(_))));
    serving.stop().await;
}

async fn the_states_of_a_result_are_asked_for_by_name(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let good = published(&serving, ids.name("good", task("add", [1]))).await;
    good.get(SOON).await.unwrap();
    assert_eq!(
        (good.ready().await.unwrap(), good.successful().await.unwrap(), good.failed().await.unwrap()),
        (true, true, false)
    );
    let bad = published(&serving, task("fail", [])).await;
    bad.get(SOON).await.unwrap_err();
    assert_eq!(
        (bad.ready().await.unwrap(), bad.successful().await.unwrap(), bad.failed().await.unwrap()),
        (true, false, true)
    );
    let nobody = serving.app.result::<()>(ids.of("nobody"));
    assert_eq!((nobody.ready().await.unwrap(), nobody.meta().await.unwrap()), (false, None));
    let waited = nobody.get(Duration::from_millis(10)).await.unwrap_err();
    assert!(matches!(&waited, GetError::Timeout { id, .. } if *id == ids.of("nobody")), "{waited}");
    serving.stop().await;
}

async fn a_result_that_is_never_stored_is_not_waited_for(setup: Setup) {
    let serving = serve(&setup).await;
    let send = |name: &'static str, ids: &Ids| {
        let options = SendOptions::new().ignore_result(true).task_id(ids.of(name));
        serving.app.send_named("proj.add", [1], json!({}), options)
    };
    let ids = Ids::new();
    let ignored = send("ignored", &ids).await.unwrap();
    let error = ignored.get(SOON).await.unwrap_err();
    assert!(matches!(&error, GetError::Ignored { id } if *id == ids.of("ignored")), "{error}");
    serving.settled("celery").await;
    assert_eq!(ignored.state().await.unwrap(), State::Pending);
    serving.stop().await;
}

async fn the_children_of_a_task_are_found_and_collected(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let callback = ids.name("callback", task("add", [10]));
    let first = Canvas::from(ids.name("first", task("add", [1]))).link(callback);
    published(&serving, first | ids.name("second", task("add", [1]))).await;
    let first = serving.app.result::<i64>(ids.of("first"));
    let collected = first.collect(SOON).await.unwrap();
    let values: BTreeSet<_> =
        collected.iter().map(|(result, value)| (result.id().to_owned(), value.to_string())).collect();
    let expected =
        [("callback", "11"), ("first", "1"), ("second", "2")].map(|(name, value)| (ids.of(name), value.to_owned()));
    assert_eq!(values, BTreeSet::from(expected));
    assert_eq!(collected[0].0.id(), ids.of("first"));
    let children: BTreeSet<_> = first.children().await.unwrap().iter().map(|child| child.id().to_owned()).collect();
    assert_eq!(children, BTreeSet::from([ids.of("callback"), ids.of("second")]));
    serving.stop().await;
}

async fn a_group_is_asked_as_a_whole_and_its_tasks_come_as_they_end(setup: Setup) {
    let ids = Ids::new();
    let serving = serve(&setup).await;
    let late = ids.name("late", task("add", [1]).with("countdown", 3600));
    let tasks = [ids.name("good", task("add", [2])), late, ids.name("bad", task("fail", []))];
    let group = group(&serving, Canvas::group(tasks)).await;
    let mut ended = Vec::new();
    let mut results = std::pin::pin!(group.iterate::<i64>(SOON));
    while ended.len() < 2 {
        let (result, value) = results.next().await.unwrap();
        ended.push((result.id().to_owned(), value.map_err(|error| error.to_string())));
    }
    ended.sort();
    assert_eq!(ended, [(ids.of("bad"), Err("ValueError: boom".to_owned())), (ids.of("good"), Ok(2))]);
    assert_eq!((group.ready().await.unwrap(), group.waiting().await.unwrap()), (false, true));
    assert_eq!((group.successful().await.unwrap(), group.failed().await.unwrap()), (false, true));
    assert_eq!(group.completed_count().await.unwrap(), 1);

    let rest: Vec<_> = group.iterate::<i64>(Duration::from_millis(500)).collect().await;
    let (_, late) = rest.iter().find(|(result, _)| result.id() == ids.of("late")).unwrap();
    assert!(matches!(late, Err(GetError::Timeout { .. })), "{rest:?}");

    group.revoke().await.unwrap();
    testkit::eventually(SOON, async || group.ready().await.unwrap()).await;
    let late = serving.app.result::<()>(ids.of("late")).meta().await.unwrap().unwrap();
    assert_eq!(late.state, State::Revoked);
    group.forget().await.unwrap();
    assert_eq!(group.completed_count().await.unwrap(), 0);
    serving.stop().await;
}

async fn a_task_that_runs_is_ended_by_its_result(setup: Setup) {
    let serving = serve(&setup).await;
    let waiting = published(&serving, task("wait", [])).await;
    testkit::eventually(SOON, async || !serving.handle.active().is_empty()).await;
    waiting.terminate().await.unwrap();
    assert!(matches!(waiting.get(SOON).await, Err(GetError::Revoked(_))));
    testkit::eventually(SOON, async || serving.handle.active().is_empty()).await;
    serving.stop().await;
}

on_every_broker!(
    a_result_knows_the_steps_before_it,
    a_step_that_is_revoked_ends_the_waiting_for_those_after_it,
    the_states_of_a_result_are_asked_for_by_name,
    a_result_that_is_never_stored_is_not_waited_for,
    the_children_of_a_task_are_found_and_collected,
    a_group_is_asked_as_a_whole_and_its_tasks_come_as_they_end,
    a_task_that_runs_is_ended_by_its_result,
);
