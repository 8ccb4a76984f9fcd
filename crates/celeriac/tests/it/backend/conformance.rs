//! The rules that every backend keeps.

use std::time::Duration;

use celeriac::backend::Change;

use super::groups::{a_group_expires, a_group_is_stored_replaced_restored_and_forgotten};
use super::{SOON, Setup, id, next, result, state};

macro_rules! on_every_backend {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(super::Setup::memory()).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(super::Setup::redis().await).await; })*
        }
        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(super::Setup::postgres().await).await; })*
        }
    };
}

on_every_backend!(
    what_was_stored_is_read_back_to_the_byte,
    nothing_is_known_of_a_task_that_was_never_stored,
    a_success_is_never_overwritten_and_other_states_are,
    many_results_are_stored_at_once_in_their_order,
    a_subscriber_sees_what_is_stored_after_and_only_of_its_task,
    what_is_not_stored_is_not_published,
    all_subscribers_of_a_task_are_told_and_one_that_leaves_takes_nobody_along,
    two_handles_to_one_address_share_everything,
    a_forgotten_result_is_gone_and_may_be_stored_again,
    a_result_expires,
    without_expiry_a_result_stays,
    a_subscriber_that_falls_behind_is_cut_off_instead_of_missing_something,
    closing_ends_subscriptions_of_servers_and_keeps_results,
    a_group_is_stored_replaced_restored_and_forgotten,
    a_group_expires,
);

async fn what_was_stored_is_read_back_to_the_byte(setup: Setup) {
    let (backend, id) = (setup.open().await, id());
    let mut stored = result(&id, "FAILURE");
    stored.meta = format!(
        r#"{{"status":"FAILURE","result":["\u0000 \"é\" 🦀\n", 1.50],"traceback":null,"children":[[["c",null],null]],"date_done":"2031-05-06T07:08:09.123456+00:00","task_id":"{id}"}}"#
    );
    backend.store(&[stored.clone()]).await.unwrap();
    assert_eq!(backend.get(&id).await.unwrap(), Some(stored.meta));
}

async fn nothing_is_known_of_a_task_that_was_never_stored(setup: Setup) {
    let backend = setup.open().await;
    assert_eq!(backend.get(&id()).await.unwrap(), None);
    backend.store(&[]).await.unwrap();
}

async fn a_success_is_never_overwritten_and_other_states_are(setup: Setup) {
    let backend = setup.open().await;
    for (first, second, left) in [
        ("SUCCESS", "FAILURE", "SUCCESS"),
        ("SUCCESS", "RETRY", "SUCCESS"),
        ("FAILURE", "SUCCESS", "SUCCESS"),
        ("STARTED", "SUCCESS", "SUCCESS"),
        ("RETRY", "FAILURE", "FAILURE"),
        ("REVOKED", "FAILURE", "FAILURE"),
        ("PROGRESS", "STARTED", "STARTED"),
    ] {
        let id = id();
        backend.store(&[result(&id, first)]).await.unwrap();
        backend.store(&[result(&id, second)]).await.unwrap();
        assert_eq!(state(&*backend, &id).await.as_deref(), Some(left), "{first} then {second}");
    }
    // However somebody else has written it.
    for meta in [r#"{"status":"SUCCESS","result":1}"#, r#" { "result" : 1.0 , "status" : "SUCCESS" } "#] {
        let id = id();
        let mut foreign = result(&id, "SUCCESS");
        foreign.meta = meta.to_owned();
        backend.store(&[foreign]).await.unwrap();
        backend.store(&[result(&id, "FAILURE")]).await.unwrap();
        assert_eq!(state(&*backend, &id).await.as_deref(), Some("SUCCESS"), "{meta}");
    }
}

async fn many_results_are_stored_at_once_in_their_order(setup: Setup) {
    let backend = setup.open().await;
    let ids: Vec<_> = (0..1000).map(|_| id()).collect();
    let results: Vec<_> =
        ids.iter().flat_map(|id| [result(id, "STARTED"), result(id, "SUCCESS"), result(id, "FAILURE")]).collect();
    backend.store(&results).await.unwrap();
    for id in &ids {
        assert_eq!(state(&*backend, id).await.as_deref(), Some("SUCCESS"));
    }
}

