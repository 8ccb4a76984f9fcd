//! Rows and tables.

use std::time::Duration;

use celeriac::backend::{BackendError, BackendOptions, Change, StoredResult, connect};
use celeriac::protocol::{ResultMeta, State};
use chrono::{DateTime, Utc};
use tokio_postgres::SimpleQueryMessage;

use super::super::{Setup, id, next, open, result, state};
use super::client;

/// What a statement answers, as text: columns by `|`, rows by lines.
pub(super) async fn ask(url: &str, sql: &str) -> String {
    let answer = client(url).await.simple_query(sql).await.unwrap();
    let rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect::<Vec<_>>()),
        _ => None,
    });
    rows.map(|row| row.join("|")).collect::<Vec<_>>().join("\n")
}

pub(super) fn stored(meta: &ResultMeta) -> StoredResult {
    StoredResult { task_id: meta.task_id.clone(), meta: meta.to_json(), is_final: meta.state.is_ready() }
}

#[tokio::test]
async fn a_row_has_what_celery_would_have_written() {
    let (setup, id) = (Setup::postgres().await, id());
    let backend = setup.open().await;
    let text = format!(
        r#"{{"status":"SUCCESS","result":{{"a": [1, NaN]}},"traceback":null,"children":[[["c",null],null]],"date_done":"2031-05-06T07:08:09.123456+00:00","group_id":"g","name":"n","args":[1],"kwargs":{{"k":2}},"worker":"w","retries":3,"queue":"q","stamped_headers":["s"],"s":"x","task_id":"{id}"}}"#
    );
    backend.store(&[StoredResult { task_id: id.clone(), meta: text, is_final: true }]).await.unwrap();
    let columns = "id, task_id, status, convert_from(result, 'UTF8'), date_done, traceback, convert_from(children, 'UTF8'), \
                   name, convert_from(args, 'UTF8'), convert_from(kwargs, 'UTF8'), worker, retries, queue, \
                   convert_from(stamps, 'UTF8')";
    let row = ask(&setup.url, &format!("SET timezone = 'UTC'; SELECT {columns} FROM celery_taskmeta")).await;
    let expected = [
        "1",
        &id,
        "SUCCESS",
        r#"{"a": [1, NaN]}"#,
        "2031-05-06 07:08:09.123456",
        "NULL",
        r#"[[["c",null],null]]"#,
        "n",
        "[1]",
        r#"{"k":2}"#,
        "w",
        "3",
        "q",
        r#"{"stamped_headers":["s"],"stamps":{"s":"x"}}"#,
    ];
    assert_eq!(row, expected.join("|"));
}

#[tokio::test]
async fn only_what_has_ended_has_a_time_and_each_task_takes_one_number() {
    let setup = Setup::postgres().await;
    let backend = setup.open().await;
    for task in ["a", "b"] {
        for state in ["RECEIVED", "STARTED", "RETRY"] {
            backend.store(&[result(task, state)]).await.unwrap();
            let times =
                ask(&setup.url, &format!("SELECT date_done FROM celery_taskmeta WHERE task_id = '{task}'")).await;
            assert_eq!(times, "NULL");
        }
        backend.store(&[result(task, "SUCCESS"), result(task, "FAILURE")]).await.unwrap();
        backend.store(&[result(task, "FAILURE")]).await.unwrap();
    }
    let rows = ask(
        &setup.url,
        "SELECT id, task_id, status, date_done::timestamptz BETWEEN now() - interval '1 minute' AND now() + interval '1 minute'
         FROM celery_taskmeta ORDER BY id",
    );
    assert_eq!(rows.await, "1|a|SUCCESS|t\n2|b|SUCCESS|t");
    assert_eq!(ask(&setup.url, "SELECT last_value FROM task_id_sequence").await, "2");
}

