//! What a worker remembers across restarts.

use celeriac::control::Command;
use celeriac::{SendOptions, Worker, WorkerError};

use super::remote::Remote;
use crate::worker::setup::{SOON, Setup};
use crate::worker::tasks::Nothing;

#[tokio::test]
async fn what_was_revoked_is_on_disk_at_once_and_stays_revoked_after_a_restart() {
    let (setup, directory) = (Setup::memory().await, tempfile::tempdir().unwrap());
    let file = directory.path().join("w.state");
    let first = setup.serve(|worker| worker.statedb(&file)).await;
    let remote = Remote::of(&first.app, &["w@test"]).await;
    remote.ask(Command::revoke(["revoked"])).await;
    // A worker that is killed now has written it down.
    testkit::eventually(SOON, async || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("revoked\":1")))
        .await;
    let before = remote.ask(Command::clock()).await;
    first.stop().await;

    let second = setup.serve(|worker| worker.statedb(&file)).await;
    assert_eq!(second.handle.revoked(), ["revoked"]);
    Remote::of(&second.app, &["w@test"]).await;
    let after = remote.ask(Command::clock()).await;
    assert!(after["clock"].as_u64() > before["clock"].as_u64(), "the clock went back: {before} {after}");
    for id in ["revoked", "other"] {
        second.app.send_with(Nothing, SendOptions::new().task_id(id)).await.unwrap();
    }
    second.log.begun_count(1).await;
    second.settled("celery").await;
    assert_eq!(second.log.begun(), ["other"]);
    second.stop().await;
}

#[tokio::test]
async fn a_statedb_that_is_none_is_refused_by_name_and_left_alone() {
    let (setup, directory) = (Setup::memory().await, tempfile::tempdir().unwrap());
    for wrong in [
        "",
        "{}",
        "not json",
        r#"{"version": 2, "clock": 1, "revoked": {}}"#,
        r#"{"version":1,"clock":-1,"revoked":{}}"#,
    ] {
        let file = directory.path().join("w.state");
        std::fs::write(&file, wrong).unwrap();
        let refused = Worker::builder(setup.app().await).statedb(&file).build().err();
        let Some(WorkerError::Configuration(told)) = refused else { panic!("{wrong:?} is taken") };
        assert!(told.contains("statedb") && told.contains("w.state"), "{told}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), wrong);
    }
    let nowhere = directory.path().join("missing/w.state");
    assert!(Worker::builder(setup.app().await).statedb(nowhere).build().is_err());
}