async fn a_subscriber_sees_what_is_stored_after_and_only_of_its_task(setup: Setup) {
    let (backend, id, other) = (setup.open().await, id(), id());
    backend.store(&[result(&id, "RECEIVED")]).await.unwrap();
    let mut subscription = backend.subscribe(&id).await.unwrap();
    backend.store(&[result(&other, "SUCCESS"), result(&id, "STARTED")]).await.unwrap();
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&id, "STARTED").meta));
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&id, "SUCCESS").meta));
}

async fn what_is_not_stored_is_not_published(setup: Setup) {
    let (backend, id, other) = (setup.open().await, id(), id());
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    let mut subscription = backend.subscribe(&id).await.unwrap();
    backend.store(&[result(&id, "FAILURE")]).await.unwrap();
    backend.forget(&id).await.unwrap();
    backend.store(&[result(&other, "SUCCESS"), result(&id, "RETRY")]).await.unwrap();
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&id, "RETRY").meta));
}

async fn all_subscribers_of_a_task_are_told_and_one_that_leaves_takes_nobody_along(setup: Setup) {
    let (backend, id) = (setup.open().await, id());
    let mut first = backend.subscribe(&id).await.unwrap();
    let mut second = backend.subscribe(&id).await.unwrap();
    backend.store(&[result(&id, "STARTED")]).await.unwrap();
    assert_eq!(next(&mut first).await, next(&mut second).await);
    drop(first);
    let mut third = backend.subscribe(&id).await.unwrap();
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    assert_eq!(next(&mut second).await, next(&mut third).await);
}

async fn two_handles_to_one_address_share_everything(setup: Setup) {
    let (one, other, id) = (setup.open().await, setup.open().await, id());
    let mut subscription = other.subscribe(&id).await.unwrap();
    one.store(&[result(&id, "SUCCESS")]).await.unwrap();
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&id, "SUCCESS").meta));
    assert_eq!(state(&*other, &id).await.as_deref(), Some("SUCCESS"));
}

async fn a_forgotten_result_is_gone_and_may_be_stored_again(setup: Setup) {
    let (backend, id) = (setup.open().await, id());
    backend.forget(&id).await.unwrap();
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    backend.forget(&id).await.unwrap();
    assert_eq!(backend.get(&id).await.unwrap(), None);
    backend.store(&[result(&id, "FAILURE")]).await.unwrap();
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("FAILURE"));
}

async fn a_result_expires(setup: Setup) {
    let (backend, id) = (setup.open_expiring(Some(Duration::from_secs(1))).await, id());
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    assert!(backend.get(&id).await.unwrap().is_some());
    testkit::eventually(SOON, async || backend.get(&id).await.unwrap().is_none()).await;
    backend.store(&[result(&id, "FAILURE")]).await.unwrap();
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("FAILURE"));
}

async fn without_expiry_a_result_stays(setup: Setup) {
    let (backend, id) = (setup.open_expiring(None).await, id());
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("SUCCESS"));
}

async fn a_subscriber_that_falls_behind_is_cut_off_instead_of_missing_something(setup: Setup) {
    let (backend, id) = (setup.open().await, id());
    let mut slow = backend.subscribe(&id).await.unwrap();
    let mut watcher = backend.subscribe(&id).await.unwrap();
    for _ in 0..200 {
        backend.store(&[result(&id, "PROGRESS")]).await.unwrap();
        next(&mut watcher).await;
    }
    let mut seen = 0;
    while let Some(_change) = tokio::time::timeout(SOON, slow.recv()).await.unwrap() {
        seen += 1;
    }
    assert!((1..200).contains(&seen), "{seen}");
}

async fn closing_ends_subscriptions_of_servers_and_keeps_results(setup: Setup) {
    let (backend, id) = (setup.open().await, id());
    let mut subscription = backend.subscribe(&id).await.unwrap();
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    next(&mut subscription).await;
    backend.close().await;
    assert_eq!(state(&*setup.open().await, &id).await.as_deref(), Some("SUCCESS"));
}
