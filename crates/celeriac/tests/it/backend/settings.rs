//! What may be said about how results are kept.

use std::time::Duration;

use celeriac::App;
use celeriac::backend::{BackendError, BackendOptions, Change, ChordPart, ChordProgress};
use celeriac::protocol::{Compression, RawJson, State};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::groups::python;
use super::redis::client;
use super::{SOON, Setup, id, next, open, result, state};

const SECOND: Duration = Duration::from_secs(1);

fn compressing() -> BackendOptions {
    BackendOptions { compression: Some(Compression::Gzip), ..BackendOptions::default() }
}

async fn failures_may_be_kept_for_a_shorter_time(setup: Setup) {
    let options = BackendOptions { expires: None, failure_expires: Some(SECOND), ..BackendOptions::default() };
    let (backend, good, bad) = (open(&setup.url, options).await, id(), id());
    backend.store(&[result(&good, "SUCCESS"), result(&bad, "FAILURE")]).await.unwrap();
    assert_eq!(state(&*backend, &bad).await.as_deref(), Some("FAILURE"));
    testkit::eventually(SOON, async || backend.get(&bad).await.unwrap().is_none()).await;
    assert_eq!(state(&*backend, &good).await.as_deref(), Some("SUCCESS"));
}

async fn failures_may_be_kept_for_ever(setup: Setup) {
    let options =
        BackendOptions { expires: Some(SECOND), failure_expires: Some(Duration::ZERO), ..BackendOptions::default() };
    let (backend, good, bad) = (open(&setup.url, options).await, id(), id());
    backend.store(&[result(&bad, "FAILURE"), result(&good, "SUCCESS")]).await.unwrap();
    testkit::eventually(SOON, async || backend.get(&good).await.unwrap().is_none()).await;
    assert_eq!(state(&*backend, &bad).await.as_deref(), Some("FAILURE"));
}

macro_rules! in_memory_and_in_redis {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(super::Setup::memory()).await; })*
        }
        mod in_redis {
            $(#[tokio::test] async fn $name() { super::$name(super::Setup::redis().await).await; })*
        }
    };
}

in_memory_and_in_redis!(failures_may_be_kept_for_a_shorter_time, failures_may_be_kept_for_ever,);

#[tokio::test]
async fn a_chord_may_be_kept_for_a_shorter_time_but_not_its_results() {
    let setup = Setup::redis().await;
    let minute = Some(Duration::from_secs(60));
    let options = BackendOptions { chord_expires: minute, ..BackendOptions::default() };
    let (backend, group) = (open(&setup.url, options).await, id());
    backend.begin_chord(&group, 2).await.unwrap();
    backend.save_group(&group, r#"{"result": [["g", null], []]}"#).await.unwrap();
    let part = ChordPart {
        group_id: group.clone(),
        task_id: "t".to_owned(),
        group_index: Some(0),
        state: State::Success,
        result: RawJson::NULL,
    };
    assert_eq!(backend.chord_part(&part, "a").await.unwrap(), ChordProgress::Open);
    let mut client = client(&setup.url).await;
    for (suffix, seconds) in [(".s", 60), (".j", 60), (".d", 60), ("", 86_400)] {
        let left: i64 = client.ttl(format!("celery-taskset-meta-{group}{suffix}")).await.unwrap();
        assert!((seconds - 30..=seconds).contains(&left), "{suffix}: {left}");
    }
}

#[tokio::test]
async fn what_is_compressed_is_read_whoever_reads_it() {
    let (setup, id) = (Setup::redis().await, id());
    let (packing, plain) = (open(&setup.url, compressing()).await, setup.open().await);
    let mut subscription = plain.subscribe(&id).await.unwrap();
    packing.store(&[result(&id, "STARTED"), result(&id, "SUCCESS"), result(&id, "FAILURE")]).await.unwrap();
    let stored: Vec<u8> = client(&setup.url).await.get(format!("celery-task-meta-{id}")).await.unwrap();
    assert!(stored.starts_with(b"\0celery-compressed\0application/x-gzip\0"), "{stored:?}");
    assert_eq!(plain.get(&id).await.unwrap(), Some(result(&id, "SUCCESS").meta));
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&id, "STARTED").meta));
    assert_eq!(next(&mut subscription).await, Change::Stored(result(&id, "SUCCESS").meta));

    // A success is never overwritten, whoever has compressed it; another state is.
    plain.store(&[result(&id, "FAILURE")]).await.unwrap();
    assert_eq!(state(&*plain, &id).await.as_deref(), Some("SUCCESS"));
    let other = super::id();
    packing.store(&[result(&other, "STARTED")]).await.unwrap();
    plain.store(&[result(&other, "RETRY"), result(&other, "SUCCESS"), result(&other, "RETRY")]).await.unwrap();
    assert_eq!(state(&*packing, &other).await.as_deref(), Some("SUCCESS"));
}

