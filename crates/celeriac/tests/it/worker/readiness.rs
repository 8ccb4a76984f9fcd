//! A worker says whether it works, and its watchdog ends one that does not.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use celeriac::broker::{Queue, Topology};
use celeriac::protocol::Headers;
use celeriac::worker::{Unready, WorkerHandle};
use celeriac::{App, Context, QueueDefinition, Task, TaskResult, Worker, WorkerBuilder, WorkerError};
use serde::{Deserialize, Serialize};
use testkit::{FaultProxy, eventually};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::on_every_broker;
use super::setup::{SOON, Serving, Setup};
use super::tasks::*;

/// What a broker or a runtime on a busy machine may take to be given up.
const LATER: Duration = Duration::from_secs(60);

on_every_broker!(a_worker_is_ready_from_its_first_consumer_to_the_beginning_of_its_end);

async fn a_worker_is_ready_from_its_first_consumer_to_the_beginning_of_its_end(setup: Setup) {
    let app = setup.app().await;
    let log = Log::default();
    let worker = register(Worker::builder(app.clone()), &log).build().unwrap();
    let handle = worker.handle();
    assert_eq!(handle.readiness().problems, [Unready::NotStarted]);
    let worker = Serving::start(app, worker, log);
    ready(&worker, SOON).await;
    assert_eq!(handle.readiness().queues, [("celery".to_owned(), true)]);
    worker.app.send(Wait).await.unwrap();
    worker.log.begun_count(1).await;
    worker.begin_to_stop();
    eventually(SOON, async || handle.readiness().problems == [Unready::Stopping]).await;
    worker.log.gate.add_permits(1);
    worker.ended().await;
}

/// A worker whose connections go through a proxy and have a heartbeat of a second.
async fn behind(proxy: &FaultProxy, setup: &Setup, configure: fn(WorkerBuilder<Log>) -> WorkerBuilder<Log>) -> Serving {
    let broker = format!("{}?heartbeat=1", proxy.url(&setup.broker));
    let worker = setup.serve_app(setup.builder().broker(broker), configure).await;
    ready(&worker, SOON).await;
    worker
}

async fn ready(worker: &Serving, within: Duration) {
    told(worker, within, <[Unready]>::is_empty).await;
}

