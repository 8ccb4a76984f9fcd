//! The tasks of the workflows, under the names that the Python programs of these tests use too.

use celeriac::canvas::{Canvas, Signature};
use celeriac::protocol::{Json, RawJson};
use celeriac::worker::Call;
use celeriac::{App, Context, Failure, TaskError, TaskOptions, TaskResult, Worker, WorkerBuilder};

use crate::worker::setup::{Serving, Setup};
use crate::worker::tasks::Log;

/// A worker of ours that takes tasks from its default queue.
pub(crate) async fn serve(setup: &Setup) -> Serving {
    serve_queue(setup.app().await, "celery")
}

pub(crate) fn serve_queue(app: App, queue: &str) -> Serving {
    // Built-in tasks that Celery adds to a workflow go to the default queue.
    let queues = if queue == "celery" { vec![queue] } else { vec![queue, "celery"] };
    let worker = register(Worker::builder(app.clone())).queues(queues).hostname(format!("{queue}@rust")).mingle(false);
    Serving::start(app, worker.build().expect("the configuration can be"), Log::default())
}

fn register(worker: WorkerBuilder) -> WorkerBuilder {
    worker
        .task_named("proj.add", LATE, add)
        .task_named("proj.tsum", LATE, tsum)
        .task_named("proj.echo", LATE, echo)
        .task_named("proj.tell", LATE, echo)
        .task_named("proj.fail", LATE, fail)
        .task_named("proj.begin", LATE, begin)
        .task_named("proj.become", LATE, become_another)
        .task_named("proj.join", LATE, join)
        .task_named("proj.wait", LATE, wait)
}

const LATE: TaskOptions = TaskOptions { acks_late: true, ..TaskOptions::DEFAULT };

fn numbers(call: &Call) -> Result<Vec<i64>, TaskError> {
    call.args.read().map_err(|error| TaskError::fail(Failure::builtin("TypeError", error.to_string())))
}

fn answer<T: serde::Serialize>(value: &T) -> TaskResult<RawJson> {
    Ok(RawJson::of(value)?)
}

/// The sum of its arguments.
async fn add(call: Call, _: Context) -> TaskResult<RawJson> {
    answer(&numbers(&call)?.iter().sum::<i64>())
}

/// The sum of a list, however nested, plus the other arguments.
async fn tsum(call: Call, _: Context) -> TaskResult<RawJson> {
    answer(&sum(&call.args.to_tree()))
}

fn sum(json: &Json) -> i64 {
    match json {
        Json::Int(number) => i64::try_from(*number).expect("small numbers"),
        Json::List(items) => items.iter().map(sum).sum(),
        other => panic!("no number: {other:?}"),
    }
}

/// Its arguments.
async fn echo(call: Call, _: Context) -> TaskResult<RawJson> {
    Ok(call.args)
}

async fn fail(_: Call, _: Context) -> TaskResult<RawJson> {
    Err(TaskError::fail(Failure::builtin("ValueError", "boom")))
}

/// Publishes a workflow; answers the id of its result.
async fn begin(_: Call, cx: Context) -> TaskResult<RawJson> {
    answer(&cx.app().publish(task("add", [1, 1]) | task("add", [1])).await?.id().to_owned())
}

/// Puts the workflow that its keyword argument `sig` is in its place.
async fn become_another(call: Call, cx: Context) -> TaskResult<RawJson> {
    let sig = call.kwargs.to_tree().get("sig").cloned().unwrap_or(Json::Null);
    let canvas = Canvas::from_json(&sig).map_err(|error| TaskError::fail(Failure::from_error(&error)))?;
    cx.replace(canvas).await
}

/// Adds the workflow that its keyword argument `sig` is to the chord, or a task that answers one; answers its own argument.
async fn join(call: Call, cx: Context) -> TaskResult<RawJson> {
    let added = match call.kwargs.to_tree().get("sig") {
        Some(sig) => Canvas::from_json(sig).map_err(|error| TaskError::fail(Failure::from_error(&error)))?,
        None => task("add", [1]).into(),
    };
    cx.add_to_chord(added).await?;
    answer(&numbers(&call)?.iter().sum::<i64>())
}

/// Never ends by itself.
async fn wait(_: Call, _: Context) -> TaskResult<RawJson> {
    std::future::pending().await
}

/// A task that something else takes the place of.
pub(crate) fn replaced(with: impl Into<Canvas>) -> Signature {
    Signature::new("proj.become").kwarg("sig", with.into().to_json())
}

/// A task of ours, with arguments.
pub(crate) fn task(name: &str, args: impl IntoIterator<Item = i64>) -> Signature {
    args.into_iter().fold(Signature::new(format!("proj.{name}")), |task, arg| task.arg(Json::Int(arg.into())))
}

/// Names for tasks that no other test has: the servers are shared.
pub(crate) struct Ids(uuid::Uuid);

impl Ids {
    pub(crate) fn new() -> Self {
        Self(uuid::Uuid::new_v4())
    }

    pub(crate) fn of(&self, name: &str) -> String {
        format!("{name}-{}", self.0)
    }

    /// The task with an id by which the test knows it.
    pub(crate) fn name(&self, name: &str, task: Signature) -> Signature {
        task.with("task_id", Json::Str(self.of(name)))
    }
}
