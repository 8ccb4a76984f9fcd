//! Several servers in one address, and poolers in between.

use std::time::Duration;

use celeriac::backend::{BackendError, BackendOptions, connect};
use celeriac::beat::store;
use testkit::FaultProxy;
use url::Url;

use super::super::{Setup, id, open, result, state};

/// `postgresql://one,two/database` of two addresses of the same database.
fn both(one: &str, two: &str) -> String {
    let (one, two) = (Url::parse(one).unwrap(), Url::parse(two).unwrap());
    let server = |url: &Url| format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let password = one.password().map(|password| format!(":{password}")).unwrap_or_default();
    format!("postgresql://{}{password}@{},{}{}", one.username(), server(&one), server(&two), one.path())
}

#[tokio::test]
async fn of_several_servers_a_silent_first_one_does_not_hide_the_next() {
    let setup = Setup::postgres().await;
    let proxy = FaultProxy::start(&setup.url).await;
    proxy.pause();
    let url = both(&proxy.url(&setup.url), &setup.url);
    let began = tokio::time::Instant::now();
    let (backend, task) = (open(&url, BackendOptions::default()).await, id());
    backend.store(&[result(&task, "SUCCESS")]).await.unwrap();
    assert_eq!(state(&*backend, &task).await.as_deref(), Some("SUCCESS"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(store::connect(&url).await.is_ok(), "schedules are kept there too");
}

#[tokio::test]
async fn a_pooler_that_mixes_statements_up_is_refused_and_one_in_session_mode_is_used() {
    let setup = Setup::postgres().await;
    let transaction = testkit::pgbouncer(&setup.url, "transaction").await;
    for error in [
        connect(transaction.url(), &BackendOptions::default()).await.err(),
        store::connect(transaction.url()).await.err(),
    ] {
        let error = error.expect("it was accepted");
        assert!(matches!(&error, BackendError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("PgBouncer 1.21"), "{error}");
    }
    let session = testkit::pgbouncer(&setup.url, "session").await;
    let (backend, task) = (open(session.url(), BackendOptions::default()).await, id());
    backend.store(&[result(&task, "SUCCESS")]).await.unwrap();
    assert_eq!(state(&*backend, &task).await.as_deref(), Some("SUCCESS"));
}