#[tokio::test]
async fn a_large_result_and_a_long_id_are_told_too() {
    let (setup, id) = (Setup::postgres().await, "long".repeat(35));
    let backend = setup.open().await;
    let mut subscription = backend.subscribe(&id).await.unwrap();
    let meta =
        ResultMeta::success(&*id, &"x".repeat(1 << 20), DateTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    let large = stored(&meta.unwrap());
    backend.store(std::slice::from_ref(&large)).await.unwrap();
    assert_eq!(next(&mut subscription).await, Change::Stored(large.meta));
}

#[tokio::test]
async fn what_no_row_can_hold_is_refused_and_says_why() {
    let backend = Setup::postgres().await.open().await;
    for (task_id, part) in [("x".repeat(156), "155 characters"), ("a\0b".to_owned(), "NUL")] {
        let unstorable = StoredResult { task_id: task_id.clone(), ..result("a", "SUCCESS") };
        let error = backend.store(&[unstorable]).await.unwrap_err();
        assert!(matches!(&error, BackendError::Refused { reason, .. } if reason.contains(part)), "{error:?}");
        assert_eq!(backend.get(&task_id).await.unwrap(), None);
        backend.forget(&task_id).await.unwrap();
    }
    assert!(matches!(backend.subscribe("a\0b").await, Err(BackendError::Refused { .. })));
}

#[tokio::test]
async fn a_fleet_that_starts_in_an_empty_database_makes_the_tables_once() {
    let setup = Setup::postgres().await;
    let all = futures_util::future::join_all((0..12).map(|_| setup.open())).await;
    for (number, backend) in all.iter().enumerate() {
        backend.store(&[result(&number.to_string(), "SUCCESS")]).await.unwrap();
    }
    assert_eq!(ask(&setup.url, "SELECT count(*) FROM celery_taskmeta").await, "12");
}

#[tokio::test]
async fn without_the_right_to_make_tables_those_that_are_there_do() {
    let setup = Setup::postgres().await;
    let role = format!("app_{}", uuid::Uuid::new_v4().simple());
    let admin = client(&setup.url).await;
    let grants = format!("CREATE ROLE {role} LOGIN PASSWORD 'app'; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    admin.batch_execute(&grants).await.unwrap();
    let mut url = url::Url::parse(&setup.url).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("app")).unwrap();

    let Err(error) = connect(url.as_str(), &BackendOptions::default()).await else { panic!("there are no tables") };
    assert!(
        matches!(&error, BackendError::Refused { reason, .. } if reason.contains("permission denied")),
        "{error:?}"
    );

    drop(setup.open().await);
    let grants = format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON celery_taskmeta, celery_tasksetmeta TO {role};
         GRANT USAGE ON task_id_sequence, taskset_id_sequence TO {role}"
    );
    admin.batch_execute(&grants).await.unwrap();
    let backend = open(url.as_str(), BackendOptions::default()).await;
    backend.store(&[result("a", "SUCCESS")]).await.unwrap();
    assert_eq!(state(&*backend, "a").await.as_deref(), Some("SUCCESS"));
    backend.close().await;
    admin.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn another_schema_is_chosen_by_the_search_path() {
    let setup = Setup::postgres().await;
    client(&setup.url).await.batch_execute("CREATE SCHEMA results").await.unwrap();
    let url = format!("{}?options=-csearch_path%3Dresults", setup.url);
    let backend = open(&url, BackendOptions::default()).await;
    backend.store(&[result("a", "SUCCESS")]).await.unwrap();
    assert_eq!(ask(&setup.url, "SELECT task_id FROM results.celery_taskmeta").await, "a");
    assert_eq!(ask(&setup.url, "SELECT to_regclass('public.celery_taskmeta')").await, "NULL");
}

#[tokio::test]
async fn cleanup_deletes_what_ended_before_and_nothing_else() {
    let setup = Setup::postgres().await;
    let backend = setup.open().await;
    let now: DateTime<Utc> = "2031-05-06T07:08:09Z".parse().unwrap();
    for (task, age) in [("old", 90_000), ("new", 80_000)] {
        let meta = ResultMeta::success(task, "x", now - Duration::from_secs(age)).unwrap();
        backend.store(&[stored(&meta)]).await.unwrap();
    }
    backend.store(&[result("running", "STARTED")]).await.unwrap();
    // More than one statement takes, in a session whose time zone is not that of the backend.
    client(&setup.url)
        .await
        .batch_execute(
            "INSERT INTO celery_taskmeta (id, task_id, status, date_done)
             SELECT 1000 + n, 'many ' || n, 'FAILURE', '2031-05-01' FROM generate_series(1, 2500) AS n;
             INSERT INTO celery_tasksetmeta (id, taskset_id, date_done)
             VALUES (1, 'old', '2031-05-01'), (2, 'new', '2031-05-06')",
        )
        .await
        .unwrap();
    assert!(backend.needs_cleanup());
    assert_eq!(backend.cleanup(now - Duration::from_secs(86_400)).await.unwrap(), 2502);
    let left =
        "SELECT task_id FROM celery_taskmeta UNION SELECT 'group ' || taskset_id FROM celery_tasksetmeta ORDER BY 1";
    assert_eq!(ask(&setup.url, left).await, "group new\nnew\nrunning");
    assert_eq!(backend.cleanup(now - Duration::from_secs(86_400)).await.unwrap(), 0);
    assert!(!setup.open_expiring(None).await.needs_cleanup());
}

#[tokio::test]
async fn times_are_those_of_the_session_as_with_celerys_driver() {
    let setup = Setup::postgres().await;
    let database = setup.url.rsplit('/').next().unwrap();
    let zone = format!("ALTER DATABASE {database} SET timezone = 'Asia/Tokyo'");
    client(&setup.url).await.batch_execute(&zone).await.unwrap();
    let backend = setup.open().await;
    let done = "2031-05-06T07:08:09Z".parse().unwrap();
    backend.store(&[stored(&ResultMeta::success("a", "x", done).unwrap())]).await.unwrap();
    assert_eq!(ask(&setup.url, "SELECT date_done FROM celery_taskmeta").await, "2031-05-06 16:08:09");
    let meta = ResultMeta::from_json(&backend.get("a").await.unwrap().unwrap()).unwrap();
    assert_eq!((meta.state, meta.date_done), (State::Success, Some(done)));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_and_wakes_who_waits() {
    let setup = Setup::postgres().await;
    let proxy = testkit::FaultProxy::start(&setup.url).await;
    let backend = open(&proxy.url(&setup.url), BackendOptions::default()).await;
    let mut subscription = backend.subscribe("a").await.unwrap();
    let connections = proxy.accepted();
    // Not by us: nobody is notified.
    let pickle = r"'\x80046373797374656d'";
    let insert =
        format!("INSERT INTO celery_taskmeta (id, task_id, status, result) VALUES (9, 'a', 'SUCCESS', {pickle})");
    client(&setup.url).await.batch_execute(&insert).await.unwrap();
    assert_eq!(next(&mut subscription).await, Change::Resubscribed);
    let error = backend.get("a").await.unwrap_err();
    assert!(matches!(&error, BackendError::Refused { reason, .. } if reason.contains("only Python")), "{error:?}");
    assert_eq!(proxy.accepted(), connections, "the connections are those of the beginning");
}
