//! What only a real Redis can show: Celery's format, and what happens when it goes away.

use std::time::Duration;

use celeriac::backend::{BackendError, BackendOptions, Change, connect};
use redis::AsyncCommands;
use testkit::FaultProxy;

use super::{SOON, Setup, id, next, open, result, state};

fn impatient() -> BackendOptions {
    BackendOptions { timeout: Duration::from_millis(500), ..BackendOptions::default() }
}

pub(super) async fn client(url: &str) -> redis::aio::MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test]
async fn a_result_lies_where_celery_looks_for_it_and_lives_a_day() {
    let (setup, id) = (Setup::redis().await, id());
    let mut client = client(&setup.url).await;
    let key = format!("celery-task-meta-{id}");
    setup.open().await.store(&[result(&id, "SUCCESS")]).await.unwrap();
    let stored: String = client.get(&key).await.unwrap();
    assert_eq!(stored, result(&id, "SUCCESS").meta);
    let seconds: i64 = client.ttl(&key).await.unwrap();
    assert!((86_390..=86_400).contains(&seconds), "{seconds}");

    client.del::<_, ()>(&key).await.unwrap();
    setup.open_expiring(None).await.store(&[result(&id, "SUCCESS")]).await.unwrap();
    assert_eq!(client.ttl::<_, i64>(&key).await.unwrap(), -1);
}

#[tokio::test]
async fn whatever_lies_under_the_key_is_replaced() {
    let (setup, id) = (Setup::redis().await, id());
    let key = format!("celery-task-meta-{id}");
    client(&setup.url).await.lpush::<_, _, ()>(&key, "a list").await.unwrap();
    let backend = setup.open().await;
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("SUCCESS"));
}

/// A group in the header of a chord that was sent with Celery 5.5 has the id of that chord, and begins it anew when it is
/// sent itself.
#[tokio::test]
async fn a_chord_that_is_begun_anew_never_becomes_smaller() {
    let (setup, group) = (Setup::redis().await, id());
    let (backend, mut client) = (setup.open().await, client(&setup.url).await);
    for (begun, size) in [(3, 3), (2, 3), (4, 4)] {
        backend.begin_chord(&group, begun).await.unwrap();
        assert_eq!(client.get::<_, usize>(format!("celery-taskset-meta-{group}.s")).await.unwrap(), size);
    }
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_unavailable_and_shows_no_password() {
    let port = testkit::free_port();
    let Err(error) = connect(&format!("redis://:hunter2@127.0.0.1:{port}/0"), &impatient()).await else {
        panic!("nobody listens there");
    };
    assert!(matches!(error, BackendError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_for_good() {
    let redis = testkit::own_redis().await;
    let mut admin = client(redis.url()).await;
    redis::cmd("CONFIG").arg(&["SET", "requirepass", "right"]).exec_async(&mut admin).await.unwrap();
    let with = |password: &str| redis.url().replace("redis://", &format!("redis://:{password}@"));
    for url in [redis.url().to_owned(), with("wrong")] {
        let Err(error) = connect(&url, &BackendOptions::default()).await else { panic!("{url} was let in") };
        assert!(matches!(error, BackendError::Refused { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("wrong@"), "{error:?}");
    }
    let backend = open(&with("right"), BackendOptions::default()).await;
    assert_eq!(backend.get(&id()).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_stays_silent_is_unavailable_within_the_timeout_and_then_reached_anew() {
    let setup = Setup::redis().await;
    let proxy = FaultProxy::start(&setup.url).await;
    let (backend, id) = (open(&proxy.url(&setup.url), impatient()).await, id());
    backend.store(&[result(&id, "STARTED")]).await.unwrap();
    proxy.pause();
    let silent = tokio::time::timeout(SOON, backend.store(&[result(&id, "SUCCESS")])).await.unwrap();
    assert!(matches!(silent, Err(BackendError::Unavailable { .. })), "{silent:?}");
    proxy.resume();
    testkit::eventually(SOON, async || backend.store(&[result(&id, "SUCCESS")]).await).await;
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn cut_connections_are_made_anew_and_subscribers_are_told_to_read_again() {
    let setup = Setup::redis().await;
    let proxy = FaultProxy::start(&setup.url).await;
    let (direct, id) = (setup.open().await, id());
    let backend = open(&proxy.url(&setup.url), impatient()).await;
    let mut subscription = backend.subscribe(&id).await.unwrap();
    proxy.cut();
    direct.store(&[result(&id, "STARTED")]).await.unwrap();
    // The change itself may be seen too, if the connection was back in time.
    while next(&mut subscription).await != Change::Resubscribed {}
    testkit::eventually(SOON, async || backend.get(&id).await).await;
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("STARTED"));
    direct.store(&[result(&id, "SUCCESS")]).await.unwrap();
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&id, "SUCCESS").meta));
}

#[tokio::test]
async fn a_subscription_waits_for_a_server_that_comes_back_in_time() {
    let setup = Setup::redis().await;
    let proxy = FaultProxy::start(&setup.url).await;
    let backend = open(&proxy.url(&setup.url), BackendOptions::default()).await;
    proxy.refuse().await;
    proxy.cut();
    let subscription = backend.subscribe("a");
    tokio::pin!(subscription);
    assert!(futures_util::poll!(subscription.as_mut()).is_pending());
    proxy.accept().await;
    subscription.await.expect("the server is back within the timeout");
}

#[tokio::test]
async fn after_a_restart_of_redis_which_has_forgotten_everything_all_goes_on() {
    let mut redis = testkit::own_redis().await;
    let (backend, id) = (open(redis.url(), impatient()).await, id());
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    let mut subscription = backend.subscribe(&id).await.unwrap();
    redis.stop().await;
    let down = backend.store(&[result(&id, "FAILURE")]).await;
    assert!(matches!(down, Err(BackendError::Unavailable { .. })), "{down:?}");
    redis.start().await;
    assert_eq!(next(&mut subscription).await, Change::Resubscribed);
    testkit::eventually(SOON, async || backend.store(&[result(&id, "FAILURE")]).await).await;
    // What was stored before is lost with the server, and the script is loaded again.
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("FAILURE"));
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&id, "FAILURE").meta));
}

#[tokio::test]
async fn after_flushall_results_are_unknown_and_new_ones_are_stored() {
    let redis = testkit::own_redis().await;
    let (backend, id) = (open(redis.url(), BackendOptions::default()).await, id());
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    let mut admin = client(redis.url()).await;
    redis::cmd("FLUSHALL").exec_async(&mut admin).await.unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut admin).await.unwrap();
    assert_eq!(backend.get(&id).await.unwrap(), None);
    backend.store(&[result(&id, "FAILURE")]).await.unwrap();
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("FAILURE"));
}
