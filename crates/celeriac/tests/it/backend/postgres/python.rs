//! Celery's own SQLAlchemy backend at the other end of the tables.

use std::time::Duration;

use celeriac::backend::BackendOptions;
use celeriac::protocol::{ResultMeta, ResultTuple, Revocation, State};
use celeriac::{App, Failure, GetError};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::groups::python;
use super::super::{SOON, Setup, id, open, result, state};
use super::client;
use super::tables::{ask, stored};

/// An application with this backend, as users have it.
async fn app(setup: &Setup) -> App {
    let broker = format!("memory://{}", uuid::Uuid::new_v4());
    let url = setup.url.replace("postgres://", "db+postgresql://");
    App::builder().broker(&broker).backend(&url).build().await.unwrap()
}

fn done() -> DateTime<Utc> {
    "2031-05-06T07:08:09.123456Z".parse().unwrap()
}

fn value_error() -> Failure {
    let mut failure = Failure::new("ValueError", [json!("no"), json!(2)]);
    failure.exc_module = "builtins".to_owned();
    failure.traceback = Some("Traceback: ü".to_owned());
    failure
}

#[tokio::test]
async fn python_reads_every_kind_of_result_we_store() {
    let setup = Setup::postgres().await;
    let backend = setup.open().await;
    let ids: Vec<_> = (0..8).map(|_| id()).collect();
    let [success, failure, foreign, revoked, retry, started, progress, extended] = &*ids else { panic!("eight") };

    let infinite = celeriac::protocol::RawJson::parse(r#"{"a":[1,null,1.5,"ü"],"b":Infinity}"#).unwrap();
    let mut with_child = ResultMeta::new(success, State::Success, infinite);
    with_child.date_done = Some(done());
    with_child.children = Some(vec![ResultTuple::task("child")]);
    let declined = Failure::new("PaymentDeclined", [json!("limit"), json!(402)]);
    let extended = format!(
        r#"{{"status":"SUCCESS","result":"x","name":"n","args":[1,"ü"],"kwargs":{{"k":null}},"worker":"w@h","retries":3,"queue":"q","stamped_headers":["tenant"],"tenant":"ru","task_id":"{extended}"}}"#
    );
    let metas = [
        with_child,
        ResultMeta::failure(failure, &value_error(), done()),
        ResultMeta::failure(foreign, &declined, done()),
        ResultMeta::revoked(revoked, Revocation::Terminated, done()),
        ResultMeta::retry(retry, &value_error()),
        ResultMeta::started(started, 7, "w@h"),
        ResultMeta::custom(progress, "PROGRESS", &json!({"done": 0.5})).unwrap(),
        ResultMeta::from_json(&extended).unwrap(),
    ];
    backend.store(&metas.each_ref().map(stored)).await.unwrap();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    python("read", &setup, &ids).await;
}

#[tokio::test]
async fn we_read_every_kind_of_result_python_stores_and_whoever_waits_is_woken() {
    let setup = Setup::postgres().await;
    let app = app(&setup).await;
    let ids: Vec<_> = (0..7).map(|_| id()).collect();
    let [success, failure, revoked, retry, started, extended, nothing] = &*ids else { panic!("seven") };
    let waiting = app.result::<Value>(extended);
    let waiting = tokio::spawn(async move { waiting.get(SOON).await });
    python("write", &setup, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;

    // Python's 2**70 is no number of ours, and yet what has come is read as it stands.
    let number = waiting.await.unwrap().unwrap();
    assert_eq!(number.as_f64(), Some(2f64.powi(70)), "{number}");

    let meta = async |id: &String| app.result::<()>(id).meta().await.unwrap().unwrap();
    let read = meta(success).await;
    assert_eq!(read.result.as_str(), r#"{"a": [1, null, 1.5, "\u00fc"], "b": Infinity}"#);
    assert_eq!(read.children, Some(vec![ResultTuple::task("child")]));
    assert!(read.date_done.is_some_and(|done| (celeriac::clock::now() - done).num_minutes() == 0), "{read:?}");
    assert_eq!(read.extended, None);

    match app.result::<()>(failure).get(SOON).await {
        Err(GetError::Failed(failure)) => assert_eq!(failure, value_error()),
        other => panic!("{other:?}"),
    }
    let ended = app.result::<()>(revoked).get(SOON).await;
    assert!(matches!(&ended, Err(GetError::Revoked(reason)) if reason == "terminated"), "{ended:?}");
    let read = meta(retry).await;
    assert_eq!((read.state.clone(), read.exception_info().unwrap().exc_type), (State::Retry, "KeyError".to_owned()));
    let read = meta(started).await;
    assert_eq!(
        (read.state.clone(), read.value::<Value>().unwrap()),
        (State::Started, json!({"pid": 7, "hostname": "w@h"}))
    );
    assert_eq!(app.result::<Option<u8>>(nothing).get(SOON).await.unwrap(), None);

    let read = meta(extended).await.extended.unwrap();
    assert_eq!(
        (read.name.as_deref(), read.worker.as_deref(), read.queue.as_deref()),
        (Some("n"), Some("w@h"), Some("q"))
    );
    assert_eq!((read.args.unwrap().as_str(), read.kwargs.unwrap().as_str()), (r#"[1, "\u00fc"]"#, r#"{"k": null}"#));
    assert_eq!(read.retries, Some(3));
    let tenant = read.stamps.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
    assert_eq!((read.stamped_headers, tenant), (Some(vec!["tenant".to_owned()]), vec![("tenant", "\"ru\"")]));
}

#[tokio::test]
async fn our_tables_are_those_of_sqlalchemy_whose_numbers_may_be_larger() {
    let columns = "SELECT table_name, column_name, is_nullable, data_type, character_maximum_length
                   FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position";
    let others = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
                  UNION SELECT 'sequence', sequence_name, data_type FROM information_schema.sequences ORDER BY 1, 2";
    let (ours, theirs) = (Setup::postgres().await, Setup::postgres().await);
    ours.open().await;
    python("cleanup", &theirs, &[]).await;
    let numbered = ask(&ours.url, columns).await.replace("id|NO|bigint", "id|NO|integer");
    assert_eq!(numbered, ask(&theirs.url, columns).await);
    assert_eq!(ask(&ours.url, others).await, ask(&theirs.url, others).await);
    // And each serves the other.
    open(&theirs.url, BackendOptions::default()).await.store(&[result("a", "SUCCESS")]).await.unwrap();
    python("save", &ours, &["group", "a"]).await;
}

#[tokio::test]
async fn each_side_deletes_what_the_other_has_left() {
    let setup = Setup::postgres().await;
    let backend = setup.open().await;
    let now = celeriac::clock::now();
    for (task, age) in [("old", Duration::from_secs(7200)), ("new", Duration::from_secs(1800))] {
        backend.store(&[stored(&ResultMeta::success(task, "x", now - age).unwrap())]).await.unwrap();
    }
    python("cleanup", &setup, &[]).await;
    assert_eq!(ask(&setup.url, "SELECT task_id FROM celery_taskmeta").await, "new");
    python("save", &setup, &["group", "new"]).await;
    assert_eq!(backend.cleanup(now + Duration::from_secs(3600)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_table_of_an_older_celery_gets_the_missing_columns_and_its_pickles_are_read() {
    let setup = Setup::postgres().await;
    // As Celery 5.5.3 makes and fills it; the pickle is of {'x': [1, None, inf], 'ü': 'ü'}.
    let pickle = r"'\x80059520000000000000007d94288c0178945d94284b014e477ff0000000000000658c02c3bc946803752e'";
    let older = format!(
        "CREATE SEQUENCE task_id_sequence;
         CREATE TABLE celery_taskmeta (id INTEGER NOT NULL, task_id VARCHAR(155), status VARCHAR(50), result BYTEA,
             date_done TIMESTAMP WITHOUT TIME ZONE, traceback TEXT, name VARCHAR(155), args BYTEA, kwargs BYTEA,
             worker VARCHAR(155), retries INTEGER, queue VARCHAR(155), PRIMARY KEY (id), UNIQUE (task_id));
         INSERT INTO celery_taskmeta (id, task_id, status, result, date_done)
         VALUES (nextval('task_id_sequence'), 'a', 'SUCCESS', {pickle}, now()),
                (nextval('task_id_sequence'), 'b', 'SUCCESS', NULL, now())"
    );
    client(&setup.url).await.batch_execute(&older).await.unwrap();
    let app = app(&setup).await;
    let meta = app.result::<()>("a").meta().await.unwrap().unwrap();
    assert_eq!(meta.result.as_str(), r#"{"x":[1,null,Infinity],"ü":"ü"}"#);
    assert_eq!(app.result::<Option<u8>>("b").get(SOON).await.unwrap(), None);
    app.backend().store(&[result("c", "SUCCESS")]).await.unwrap();
    assert_eq!(ask(&setup.url, "SELECT id FROM celery_taskmeta WHERE task_id = 'c' AND stamps IS NULL").await, "3");
}

#[tokio::test]
async fn python_and_we_may_start_at_the_same_time() {
    let setup = Setup::postgres().await;
    let (ours, (), ()) = tokio::join!(
        futures_util::future::join_all((0..4).map(|_| open(&setup.url, BackendOptions::default()))),
        python("save", &setup, &["one", "a"]),
        python("save", &setup, &["other", "a"]),
    );
    let [backend, ..] = &*ours else { panic!("four") };
    backend.store(&[result("a", "SUCCESS")]).await.unwrap();
    assert_eq!(state(&**backend, "a").await.as_deref(), Some("SUCCESS"));
}
