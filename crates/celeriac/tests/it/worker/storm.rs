//! RabbitMQ fails in the middle of 10,000 tasks: each is executed at least once, each acknowledged once.

use std::collections::HashSet;
use std::time::Duration;

use celeriac::{App, QueueType, SendOptions};
use testkit::{OwnServer, eventually};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use super::disruption::{LATER, done, every_message_is_acknowledged};
use super::setup::{Serving, Setup};
use super::tasks::*;

const TASKS: usize = 10_000;
const SENDERS: usize = 8;
/// How many are sent together.
const BATCH: usize = 125;
/// How many may begin a second time: what was delivered, and not acknowledged, when a connection was lost.
const TWICE: usize = 1_500;
/// What the broker says of an acknowledgement that comes a second time.
const TWICE_ACKNOWLEDGED: &str = "unknown delivery tag";
/// A delivery that never was.
const MADE_UP: &str = "1000000000";

/// Half of the tasks are sent, and half of those done; the other half waits for the word.
struct Storm {
    setup: Setup,
    worker: Serving,
    senders: JoinSet<Vec<String>>,
    go_on: watch::Sender<bool>,
    trickle: JoinHandle<()>,
}

impl Storm {
    async fn begin(server: &OwnServer, queue_type: QueueType) -> Self {
        let mut setup = Setup::memory().await;
        setup.broker = server.url().to_owned();
        setup.queue_type = queue_type;
        let app = setup.builder().publish_timeout(LATER).default_queue(format!("{queue_type:?}"));
        let worker = setup.serve_app(app, |worker| worker).await;
        worker.log.gate.add_permits(TASKS / 4);
        let go_on = watch::Sender::new(false);
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            senders.spawn(send(worker.app.clone(), go_on.subscribe()));
        }
        worker.log.begun_count(TASKS / 4).await;
        // From the word on tasks end a few at a time, so that some do whatever happens.
        let (gate, mut word) = (worker.log.gate.clone(), go_on.subscribe());
        let trickle = tokio::spawn(async move {
            word.wait_for(|go_on| *go_on).await.unwrap();
            let mut often = interval(Duration::from_millis(5));
            loop {
                often.tick().await;
                gate.add_permits(2);
            }
        });
        Self { setup, worker, senders, go_on, trickle }
    }

    /// The other half is sent now, and tasks go on to end.
    fn go_on(&self) {
        self.go_on.send_replace(true);
    }

    /// Nothing else happens: every task must have been done by the end of it.
    async fn over(self, server: &OwnServer) {
        self.trickle.abort();
        self.worker.log.gate.add_permits(TASKS + TWICE);
        let ids: HashSet<String> = self.senders.join_all().await.into_iter().flatten().collect();
        assert_eq!(ids.len(), TASKS);
        done(&self.worker, &ids, LATER).await;
        let begun = self.worker.log.begun().len();
        assert!((TASKS..TASKS + TWICE).contains(&begun), "{begun} have begun");
        every_message_is_acknowledged(&self.setup, self.worker).await;
        let log = server.log();
        let twice = log.lines().find(|line| line.contains(TWICE_ACKNOWLEDGED) && !line.contains(MADE_UP));
        assert_eq!(twice, None);
    }
}

/// Sends half of its tasks, waits for the word, and sends the other half.
async fn send(app: App, mut go_on: watch::Receiver<bool>) -> Vec<String> {
    let mut ids = Vec::with_capacity(TASKS / SENDERS);
    for batch in 0..TASKS / SENDERS / BATCH {
        if batch == TASKS / SENDERS / BATCH / 2 {
            go_on.wait_for(|go_on| *go_on).await.unwrap();
        }
        let tasks = (0..BATCH).map(|_| (Wait, SendOptions::new()));
        let sent = app.send_many(tasks).await;
        ids.extend(sent.into_iter().map(|sent| sent.expect("it is confirmed in time").id().to_owned()));
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_rabbitmq_loses_none_of_10000_tasks_on_classic_queues() {
    restart(QueueType::Classic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_rabbitmq_loses_none_of_10000_tasks_on_quorum_queues() {
    restart(QueueType::Quorum).await;
}

async fn restart(queue_type: QueueType) {
    let mut server = testkit::own_rabbitmq().await;
    let storm = Storm::begin(&server, queue_type).await;
    storm.go_on();
    server.restart().await;
    storm.over(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_and_connections_that_the_broker_closes_lose_none_of_10000_tasks() {
    let server = testkit::own_rabbitmq().await;
    // As if each client had acknowledged what it was never given.
    let break_channels =
        format!("[rabbit_channel:do(C, {{'basic.ack', {MADE_UP}, false}}) || C <- rabbit_channel:list()].");
    for queue_type in [QueueType::Classic, QueueType::Quorum] {
        let storm = Storm::begin(&server, queue_type).await;
        storm.go_on();
        let before = broken_channels(&server);
        server.rabbitmqctl(&["eval", &break_channels]).await;
        eventually(LATER, async || broken_channels(&server) > before).await;
        server.rabbitmqctl(&["close_all_connections", "maintenance"]).await;
        storm.over(&server).await;
    }
}

fn broken_channels(server: &OwnServer) -> usize {
    server.log().lines().filter(|line| line.contains(MADE_UP)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_delays_and_loses_none_of_10000_tasks() {
    let server = testkit::own_rabbitmq().await;
    for queue_type in [QueueType::Classic, QueueType::Quorum] {
        let storm = Storm::begin(&server, queue_type).await;
        server.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
        storm.go_on();
        eventually(LATER, async || storm.worker.app.broker().health().blocked).await;
        let begun = storm.worker.log.begun().len();
        // What is there already goes on.
        eventually(LATER, async || storm.worker.log.begun().len() > begun).await;
        server.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "2GB"]).await;
        storm.over(&server).await;
    }
}
