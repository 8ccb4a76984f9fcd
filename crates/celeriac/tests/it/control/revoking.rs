//! Revocations in large numbers: all are remembered, or it is told how many are not.

use celeriac::control::Command;
use celeriac::{App, SendOptions, WorkerBuilder};
use serde_json::{Value, json};

use super::remote::Remote;
use crate::worker::on_every_broker;
use crate::worker::setup::{SOON, Serving, Setup};
use crate::worker::tasks::{Log, Nothing};

on_every_broker!(
    twelve_thousand_ids_that_are_revoked_in_one_command_are_all_revoked,
    of_more_ids_than_are_remembered_it_is_told_how_many_are_not_revoked,
);

async fn serve(setup: &Setup, configure: impl FnOnce(WorkerBuilder<Log>) -> WorkerBuilder<Log>) -> (Serving, Remote) {
    let serving = setup.serve(configure).await;
    let remote = Remote::of(&serving.app, &["w@test"]).await;
    (serving, remote)
}

/// Ids as long as those of tasks are.
fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("00000000-0000-4000-8000-{number:012}")).collect()
}

async fn send(app: &App, id: &str) {
    app.send_with(Nothing, SendOptions::new().task_id(id)).await.unwrap();
}

async fn twelve_thousand_ids_that_are_revoked_in_one_command_are_all_revoked(setup: Setup) {
    let (serving, remote) = serve(&setup, |worker| worker).await;
    let ids = ids(12_000);
    let reply = remote.ask(Command::revoke(&ids)).await;
    assert!(reply["ok"].as_str().is_some_and(|text| text.ends_with("flagged as revoked")), "{}", cut(&reply));
    for id in [&ids[0], &ids[9_999], &ids[10_000], &ids[11_999], "other"] {
        send(&serving.app, id).await;
    }
    serving.log.begun_count(1).await;
    serving.settled("celery").await;
    assert_eq!(serving.log.begun(), ["other"]);
    assert_eq!(serving.handle.revoked().len(), 12_000);
    serving.stop().await;
}

async fn of_more_ids_than_are_remembered_it_is_told_how_many_are_not_revoked(setup: Setup) {
    let (serving, remote) = serve(&setup, |worker| worker).await;
    let ids = ids(120_000);
    let reply = remote.ask(Command::revoke(&ids)).await;
    let told = "of 120000 tasks 50000 are flagged as revoked and 70000 are not: a worker remembers 50000 (REVOKES_MAX)";
    assert_eq!(reply, json!({ "error": told }), "{}", cut(&reply));
    send(&serving.app, &ids[49_999]).await;
    send(&serving.app, &ids[50_000]).await;
    serving.log.begun_count(1).await;
    serving.settled("celery").await;
    assert_eq!(serving.log.begun(), [ids[50_000].as_str()]);
    serving.stop().await;
}

fn cut(reply: &Value) -> String {
    reply.to_string().chars().take(200).collect()
}

#[tokio::test]
async fn a_limit_of_ones_own_counts_and_what_is_forgotten_for_new_revocations_is_told() {
    let setup = Setup::memory().await;
    let (serving, remote) = serve(&setup, |worker| worker.revokes_max(130_000)).await;
    let many = ids(120_000);
    let reply = remote.ask(Command::revoke(&many)).await;
    assert!(reply.get("ok").is_some(), "{}", cut(&reply));
    let reply = remote.ask(Command::revoke((0..20_000).map(|number| format!("new-{number}")))).await;
    let told = reply["ok"].as_str().unwrap();
    let forgotten = "; 10000 that were revoked before are forgotten: a worker remembers 130000 (REVOKES_MAX)";
    assert!(told.ends_with(forgotten), "{}", told.chars().rev().take(200).collect::<String>());
    let revoked = serving.handle.revoked();
    assert_eq!((revoked.len(), &revoked[0], &*revoked[129_999]), (130_000, &many[10_000], "new-9999"));
    serving.stop().await;
}

#[tokio::test]
async fn stamps_that_are_too_many_are_told_too() {
    let setup = Setup::memory().await;
    let (serving, remote) = serve(&setup, |worker| worker.revokes_max(3)).await;
    let reply = remote.ask(Command::revoke_by_stamp("tenant", ["a", "b", "c", "d", "e"], false)).await;
    let told = "of 5 stamps 3 are flagged as revoked and 2 are not: a worker remembers 3 (REVOKES_MAX)";
    assert_eq!(reply, json!({ "error": told }));
    serving.stop().await;
}

#[tokio::test]
async fn a_worker_that_starts_is_told_all_revocations_the_oldest_first_and_keeps_them_on_disk() {
    let (setup, directory) = (Setup::memory().await, tempfile::tempdir().unwrap());
    let file = directory.path().join("w.state");
    let (first, remote) = serve(&setup, |worker| worker).await;
    let ids = ids(300);
    remote.ask(Command::revoke(&ids[200..])).await;
    remote.ask(Command::revoke(&ids[..200])).await;
    let told: Vec<String> = ids[200..].iter().chain(&ids[..200]).cloned().collect();

    let second = setup.serve(|worker| worker.hostname("v@test").statedb(&file).mingle(true)).await;
    testkit::eventually(SOON, async || second.handle.revoked().len() == ids.len()).await;
    assert_eq!(second.handle.revoked(), told);
    second.stop().await;
    first.stop().await;

    let third = setup.serve(|worker| worker.hostname("v@test").statedb(&file).mingle(false)).await;
    assert_eq!(third.handle.revoked().len(), ids.len());
    third.stop().await;
}

#[tokio::test]
async fn a_command_too_large_to_be_carried_out_is_answered_with_an_error() {
    let setup = Setup::memory().await;
    let (serving, remote) = serve(&setup, |worker| worker).await;
    let reply = remote.ask(Command::revoke(ids(450_000))).await;
    let told = reply["error"].as_str().unwrap_or_else(|| panic!("{}", cut(&reply)));
    assert!(
        told.starts_with("revoke was not carried out: it has ") && told.ends_with("at most 16777216 are"),
        "{told}"
    );
    assert!(serving.handle.revoked().is_empty());
    serving.stop().await;
}
