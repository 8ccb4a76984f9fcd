//! Tasks that do one thing each.

use std::collections::HashMap;
use std::sync::Arc;

use celeriac::{Context, Failure, Task, TaskError, TaskResult, WorkerBuilder};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

/// What the bodies have done, and what holds them.
#[derive(Clone)]
pub(crate) struct Log {
    begun: Arc<Mutex<Vec<String>>>,
    changed: Arc<Notify>,
    /// [`Wait`] takes a permit before it ends.
    pub(crate) gate: Arc<Semaphore>,
    /// How many children each [`Parent`] remembers.
    pub(crate) remembered: Arc<Mutex<Vec<usize>>>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            begun: Arc::default(),
            changed: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            remembered: Arc::default(),
        }
    }
}

impl Log {
    fn begin<S>(&self, cx: &Context<S>) {
        self.begun.lock().push(cx.request().id.clone());
        self.changed.notify_waiters();
    }

    /// The ids of tasks in the order in which they began.
    pub(crate) fn begun(&self) -> Vec<String> {
        self.begun.lock().clone()
    }

    /// Waits until so many tasks have begun.
    pub(crate) async fn begun_count(&self, count: usize) {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                if self.begun.lock().len() >= count {
                    return;
                }
                changed.await;
            }
        };
        let in_time = tokio::time::timeout(super::setup::SOON, reached).await;
        in_time.unwrap_or_else(|_| panic!("{} of {count} tasks have begun", self.begun.lock().len()));
    }
}

type Cx = Context<Log>;

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.add", acks_late)]
pub(crate) struct Add {
    pub(crate) x: i64,
    pub(crate) y: i64,
}

async fn add(task: Add, cx: Cx) -> TaskResult<i64> {
    cx.state().begin(&cx);
    Ok(task.x + task.y)
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.nothing")]
pub(crate) struct Nothing;

async fn nothing(_: Nothing, cx: Cx) -> TaskResult<()> {
    cx.state().begin(&cx);
    Ok(())
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.echo")]
pub(crate) struct Echo {
    pub(crate) value: Value,
}

async fn echo(task: Echo, cx: Cx) -> TaskResult<Value> {
    cx.state().begin(&cx);
    Ok(task.value)
}

/// A failure that counts as not done.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.fail_unacknowledged", acks_late, acks_on_failure_or_timeout = false)]
pub(crate) struct FailUnacknowledged;

async fn fail_unacknowledged(_: FailUnacknowledged, cx: Cx) -> TaskResult<()> {
    cx.state().begin(&cx);
    Err(TaskError::fail(Failure::new("PaymentDeclined", [json!("insufficient funds"), json!(402)])))
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.panic")]
pub(crate) struct Panic;

async fn panics(_: Panic, cx: Cx) -> TaskResult<()> {
    cx.state().begin(&cx);
    panic!("out of cheese")
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.unwritable")]
pub(crate) struct Unwritable;

async fn unwritable(_: Unwritable, _: Cx) -> TaskResult<HashMap<(u8, u8), u8>> {
    Ok(HashMap::from([((1, 2), 3)]))
}

/// Fails with an error that it did not foresee.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.unexpected")]
pub(crate) struct Unexpected;

async fn unexpected(_: Unexpected, _: Cx) -> TaskResult<u8> {
    Ok("not a number".parse::<u8>()?)
}

/// Is retried by its policy, whatever it did not foresee.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.autoretry", autoretry, max_retries = 1, retry_backoff = "20ms")]
pub(crate) struct Autoretry;

async fn autoretry(_: Autoretry, cx: Cx) -> TaskResult<u8> {
    cx.state().begin(&cx);
    Ok("not a number".parse::<u8>()?)
}

/// Rejects its message; with `requeue`, once.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.reject", acks_late)]
pub(crate) struct Reject {
    pub(crate) requeue: bool,
}

async fn reject(task: Reject, cx: Cx) -> TaskResult<&'static str> {
    cx.state().begin(&cx);
    if cx.redelivered() {
        return Ok("came again");
    }
    Err(TaskError::reject(task.requeue, "no thanks"))
}

/// Waits for the gate.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.wait", acks_late)]
pub(crate) struct Wait;

async fn wait(_: Wait, cx: Cx) -> TaskResult<&'static str> {
    cx.state().begin(&cx);
    cx.state().gate.acquire().await?.forget();
    Ok("waited")
}

/// [`Wait`], acknowledged when it begins.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.wait_early")]
pub(crate) struct WaitEarly;

async fn wait_early(_: WaitEarly, cx: Cx) -> TaskResult<&'static str> {
    wait(Wait, cx).await
}

/// Waits until it is told to end, then takes its time.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.listen")]
pub(crate) struct Listen {
    pub(crate) then: String,
}

async fn listen(task: Listen, cx: Cx) -> TaskResult<&'static str> {
    cx.state().begin(&cx);
    cx.cancelled().await;
    assert!(cx.is_cancelled());
    match task.then.as_str() {
        "finish" => Ok("cleaned up"),
        "give up" => Err(cx.interrupted()),
        _ => std::future::pending().await,
    }
}

/// Sends another task.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.parent")]
pub(crate) struct Parent;

async fn parent(_: Parent, cx: Cx) -> TaskResult<String> {
    let child = cx.app().send(Add { x: 1, y: 2 }).await.map_err(|error| Failure::new("Send", [error.to_string()]));
    cx.state().remembered.lock().push(cx.children().len());
    Ok(child.map_err(TaskError::fail)?.id().to_owned())
}

/// Answers what it knows about its own run.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.request", time_limit = "90s")]
pub(crate) struct AskRequest;

async fn ask_request(_: AskRequest, cx: Cx) -> TaskResult<Value> {
    let request = cx.request();
    Ok(json!({
        "id": request.id,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "group": request.group,
        "retries": request.retries,
        "hostname": &*request.hostname,
        "routing_key": request.delivery_info.routing_key,
        "redelivered": cx.redelivered(),
        "priority": request.delivery_info.priority,
        "tenant": request.headers.get("tenant").and_then(celeriac::protocol::Value::as_str),
        "has_deadline": cx.deadline().is_some(),
    }))
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.limited", rate_limit = "10/s")]
pub(crate) struct Limited;

async fn limited(_: Limited, cx: Cx) -> TaskResult<()> {
    cx.state().begin(&cx);
    Ok(())
}

pub(crate) fn register(worker: WorkerBuilder, log: &Log) -> WorkerBuilder<Log> {
    worker
        .state(log.clone())
        .task(add)
        .task(nothing)
        .task(echo)
        .task(fail_unacknowledged)
        .task(panics)
        .task(unwritable)
        .task(unexpected)
        .task(autoretry)
        .task(reject)
        .task(wait)
        .task(wait_early)
        .task(listen)
        .task(parent)
        .task(ask_request)
        .task(limited)
}
