//! Several workers of ours.

use celeriac::SendOptions;
use celeriac::control::Command;

use super::remote::{Remote, SILENCE};
use crate::worker::on_every_broker;
use crate::worker::setup::{SOON, Setup};
use crate::worker::tasks::Nothing;

async fn a_worker_that_starts_learns_what_is_revoked_before_it_takes_a_task(setup: Setup) {
    let first = setup.serve(|worker| worker.hostname("first@test").queues(["elsewhere"])).await;
    let remote = Remote::of(&first.app, &["first@test"]).await;
    remote.ask(Command::revoke(["revoked"])).await;
    first.app.send_with(Nothing, SendOptions::new().task_id("revoked")).await.unwrap();
    first.app.send_with(Nothing, SendOptions::new().task_id("other")).await.unwrap();

    let second = setup.serve(|worker| worker.hostname("second@test").mingle(true)).await;
    second.log.begun_count(1).await;
    second.settled("celery").await;
    assert_eq!(second.log.begun(), ["other"]);
    Remote::of(&second.app, &["second@test"]).await;
    let clocks = remote.all(Command::clock(), SILENCE).await;
    assert_eq!(clocks.len(), 2);
    second.stop().await;
    first.stop().await;
}

on_every_broker!(a_worker_that_starts_learns_what_is_revoked_before_it_takes_a_task,);

/// The queue of a node is exclusive on RabbitMQ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_workers_of_one_name_the_second_works_and_obeys_when_the_first_is_gone() {
    let setup = Setup::classic().await;
    let first = setup.serve(|worker| worker).await;
    let remote = Remote::of(&first.app, &["w@test"]).await;
    let second = setup.serve(|worker| worker.queues(["mine"])).await;
    second.app.send_with(Nothing, SendOptions::new().queue("mine")).await.unwrap();
    second.log.begun_count(1).await;
    let queues = async || remote.all(Command::active_queues(), SILENCE).await;
    let answers = queues().await;
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].1[0]["name"], "celery");
    first.stop().await;
    let obeys = async || queues().await.first().is_some_and(|(_, queues)| queues[0]["name"] == "mine");
    testkit::eventually(SOON, obeys).await;
    second.stop().await;
}
