//! Tasks that block.

use std::sync::Arc;
use std::time::Duration;

use celeriac::protocol::State;
use celeriac::{Context, GetError, Task, TaskResult, Worker, WorkerBuilder};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

use super::on_every_broker;
use super::setup::{SOON, Serving, Setup};
use super::tasks::{Add, Log};

on_every_broker!(
    tasks_that_block_do_not_hold_up_those_that_await,
    a_blocking_task_has_results_children_and_panics_like_any_other,
    a_blocking_task_sees_its_soft_limit_and_fails_at_its_hard_one,
);

/// Bodies wait here, blocking.
#[derive(Clone, Default)]
struct Gate {
    open: Arc<(Mutex<bool>, Condvar)>,
    threads: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    fn pass(&self) {
        self.threads.lock().push(std::thread::current().name().unwrap_or_default().to_owned());
        let (open, changed) = &*self.open;
        let mut is_open = open.lock();
        while !*is_open {
            changed.wait(&mut is_open);
        }
    }

    fn open(&self) {
        *self.open.0.lock() = true;
        self.open.1.notify_all();
    }
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "b.block", acks_late)]
struct Block;

fn block(_: Block, cx: &Context<Gate>) -> TaskResult<&'static str> {
    cx.state().pass();
    Ok("passed")
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "b.send")]
struct Send;

fn send(_: Send, cx: &Context<Gate>) -> TaskResult<String> {
    let sent = tokio::runtime::Handle::current().block_on(cx.app().send(Add { x: 1, y: 2 }))?;
    assert_eq!(cx.children().len(), 1);
    Ok(sent.id().to_owned())
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "b.panic")]
struct Panic;

fn panics(_: Panic, _: &Context<Gate>) -> TaskResult<()> {
    panic!("out of cheese")
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "b.limited", acks_late, soft_time_limit = "50ms", time_limit = "10s")]
struct Limited;

fn limited(_: Limited, cx: &Context<Gate>) -> TaskResult<()> {
    while !cx.is_cancelled() {
        std::thread::yield_now();
    }
    Err(cx.interrupted())
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "b.endless", acks_late, time_limit = "50ms")]
struct Endless;

fn endless(_: Endless, cx: &Context<Gate>) -> TaskResult<()> {
    cx.state().pass();
    Ok(())
}

async fn add(task: Add, _: Context<Gate>) -> TaskResult<i64> {
    Ok(task.x + task.y)
}

async fn serve(setup: &Setup, configure: impl FnOnce(WorkerBuilder<Gate>) -> WorkerBuilder<Gate>) -> (Serving, Gate) {
    let (app, gate) = (setup.app().await, Gate::default());
    let worker = Worker::builder(app.clone()).hostname("w@test").mingle(false).gossip(false).state(gate.clone());
    let worker = worker.blocking_task(block).blocking_task(send).blocking_task(panics);
    let worker = worker.blocking_task(limited).blocking_task(endless).task(add);
    (Serving::start(app, configure(worker).build().unwrap(), Log::default()), gate)
}

async fn tasks_that_block_do_not_hold_up_those_that_await(setup: Setup) {
    let (worker, gate) = serve(&setup, |worker| worker.concurrency(1).prefetch_multiplier(2).blocking_threads(2)).await;
    let mut blocked = Vec::new();
    for _ in 0..10 {
        blocked.push(worker.app.send(Block).await.unwrap().typed::<String>());
    }
    testkit::eventually(SOON, async || gate.threads.lock().len() == 2).await;
    for x in 0..10 {
        let sum = worker.app.send(Add { x, y: 1 }).await.unwrap().typed::<i64>();
        assert_eq!(sum.get(SOON).await.unwrap(), x + 1);
    }
    assert_eq!(gate.threads.lock().len(), 2, "as many as there are threads");
    gate.open();
    for result in blocked {
        assert_eq!(result.get(SOON).await.unwrap(), "passed");
    }
    let threads = gate.threads.lock().clone();
    assert!(threads.iter().all(|name| name.starts_with("celeriac-blocking-")), "{threads:?}");
    worker.stop().await;
}

async fn a_blocking_task_has_results_children_and_panics_like_any_other(setup: Setup) {
    let (worker, _) = serve(&setup, |worker| worker.blocking_threads(1)).await;
    let panicked = worker.app.send(Panic).await.unwrap().get(SOON).await.unwrap_err();
    let GetError::Failed(failure) = panicked else { panic!("{panicked}") };
    assert_eq!(failure.repr(), "Panic('out of cheese')");

    let parent = worker.app.send(Send).await.unwrap().typed::<String>();
    let child = parent.get(SOON).await.unwrap();
    let meta = worker.meta_when(&child, |meta| meta.state == State::Success).await;
    assert_eq!(meta.parent_id.as_deref(), Some(parent.id()));
    worker.stop().await;
}

async fn a_blocking_task_sees_its_soft_limit_and_fails_at_its_hard_one(setup: Setup) {
    let (worker, gate) = serve(&setup, |worker| worker.blocking_threads(2)).await;
    for (sent, expected) in [
        (worker.app.send(Limited).await.unwrap(), "SoftTimeLimitExceeded"),
        (worker.app.send(Endless).await.unwrap(), "TimeLimitExceeded"),
    ] {
        let error = sent.get(SOON).await.unwrap_err();
        let GetError::Failed(failure) = error else { panic!("{error}") };
        assert_eq!(failure.exc_type, expected);
    }
    gate.open();
    worker.settled("celery").await;
    let sum = worker.app.send(Add { x: 1, y: 1 }).await.unwrap().typed::<i64>();
    assert_eq!(sum.get(Duration::from_secs(10)).await.unwrap(), 2);
    worker.stop().await;
}
