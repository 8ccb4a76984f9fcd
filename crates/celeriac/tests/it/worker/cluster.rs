//! Limits of the whole cluster, kept by two workers in two connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use celeriac::{App, Context, SendOptions, Task, TaskResult, Worker, WorkerBuilder};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use testkit::FaultProxy;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::on_every_broker;
use super::setup::{SOON, Serving, Setup};
use super::tasks::{Add, Log};

on_every_broker!(
    tasks_of_one_key_never_run_at_once_in_two_workers_and_so_many_do_where_so_many_may,
    tasks_of_one_key_begin_in_the_order_of_their_messages,
    a_task_that_waits_for_its_key_takes_neither_slot_nor_prefetch_and_can_be_revoked,
    a_worker_that_stops_gives_back_what_waits_for_its_key_and_frees_its_own,
    a_rate_holds_over_two_workers,
);

/// What the bodies in all workers of a test have done.
#[derive(Clone, Default)]
struct Ledger {
    running: Arc<Mutex<HashMap<u64, usize>>>,
    most: Arc<Mutex<HashMap<u64, usize>>>,
    begun: Arc<Mutex<Vec<Entry>>>,
    gate: Log,
}

#[derive(Clone, Debug)]
struct Entry {
    account_id: u64,
    n: u64,
    hostname: String,
    at: Instant,
    fence: Option<u64>,
}

impl Ledger {
    fn begin(&self, cx: &Context<Self>, account_id: u64, n: u64) {
        let now_running = {
            let mut running = self.running.lock();
            let count = running.entry(account_id).or_default();
            *count += 1;
            *count
        };
        let mut most = self.most.lock();
        let most = most.entry(account_id).or_default();
        *most = now_running.max(*most);
        let hostname = cx.request().hostname.to_string();
        self.begun.lock().push(Entry { account_id, n, hostname, at: Instant::now(), fence: cx.fence() });
    }

    fn end(&self, account_id: u64) {
        *self.running.lock().entry(account_id).or_default() -= 1;
    }

    fn begun(&self) -> Vec<Entry> {
        self.begun.lock().clone()
    }

    async fn begun_count(&self, count: usize) {
        testkit::eventually(SOON, async || self.begun.lock().len() >= count).await;
    }
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "c.charge", acks_late, concurrency_key = "account_id")]
struct Charge {
    account_id: u64,
    n: u64,
}

async fn charge(task: Charge, cx: Context<Ledger>) -> TaskResult<()> {
    cx.state().begin(&cx, task.account_id, task.n);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    cx.state().end(task.account_id);
    Ok(())
}

/// Shares its keys with [`Charge`] and holds one until it is let go.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "c.hold", acks_late, concurrency_key = "account_id", concurrency_scope = "c.charge")]
struct Hold {
    account_id: u64,
}

async fn hold(task: Hold, cx: Context<Ledger>) -> TaskResult<()> {
    cx.state().begin(&cx, task.account_id, 0);
    cx.state().gate.gate.acquire().await?.forget();
    cx.state().end(task.account_id);
    Ok(())
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "c.three", acks_late, concurrency_key = "account_id", concurrency_limit = 3)]
struct Three {
    account_id: u64,
}

async fn three(task: Three, cx: Context<Ledger>) -> TaskResult<()> {
    charge(Charge { account_id: task.account_id, n: 0 }, cx).await
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "c.rated", cluster_rate = "20/s")]
struct Rated;

async fn rated(_: Rated, cx: Context<Ledger>) -> TaskResult<()> {
    cx.state().begin(&cx, 0, 0);
    cx.state().end(0);
    Ok(())
}

async fn add(task: Add, _: Context<Ledger>) -> TaskResult<i64> {
    Ok(task.x + task.y)
}

fn register(app: App, name: &str, ledger: &Ledger) -> WorkerBuilder<Ledger> {
    let worker = Worker::builder(app).hostname(name).mingle(false).gossip(false).state(ledger.clone());
    worker.task(charge).task(hold).task(three).task(rated).task(add)
}

async fn serve(setup: &Setup, name: &str, ledger: &Ledger, concurrency: usize) -> Serving {
    let app = setup.app().await;
    let worker = register(app.clone(), name, ledger).concurrency(concurrency).prefetch_multiplier(1);
    Serving::start(app, worker.build().unwrap(), Log::default())
}

/// Both take tasks from now on.
async fn serve_two(setup: &Setup, ledger: &Ledger) -> (Serving, Serving) {
    let (a, b) = (serve(setup, "a@test", ledger, 8).await, serve(setup, "b@test", ledger, 8).await);
    testkit::eventually(SOON, async || {
        let depth = a.app.broker().queue_depth("celery").await.unwrap();
        depth.map(|depth| depth.consumers) == Some(2)
    })
    .await;
    (a, b)
}

