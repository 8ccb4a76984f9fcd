//! Connections that break, servers that are silent, statements that wait.

use std::time::Duration;

use celeriac::backend::{BackendError, BackendOptions, Change, connect};
use testkit::{FaultProxy, Logs};
use tokio::time::timeout;

use super::super::{SOON, Setup, id, next, open, result, state};
use super::{client, impatient};

#[tokio::test]
async fn an_address_where_nobody_listens_is_unavailable_and_shows_no_password() {
    let port = testkit::free_port();
    let Err(error) = connect(&format!("db+postgresql://app:hunter2@127.0.0.1:{port}/x"), &impatient()).await else {
        panic!("nobody listens there");
    };
    assert!(matches!(error, BackendError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("app@127.0.0.1:{port}")), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn an_unknown_user_and_an_unknown_database_are_refused_for_good() {
    let setup = Setup::postgres().await;
    let server = url::Url::parse(&setup.url).unwrap();
    let mut nobody = server.clone();
    nobody.set_username("nobody").unwrap();
    nobody.set_password(Some("hunter2")).unwrap();
    let mut nowhere = server.clone();
    nowhere.set_path("nowhere");
    for url in [nobody, nowhere] {
        let Err(error) = connect(url.as_str(), &BackendOptions::default()).await else { panic!("{url} was let in") };
        assert!(matches!(error, BackendError::Refused { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_stays_silent_is_unavailable_within_the_timeout_and_then_reached_anew() {
    let setup = Setup::postgres().await;
    let proxy = FaultProxy::start(&setup.url).await;
    let (backend, id) = (open(&proxy.url(&setup.url), impatient()).await, id());
    backend.store(&[result(&id, "STARTED")]).await.unwrap();
    proxy.pause();
    let silent = timeout(SOON, backend.store(&[result(&id, "SUCCESS")])).await.unwrap();
    assert!(matches!(silent, Err(BackendError::Unavailable { .. })), "{silent:?}");
    proxy.resume();
    testkit::eventually(SOON, async || backend.store(&[result(&id, "SUCCESS")]).await).await;
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn what_is_asked_while_the_connection_is_away_is_answered_when_it_is_back() {
    let setup = Setup::postgres().await;
    let proxy = FaultProxy::start(&setup.url).await;
    let (backend, id) = (open(&proxy.url(&setup.url), BackendOptions::default()).await, id());
    proxy.refuse().await;
    proxy.cut();
    let results = [result(&id, "SUCCESS")];
    let stored = backend.store(&results);
    tokio::pin!(stored);
    assert!(futures_util::poll!(stored.as_mut()).is_pending());
    proxy.accept().await;
    stored.await.expect("the server is back within the timeout");
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn an_outage_of_the_database_is_one_line_when_it_begins_and_one_when_it_is_over() {
    let setup = Setup::postgres().await;
    let logs = Logs::of_this_thread("celeriac=info");
    let proxy = FaultProxy::start(&setup.url).await;
    let (backend, id) = (open(&proxy.url(&setup.url), BackendOptions::default()).await, id());
    // Both connections.
    let _changes = backend.subscribe(&id).await.unwrap();
    assert_eq!(logs.lines(), Vec::<String>::new(), "a connection that comes at once is no news");
    proxy.refuse().await;
    proxy.cut();
    testkit::eventually(
        SOON,
        async || {
            if logs.with("cannot be reached").len() == 1 { Ok(()) } else { Err(logs.lines()) }
        },
    )
    .await;
    let outage = tokio::time::Instant::now();
    let attempts = proxy.accepted();
    // Both are tried again and again meanwhile.
    testkit::eventually(SOON, async || outage.elapsed() > Duration::from_secs(2) && proxy.accepted() >= attempts).await;
    proxy.accept().await;
    testkit::eventually(SOON, async || {
        if logs.with("the result backend is back").len() == 1 { Ok(()) } else { Err(logs.lines()) }
    })
    .await;
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();

    let lines = logs.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("the result backend cannot be reached"), "{lines:#?}");
    assert!(lines[1].contains("INFO") && lines[1].contains("the result backend is back"), "{lines:#?}");
    assert!(lines[1].contains("away=\"") && !lines[1].contains("ms\""), "two seconds and more: {lines:#?}");
}

#[tokio::test]
async fn a_statement_in_flight_is_repeated_on_the_next_connection() {
    let setup = Setup::postgres().await;
    let proxy = FaultProxy::start(&setup.url).await;
    let (backend, id) = (open(&proxy.url(&setup.url), BackendOptions::default()).await, id());
    proxy.pause();
    let results = [result(&id, "SUCCESS")];
    let (stored, ()) = tokio::join!(backend.store(&results), async {
        tokio::task::yield_now().await;
        proxy.cut();
        proxy.resume();
    });
    stored.expect("stored by the next connection");
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn cut_connections_are_made_anew_and_subscribers_are_told_to_read_again() {
    let setup = Setup::postgres().await;
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
async fn a_subscription_that_has_gone_silent_is_noticed_and_made_anew() {
    let setup = Setup::postgres().await;
    let proxy = FaultProxy::start(&setup.url).await;
    let (direct, id) = (setup.open().await, id());
    let backend = open(&proxy.url(&setup.url), impatient()).await;
    let mut subscription = backend.subscribe(&id).await.unwrap();
    let connections = proxy.accepted();
    proxy.pause();
    // Nobody asks anything here: the look at what is waited for finds that no answer comes.
    testkit::eventually(SOON, async || proxy.accepted() > connections).await;
    proxy.resume();
    while next(&mut subscription).await != Change::Resubscribed {}
    direct.store(&[result(&id, "SUCCESS")]).await.unwrap();
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&id, "SUCCESS").meta));
}

#[tokio::test]
async fn a_subscription_waits_for_a_server_that_comes_back_in_time() {
    let setup = Setup::postgres().await;
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
async fn after_a_restart_of_postgresql_results_are_there_and_all_goes_on() {
    let mut postgres = testkit::own_postgres().await;
    let (backend, one, other) = (open(postgres.url(), impatient()).await, id(), id());
    backend.store(&[result(&one, "SUCCESS")]).await.unwrap();
    let mut subscription = backend.subscribe(&other).await.unwrap();
    postgres.stop().await;
    let down = backend.store(&[result(&other, "STARTED")]).await;
    assert!(matches!(down, Err(BackendError::Unavailable { .. })), "{down:?}");
    postgres.start().await;
    assert_eq!(next(&mut subscription).await, Change::Resubscribed);
    testkit::eventually(SOON, async || backend.store(&[result(&other, "SUCCESS")]).await).await;
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&other, "SUCCESS").meta));
    assert_eq!(state(&*backend, &one).await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn a_row_that_somebody_holds_costs_one_statement_and_not_the_connection() {
    let setup = Setup::postgres().await;
    let (backend, held, free) = (open(&setup.url, impatient()).await, id(), id());
    backend.store(&[result(&held, "STARTED")]).await.unwrap();
    let mut python = client(&setup.url).await;
    let transaction = python.transaction().await.unwrap();
    transaction.execute("SELECT FROM celery_taskmeta WHERE task_id = $1 FOR UPDATE", &[&held]).await.unwrap();

    let waited = timeout(SOON, backend.store(&[result(&held, "SUCCESS")])).await.unwrap();
    assert!(matches!(waited, Err(BackendError::Unavailable { .. })), "{waited:?}");
    assert!(waited.unwrap_err().to_string().contains("timeout"));
    backend.store(&[result(&free, "SUCCESS")]).await.unwrap();
    drop(transaction);
    testkit::eventually(SOON, async || backend.store(&[result(&held, "SUCCESS")]).await).await;
    assert_eq!(state(&*backend, &held).await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn of_many_who_store_at_once_none_overwrites_a_success() {
    let setup = Setup::postgres().await;
    let (one, other) = (setup.open().await, setup.open().await);
    let ids: Vec<_> = (0..100).map(|_| id()).collect();
    let successes: Vec<_> = ids.iter().map(|id| result(id, "SUCCESS")).collect();
    let failures: Vec<_> = ids.iter().rev().map(|id| result(id, "FAILURE")).collect();
    for _ in 0..5 {
        let (first, second) = tokio::join!(one.store(&successes), other.store(&failures));
        first.and(second).expect("whoever meets another tries again");
    }
    for id in &ids {
        assert_eq!(state(&*one, id).await.as_deref(), Some("SUCCESS"));
    }
}

#[tokio::test]
async fn tables_that_are_dropped_are_made_anew() {
    let setup = Setup::postgres().await;
    let (backend, id) = (setup.open().await, id());
    backend.store(&[result(&id, "SUCCESS")]).await.unwrap();
    let drop = "DROP TABLE celery_taskmeta, celery_tasksetmeta; DROP SEQUENCE task_id_sequence, taskset_id_sequence";
    client(&setup.url).await.batch_execute(drop).await.unwrap();
    backend.store(&[result(&id, "FAILURE")]).await.unwrap();
    assert_eq!(state(&*backend, &id).await.as_deref(), Some("FAILURE"));
}

#[tokio::test]
async fn after_close_nothing_is_asked_and_the_connections_end() {
    let setup = Setup::postgres().await;
    let proxy = FaultProxy::start(&setup.url).await;
    let backend = open(&proxy.url(&setup.url), impatient()).await;
    let mut subscription = backend.subscribe("a").await.unwrap();
    assert_eq!(proxy.open(), 2);
    backend.close().await;
    assert_eq!(timeout(SOON, subscription.recv()).await.unwrap(), None);
    drop(subscription);
    let after = timeout(SOON, backend.get("a")).await.unwrap();
    assert!(after.unwrap_err().to_string().contains("closed"));
    assert!(backend.subscribe("a").await.is_err());
    testkit::eventually(SOON, async || proxy.open() == 0).await;
}