#[tokio::test]
async fn python_and_we_read_what_the_other_compresses() {
    let (setup, ours) = (Setup::redis().await, id());
    let broker = format!("memory://{}", uuid::Uuid::new_v4());
    let app = App::builder().broker(&broker).backend(&setup.url).result_compression(Compression::Gzip);
    let app = app.build().await.unwrap();
    let ids: Vec<_> = (0..7).map(|_| id()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let waiting = app.result::<f64>(ids[5]);
    let (value, ()) = tokio::join!(waiting.get(SOON * 3), python("write,result_compression=gzip", &setup, &ids));
    assert_eq!(value.unwrap(), 2_f64.powi(70), "seen as it was published");
    let error = app.result::<Value>(ids[1]).get(SOON).await.unwrap_err();
    assert!(error.to_string().starts_with("ValueError: no"), "{error}");

    let mut success = result(&ours, "SUCCESS");
    success.meta =
        format!(r#"{{"status":"SUCCESS","result":{{"a":[1,"ü"]}},"traceback":null,"children":[],"task_id":"{ours}"}}"#);
    app.backend().store(&[success]).await.unwrap();
    python("value", &setup, &[&ours, r#"{"a": [1, "ü"]}"#]).await;
}

#[tokio::test]
async fn a_compression_that_is_not_known_here_is_an_error_and_no_endless_wait() {
    let (setup, id) = (Setup::redis().await, id());
    let broker = format!("memory://{}", uuid::Uuid::new_v4());
    let app = App::builder().broker(&broker).backend(&setup.url).build().await.unwrap();
    let result = app.result::<Value>(id.as_str());
    let (seen, ()) = tokio::join!(result.get(SOON), async {
        let (mut client, key) = (client(&setup.url).await, format!("celery-task-meta-{id}"));
        let payload = &b"\0celery-compressed\0application/x-bz2\0BZh9"[..];
        redis::pipe().set(&key, payload).publish(&key, payload).exec_async(&mut client).await.unwrap();
    });
    assert!(seen.unwrap_err().to_string().contains("application/x-bz2"));
    let error = app.backend().get(&id).await.unwrap_err();
    assert!(matches!(error, BackendError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_prefix_of_ones_own_stands_in_front_of_all_keys() {
    let setup = Setup::redis().await;
    let broker = format!("memory://{}", uuid::Uuid::new_v4());
    let app = App::builder().broker(&broker).backend(&setup.url).result_key_prefix("shop").build().await.unwrap();
    let ids: Vec<_> = (0..7).map(|_| id()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    python("write,global_keyprefix=shop", &setup, &ids).await;
    python("save,global_keyprefix=shop", &setup, &["theirs", "a", "b"]).await;
    assert_eq!(app.result::<Value>(ids[6]).get(SOON).await.unwrap(), Value::Null);
    assert!(app.restore_group("theirs").await.unwrap().is_some());
    app.backend().store(&[result("ours", "SUCCESS")]).await.unwrap();
    python("value,global_keyprefix=shop", &setup, &["ours", &json!("é").to_string()]).await;
    assert_eq!(setup.open().await.get("ours").await.unwrap(), None, "it is another one without the prefix");
}