async fn tasks_of_one_key_never_run_at_once_in_two_workers_and_so_many_do_where_so_many_may(setup: Setup) {
    let ledger = Ledger::default();
    let (a, b) = serve_two(&setup, &ledger).await;
    for n in 0..200 {
        a.app.send(Charge { account_id: n % 4, n }).await.unwrap();
        if n % 2 == 0 {
            a.app.send(Three { account_id: 100 }).await.unwrap();
        }
    }
    ledger.begun_count(300).await;
    a.settled("celery").await;
    b.settled("celery").await;
    let most = ledger.most.lock().clone();
    for account_id in 0..4 {
        assert_eq!(most[&account_id], 1);
    }
    assert!((1..=3).contains(&most[&100]), "{most:?}");
    let begun = ledger.begun();
    for name in ["a@test", "b@test"] {
        assert!(begun.iter().any(|entry| entry.hostname == name), "{name} has taken its part");
    }
    let fences: Vec<_> = begun.iter().filter(|entry| entry.account_id == 0).map(|entry| entry.fence).collect();
    assert!(fences.is_sorted() && fences.iter().all(Option::is_some), "{fences:?}");
    a.stop().await;
    b.stop().await;
}

async fn tasks_of_one_key_begin_in_the_order_of_their_messages(setup: Setup) {
    let ledger = Ledger::default();
    let worker = serve(&setup, "a@test", &ledger, 16).await;
    for n in 0..100 {
        worker.app.send(Charge { account_id: n % 2, n }).await.unwrap();
    }
    ledger.begun_count(100).await;
    for account_id in 0..2 {
        let order: Vec<_> =
            ledger.begun().iter().filter(|entry| entry.account_id == account_id).map(|entry| entry.n).collect();
        assert!(order.is_sorted(), "{order:?}");
    }
    worker.stop().await;
}

async fn a_task_that_waits_for_its_key_takes_neither_slot_nor_prefetch_and_can_be_revoked(setup: Setup) {
    let ledger = Ledger::default();
    let worker = serve(&setup, "a@test", &ledger, 2).await;
    worker.app.send(Hold { account_id: 1 }).await.unwrap();
    ledger.begun_count(1).await;
    for n in 0..10 {
        let id = SendOptions::new().task_id(format!("waits-{n}"));
        worker.app.send_with(Charge { account_id: 1, n }, id).await.unwrap();
    }
    // Two slots, one of them taken: ten that wait, and yet the others go through the second.
    for x in 0..10 {
        let sum = worker.app.send(Add { x, y: 1 }).await.unwrap().typed::<i64>();
        assert_eq!(sum.get(SOON).await.unwrap(), x + 1);
    }
    assert_eq!(worker.handle.active().len(), 1);
    testkit::eventually(SOON, async || worker.handle.unacknowledged() == 11).await;

    worker.handle.revoke("waits-5", false);
    ledger.gate.gate.add_permits(1);
    worker.settled("celery").await;
    let order: Vec<_> = ledger.begun().iter().skip(1).map(|entry| entry.n).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 6, 7, 8, 9]);
    worker.stop().await;
}

async fn a_worker_that_stops_gives_back_what_waits_for_its_key_and_frees_its_own(setup: Setup) {
    let ledger = Ledger::default();
    let first = serve(&setup, "a@test", &ledger, 2).await;
    first.app.send(Hold { account_id: 1 }).await.unwrap();
    ledger.begun_count(1).await;
    for n in 1..4 {
        first.app.send(Charge { account_id: 1, n }).await.unwrap();
    }
    testkit::eventually(SOON, async || first.handle.unacknowledged() == 4).await;
    let second = serve(&setup, "b@test", &ledger, 2).await;
    first.begin_to_stop();
    // They wait for the same key there.
    testkit::eventually(SOON, async || second.handle.unacknowledged() == 3).await;
    ledger.gate.gate.add_permits(1);
    first.ended().await;
    ledger.begun_count(4).await;
    assert_eq!(ledger.most.lock()[&1], 1);
    assert!(ledger.begun().iter().skip(1).all(|entry| entry.hostname == "b@test"));
    second.settled("celery").await;
    second.stop().await;
}