async fn told(worker: &Serving, within: Duration, is_it: impl Fn(&[Unready]) -> bool) {
    eventually(within, async || {
        let readiness = worker.handle.readiness();
        if is_it(&readiness.problems) { Ok(()) } else { Err(readiness) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_connection_stays_fresh_by_its_heartbeats() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.broker).await;
    let worker = behind(&proxy, &setup, |worker| worker).await;
    eventually(SOON, async || {
        let broker = worker.handle.readiness().broker;
        assert_eq!(broker.heartbeat, Some(Duration::from_secs(1)));
        assert!(!broker.is_silent(), "{broker:?}");
        if broker.since > Duration::from_secs(4) { Ok(()) } else { Err(broker) }
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_not_ready_while_its_broker_is_silent_and_is_again_when_it_speaks() {
    let setup = Setup::quorum().await;
    let proxy = FaultProxy::start(&setup.broker).await;
    let worker = behind(&proxy, &setup, |worker| worker.watchdog(Duration::from_secs(15))).await;
    proxy.pause();
    told(&worker, SOON, |problems| matches!(problems, [Unready::Disconnected(_) | Unready::Silent { .. }, ..])).await;
    told(&worker, SOON, |problems| matches!(problems, [Unready::Disconnected(_)])).await;
    proxy.resume();
    ready(&worker, LATER).await;
    worker.app.send(Nothing).await.unwrap().get(SOON).await.unwrap();
    worker.stop().await;
}

/// Takes the worker's queue away, and puts one there that it cannot use, while its connection is interrupted.
async fn usurp_queue(proxy: &FaultProxy, setup: &Setup) -> App {
    let app = App::builder().broker(&setup.broker).backend(&setup.backend).build().await.unwrap();
    proxy.pause();
    app.broker().delete_queue("celery").await.unwrap();
    let mut arguments = Headers::default();
    arguments.insert("x-max-length", 7_i64);
    let queues = vec![Queue { name: "celery".into(), durable: true, exclusive: false, auto_delete: false, arguments }];
    app.broker().declare(&Topology { queues, ..Topology::default() }).await.unwrap();
    proxy.resume();
    app
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_a_consumer_is_not_ready_although_it_is_connected() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.broker).await;
    let worker = behind(&proxy, &setup, |worker| worker).await;
    let app = usurp_queue(&proxy, &setup).await;
    let without = [Unready::NoConsumer("celery".to_owned())];
    told(&worker, LATER, |problems| problems == without).await;
    assert_eq!(worker.handle.readiness().queues, [("celery".to_owned(), false)]);
    app.broker().delete_queue("celery").await.unwrap();
    ready(&worker, LATER).await;
    worker.app.send(Nothing).await.unwrap().get(SOON).await.unwrap();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watchdog_ends_a_worker_that_is_connected_and_does_not_consume() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.broker).await;
    let worker = behind(&proxy, &setup, |worker| worker.watchdog(Duration::from_secs(2))).await;
    worker.app.send(Wait).await.unwrap();
    worker.log.begun_count(1).await;
    usurp_queue(&proxy, &setup).await;
    eventually(LATER, async || worker.handle.readiness().problems == [Unready::Stopping]).await;
    // What runs may still end.
    worker.log.gate.add_permits(1);
    let Err(WorkerError::Stuck(why)) = worker.result().await else { panic!("it was ended") };
    assert!(why.contains("without a consumer on queue celery"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_wait_for_their_backend_are_told_and_are_no_reason_to_end() {
    let setup = Setup::memory().await;
    let redis = testkit::redis().await;
    let proxy = FaultProxy::start(redis.url()).await;
    let app = setup.builder().backend(proxy.url(redis.url())).backend_timeout(Duration::from_millis(300));
    let worker = setup.serve_app(app, |worker| worker.watchdog(Duration::from_secs(2))).await;
    proxy.refuse().await;
    proxy.cut();
    let task = worker.app.send(Nothing).await.unwrap();
    let longer =
        |problems: &[Unready]| matches!(problems, [Unready::ResultsWait(waited)] if *waited > Duration::from_secs(4));
    told(&worker, SOON, longer).await;
    proxy.accept().await;
    task.get(SOON).await.unwrap();
    ready(&worker, SOON).await;
    worker.stop().await;
}

/// Keeps bodies from their end.
#[derive(Clone, Default)]
struct Barrier(Arc<(Mutex<bool>, Condvar)>);

impl Barrier {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(closed, |open| !*open).unwrap());
    }
}

/// Blocks its thread instead of awaiting.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.block", acks_late, time_limit = "100ms")]
struct Block;

async fn block(_: Block, cx: Context<Barrier>) -> TaskResult<()> {
    cx.state().pass();
    Ok(())
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.hold", acks_late, time_limit = "100ms")]
struct Hold;

fn hold(_: Hold, cx: &Context<Barrier>) -> TaskResult<()> {
    cx.state().pass();
    Ok(())
}

fn blocking(app: &App, barrier: &Barrier) -> WorkerBuilder<Barrier> {
    let worker = Worker::builder(app.clone()).state(barrier.clone()).task(block).blocking_task(hold);
    worker.concurrency(1).blocking_threads(1).stalled_after(Duration::from_millis(300))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pool_whose_tasks_outlive_their_time_limits_does_not_move() {
    let (setup, barrier) = (Setup::memory().await, Barrier::default());
    let app = setup.app().await;
    let worker = blocking(&app, &barrier).build().unwrap();
    let worker = Serving::start(app, worker, Log::default());
    let first = worker.app.send(Block).await.unwrap();
    let second = worker.app.send(Block).await.unwrap();
    let stalled = |problems: &[Unready]| matches!(problems, [Unready::PoolStalled { waiting: 1, free: 0, .. }]);
    told(&worker, SOON, stalled).await;
    barrier.open();
    ready(&worker, SOON).await;
    for task in [first, second] {
        task.get(SOON).await.unwrap();
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_held_by_blocking_tasks_beyond_their_time_limits_are_told() {
    let (setup, barrier) = (Setup::memory().await, Barrier::default());
    let app = setup.app().await;
    let worker = blocking(&app, &barrier).build().unwrap();
    let worker = Serving::start(app, worker, Log::default());
    worker.app.send(Hold).await.unwrap();
    told(&worker, SOON, |problems| matches!(problems, [Unready::ThreadsHeld(_)])).await;
    barrier.open();
    ready(&worker, SOON).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_run_long_are_no_standstill() {
    let setup = Setup::memory().await;
    let stalled_after = Duration::from_millis(100);
    let worker = setup.serve(|worker| worker.concurrency(1).stalled_after(stalled_after)).await;
    for _ in 0..3 {
        worker.app.send(Wait).await.unwrap();
    }
    worker.log.begun_count(1).await;
    ready(&worker, SOON).await;
    let began = Instant::now();
    eventually(SOON, async || {
        assert_eq!(worker.handle.readiness().problems, []);
        began.elapsed() > Duration::from_secs(4)
    })
    .await;
    worker.log.gate.add_permits(3);
    worker.stop().await;
}

#[test]
fn a_runtime_that_does_not_answer_is_seen_from_outside_and_told_to_who_can_end_the_process() {
    let (barrier, shutdown) = (Barrier::default(), CancellationToken::new());
    let (abort, aborted) = std::sync::mpsc::channel();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (built, handle) = std::sync::mpsc::channel();
    let (body, stop) = (barrier.clone(), shutdown.clone());
    let thread = std::thread::spawn(move || {
        runtime().block_on(async {
            let setup = Setup::memory().await;
            let app = setup.app().await;
            let worker = blocking(&app, &body).watchdog(Duration::from_secs(3));
            let worker = worker.watchdog_abort(move |why| abort.send(why.to_owned()).unwrap()).build().unwrap();
            built.send(worker.handle()).unwrap();
            app.send(Block).await.unwrap();
            worker.run(stop).await
        })
    });
    let handle = handle.recv().unwrap();
    let why = aborted.recv_timeout(LATER).unwrap();
    assert!(why.contains("the runtime has not answered"), "{why}");
    assert!(!handle.readiness().is_alive());
    barrier.open();
    let ended = thread.join().unwrap();
    assert!(matches!(ended, Err(WorkerError::Stuck(_))), "{ended:?}");
}

#[tokio::test]
async fn a_worker_takes_from_the_queues_that_are_chosen_without_those_that_are_excluded() {
    let setup = Setup::memory().await;
    let plain = setup.app().await;
    let define = |app: celeriac::AppBuilder, name: &str| app.queue(QueueDefinition::new(name));
    let app = ["c", "a", "b"].into_iter().fold(setup.builder(), define).build().await.unwrap();
    let none: [&str; 0] = [];
    for (app, chosen, excluded, taken) in [
        (&plain, &none[..], &none[..], &["celery"][..]),
        (&app, &[], &[], &["a", "b", "c"]),
        (&app, &[], &["b", "unknown"], &["a", "c"]),
        (&app, &["a", "b", "new"], &["b"], &["a", "new"]),
    ] {
        let worker = Worker::builder(app.clone()).queues(chosen.to_vec()).exclude_queues(excluded.to_vec());
        let queues = worker.build().unwrap().handle().readiness().queues;
        let names: Vec<_> = queues.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, taken, "-Q {chosen:?} -X {excluded:?}");
    }
    let nothing = Worker::builder(app).queues(["a"]).exclude_queues(["a"]).build();
    assert!(matches!(nothing, Err(WorkerError::Configuration(_))));
}

#[tokio::test]
async fn tasks_whose_queue_is_not_consumed_are_said_at_the_start_and_in_readiness_without_being_a_problem() {
    let logs = testkit::Logs::of_this_thread("celeriac=warn");
    let setup = Setup::memory().await;
    let builder = setup.builder().route("t.a*", celeriac::Route::queue("adding"));
    let serving = setup.serve_app(builder, |worker| worker.queues(["celery"])).await;
    testkit::eventually(SOON, async || serving.handle.readiness().is_ready()).await;
    let unserved = |handle: &WorkerHandle| {
        let unserved = handle.readiness().unserved;
        unserved.iter().map(|unserved| format!("{} {}", unserved.task, unserved.queue)).collect::<Vec<_>>()
    };
    assert_eq!(unserved(&serving.handle), ["t.add adding", "t.autoretry adding"]);
    let warned = logs.with("does not consume the queue");
    assert!(
        warned.len() == 1 && warned[0].contains("adding") && warned[0].contains("t.add, t.autoretry"),
        "{warned:?}"
    );
    let remote = celeriac::control::Client::new(serving.app.broker().clone());
    let add = celeriac::control::Command::add_consumer("adding");
    remote.call_for(add, SOON, Some(1)).await.unwrap().next().await.unwrap();
    assert_eq!(unserved(&serving.handle), Vec::<String>::new());
    serving.stop().await;
}
