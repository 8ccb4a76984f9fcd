//! What the body of a task is.

use super::TaskResult;
use crate::context::Context;

/// The body of a task: every `async fn(task: T, cx: Context<S>) -> TaskResult<R>`, and every closure that is like one.
///
/// `S` is the state of the worker. `M` tells the compiler which function it is; nobody has to name it.
#[diagnostic::on_unimplemented(
    message = "this is not the body of a task, for a worker whose state is `{S}`",
    label = "not an `async fn(T, Context<{S}>) -> TaskResult<R>`",
    note = "a worker gets another state by `Worker::builder(app).state(…)`, before its tasks",
    note = "a body that blocks its thread, and is no `async fn`, is registered with `blocking_task`"
)]
pub trait Body<S, M> {
    /// The arguments.
    type Task;
    /// What the body answers.
    type Value;
    /// The running body.
    type Future: Future<Output = TaskResult<Self::Value>>;

    /// Begins the body.
    fn begin(&self, task: Self::Task, cx: Context<S>) -> Self::Future;
}

impl<S, T, F, Fut, R> Body<S, (T, Fut, R)> for F
where
    F: Fn(T, Context<S>) -> Fut,
    Fut: Future<Output = TaskResult<R>>,
{
    type Task = T;
    type Value = R;
    type Future = Fut;

    fn begin(&self, task: T, cx: Context<S>) -> Fut {
        self(task, cx)
    }
}

/// Nothing is this. With one implementation alone the compiler would explain why that does not fit, in the terms of `Fn`,
/// instead of what a body is.
trait Nothing {}

impl<S, N: Nothing> Body<S, ()> for N {
    type Task = ();
    type Value = ();
    type Future = std::future::Pending<TaskResult<()>>;

    fn begin(&self, (): (), _: Context<S>) -> Self::Future {
        std::future::pending()
    }
}