async fn a_rate_holds_over_two_workers(setup: Setup) {
    let ledger = Ledger::default();
    let (a, b) = serve_two(&setup, &ledger).await;
    for _ in 0..16 {
        a.app.send(Rated).await.unwrap();
    }
    ledger.begun_count(16).await;
    let begun = ledger.begun();
    let took = begun[15].at - begun[0].at;
    // Fifteen intervals of 50 ms; the first may have begun late.
    assert!(took > Duration::from_millis(700), "{took:?}");
    assert!(begun.iter().any(|entry| entry.hostname == "a@test"));
    assert!(begun.iter().any(|entry| entry.hostname == "b@test"));
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_worker_that_died_is_free_after_its_lease_and_not_before() {
    const LEASE: Duration = Duration::from_secs(2);
    let setup = Setup::classic().await;
    let ledger = Ledger::default();
    let app = setup.app().await;
    app.send(Hold { account_id: 1 }).await.unwrap();

    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (builder, theirs) = (setup.builder(), ledger.clone());
    doomed.spawn(async move {
        let app = builder.build().await.unwrap();
        let worker = register(app, "doomed@test", &theirs).lease(LEASE).build().unwrap();
        worker.run(CancellationToken::new()).await
    });
    ledger.begun_count(1).await;
    // Longer than the lease: it is renewed.
    let survivor = register(app.clone(), "survivor@test", &ledger).lease(LEASE).build().unwrap();
    let survivor = Serving::start(app.clone(), survivor, Log::default());
    app.send(Charge { account_id: 1, n: 1 }).await.unwrap();
    let died = tokio::task::spawn_blocking(move || {
        std::thread::sleep(LEASE + LEASE / 2);
        doomed.shutdown_background();
        Instant::now()
    });
    let died = died.await.unwrap();
    assert_eq!(ledger.begun().len(), 1, "the lease of the living was renewed");

    ledger.gate.gate.add_permits(1);
    ledger.begun_count(3).await;
    let begun = ledger.begun();
    assert!(begun[1].at - died > LEASE / 3, "{begun:?}");
    assert!(begun[1].fence > begun[0].fence);
    survivor.settled("celery").await;
    survivor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_result_backend_is_away_nothing_that_is_limited_begins() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.backend).await;
    let ledger = Ledger::default();
    let app = setup.builder().backend(proxy.url(&setup.backend)).backend_timeout(Duration::from_millis(300));
    let app = app.build().await.unwrap();
    let worker = register(app.clone(), "a@test", &ledger).build().unwrap();
    let worker = Serving::start(app.clone(), worker, Log::default());
    proxy.refuse().await;
    proxy.cut();
    app.send(Charge { account_id: 1, n: 1 }).await.unwrap();
    app.send(Rated).await.unwrap();
    testkit::eventually(SOON, async || worker.handle.unacknowledged() == 2).await;
    assert!(ledger.begun().is_empty());
    proxy.accept().await;
    ledger.begun_count(2).await;
    worker.settled("celery").await;
    worker.stop().await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_backend_that_cannot_limit_is_refused_when_the_worker_is_built() {
    let database = testkit::postgres().await;
    let broker = format!("memory://{}", uuid::Uuid::new_v4());
    let app = App::builder().broker(broker).backend(database.url()).build().await.unwrap();
    let Err(error) = register(app, "a@test", &Ledger::default()).build() else { panic!("it cannot be") };
    assert!(error.to_string().contains("is limited in the whole cluster"), "{error}");
}

/// With 1,000 it was a whole queue that stood still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_tasks_that_wait_for_one_key_keep_no_other_task_waiting() {
    const WAITING: u64 = 3_000;
    let setup = Setup::classic().await;
    let ledger = Ledger::default();
    let serving = serve(&setup, "w@test", &ledger, 8).await;
    let app = &serving.app;
    app.send(Hold { account_id: 1 }).await.unwrap();
    ledger.begun_count(1).await;
    let waiting = (0..WAITING).map(|n| (Charge { account_id: 1, n }, SendOptions::new()));
    for sent in app.send_many(waiting).await {
        sent.unwrap();
    }
    app.send(Charge { account_id: 2, n: 0 }).await.unwrap();
    testkit::eventually(Duration::from_secs(60), async || ledger.begun().iter().any(|entry| entry.account_id == 2))
        .await;
    ledger.gate.gate.add_permits(1);
    serving.stop().await;
}

/// A start that is taken, and whose task is lost with its connection, is given back to the cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_of_the_cluster_that_is_not_used_is_given_back() {
    let setup = Setup::classic().await;
    let ledger = Ledger::default();
    let app = setup.app().await;
    let worker = register(app.clone(), "w@test", &ledger).concurrency(1);
    let serving = Serving::start(app, worker.build().unwrap(), Log::default());
    let app = &serving.app;
    // The only slot is taken: whoever has its start waits for that.
    app.send(Hold { account_id: 1 }).await.unwrap();
    ledger.begun_count(1).await;
    app.send_with(Rated, SendOptions::new().task_id("rated")).await.unwrap();
    testkit::eventually(SOON, async || serving.handle.reserved().len() == 1).await;
    serving.handle.revoke("rated", false);
    ledger.gate.gate.add_permits(1);
    serving.settled("celery").await;
    let limits = app.backend().limits().unwrap();
    let long = Duration::from_secs(3600);
    // It left no place behind; of two that are taken and given back none is left either.
    assert_eq!(limits.reserve("c.rated", long).await.unwrap(), Duration::ZERO);
    assert!(limits.reserve("c.rated", long).await.unwrap() > Duration::from_secs(3000));
    for _ in 0..2 {
        limits.give_back("c.rated", long).await.unwrap();
    }
    assert!(limits.reserve("c.rated", long).await.unwrap() < Duration::from_secs(1));
    serving.stop().await;
}
