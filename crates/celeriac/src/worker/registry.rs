//! The tasks that a worker knows.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::rate::TokenBucket;
use super::run::{Limits, Run};
use super::threads::Threads;
use crate::canvas::KnownTask;
use crate::context::Context;
use crate::protocol::{JsonError, RawJson};
use crate::task::{Body, Failure, RateLimit, Task, TaskError, TaskOptions, TaskResult};

/// The tasks of a worker by their names.
#[derive(Default)]
pub(crate) struct Registry {
    tasks: HashMap<String, Arc<Registered>>,
    /// Those of the worker itself: they are not shown, and a task of the same name takes their place.
    builtins: HashMap<String, Arc<Registered>>,
    /// Names that were registered more than once.
    doubled: BTreeSet<String>,
}

/// What a body's run answers: its value as JSON.
pub(crate) type BodyFuture = Pin<Box<dyn Future<Output = Result<RawJson, TaskError>> + Send>>;

/// The arguments of a task without a type, as they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// A list.
    pub args: RawJson,
    /// An object.
    pub kwargs: RawJson,
}

/// One task: its contract, its body, and what remote control may change.
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) options: TaskOptions,
    /// The names of its arguments in their order.
    pub(crate) fields: &'static [&'static str],
    /// Those of them whose values operators must not see.
    pub(crate) redacted: &'static [&'static str],
    /// Its body runs on a thread for blocking bodies.
    pub(crate) is_blocking: bool,
    body: Box<dyn Fn(Arc<Run>) -> BodyFuture + Send + Sync>,
    limits: Mutex<Limits>,
    /// Limits as remote control was told them, by attribute: operators see what they have written.
    told: Mutex<HashMap<&'static str, Option<String>>>,
    is_rate_limited: AtomicBool,
    bucket: Mutex<Option<TokenBucket>>,
    rate_limit: watch::Sender<Option<RateLimit>>,
    begun: AtomicU64,
}

impl Registry {
    pub(crate) fn insert(&mut self, task: Registered) {
        let name = task.name.clone();
        if self.tasks.insert(name.clone(), Arc::new(task)).is_some() {
            self.doubled.insert(name);
        }
    }

    /// Names with more than one body: nobody knows which was meant.
    pub(crate) fn doubled(&self) -> impl Iterator<Item = &str> {
        self.doubled.iter().map(String::as_str)
    }

    pub(crate) fn insert_builtins(&mut self, builtins: Vec<Registered>) {
        self.builtins = builtins.into_iter().map(|task| (task.name.clone(), Arc::new(task))).collect();
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Registered>> {
        self.tasks.get(name).or_else(|| self.builtins.get(name))
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.tasks.values()
    }
}

impl Registered {
    /// A typed task: arguments are read before the body begins, its value is written after.
    pub(crate) fn typed<S, B, M>(body: B, state: Arc<S>) -> Self
    where
        S: Send + Sync + 'static,
        B: Body<S, M> + Send + Sync + 'static,
        B::Task: Task,
        B::Future: Send + 'static,
        B::Value: Serialize,
    {
        let body = Arc::new(body);
        let erased = move |run: Arc<Run>| -> BodyFuture {
            let (body, state) = (Arc::clone(&body), Arc::clone(&state));
            Box::pin(async move {
                let arguments = run.request.arguments::<B::Task>().map_err(|error| TaskError::Fail(error.into()))?;
                let app = run.app().clone();
                let value = body.begin(arguments, Context::new(run, state)).await?;
                app.json(&value).map_err(|error| TaskError::Fail(encode_error(&error)))
            })
        };
        let (fields, redacted) = (B::Task::FIELDS, B::Task::REDACTED);
        Self { fields, redacted, ..Self::new(B::Task::NAME, B::Task::OPTIONS, Box::new(erased)) }
    }

    /// A typed task whose body blocks.
    pub(crate) fn blocking<T, S, F, R>(body: F, state: Arc<S>, threads: Arc<Threads>) -> Self
    where
        T: Task,
        S: Send + Sync + 'static,
        F: Fn(T, &Context<S>) -> TaskResult<R> + Send + Sync + 'static,
        R: Serialize,
    {
        let body = Arc::new(body);
        let erased = move |run: Arc<Run>| -> BodyFuture {
            let (body, state, threads) = (Arc::clone(&body), Arc::clone(&state), Arc::clone(&threads));
            Box::pin(async move {
                let arguments = run.request.arguments::<T>().map_err(|error| TaskError::Fail(error.into()))?;
                let function = move || {
                    let app = run.app().clone();
                    let value = Run::scope_blocking(Arc::clone(&run), || body(arguments, &Context::new(run, state)))?;
                    app.json(&value).map_err(|error| TaskError::Fail(encode_error(&error)))
                };
                threads.run(function).await
            })
        };
        let registered = Self::new(T::NAME, T::OPTIONS, Box::new(erased));
        Self { fields: T::FIELDS, redacted: T::REDACTED, is_blocking: true, ..registered }
    }

    /// A task without a type: its arguments and its value are JSON.
    pub(crate) fn untyped<S, F, Fut>(name: &str, options: TaskOptions, body: F, state: Arc<S>) -> Self
    where
        S: Send + Sync + 'static,
        F: Fn(Call, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = TaskResult<RawJson>> + Send + 'static,
    {
        let erased = move |run: Arc<Run>| -> BodyFuture {
            let call = Call { args: run.request.args.clone(), kwargs: run.request.kwargs.clone() };
            Box::pin(body(call, Context::new(run, Arc::clone(&state))))
        };
        Self::new(name, options, Box::new(erased))
    }

    pub(super) fn new(
        name: &str,
        options: TaskOptions,
        body: Box<dyn Fn(Arc<Run>) -> BodyFuture + Send + Sync>,
    ) -> Self {
        let registered = Self {
            name: name.to_owned(),
            options,
            fields: &[],
            redacted: &[],
            is_blocking: false,
            body,
            limits: Mutex::new(Limits { soft: options.soft_time_limit, hard: options.time_limit }),
            told: Mutex::default(),
            is_rate_limited: AtomicBool::new(false),
            bucket: Mutex::new(None),
            rate_limit: watch::Sender::new(None),
            begun: AtomicU64::new(0),
        };
        registered.set_rate_limit(options.rate_limit);
        registered
    }

    /// What is to be known of it to send it.
    pub(crate) fn known(&self) -> KnownTask {
        KnownTask { options: self.options, fields: self.fields, redacted: self.redacted }
    }

    pub(crate) fn run(&self, run: Arc<Run>) -> BodyFuture {
        self.begun.fetch_add(1, Ordering::Relaxed);
        (self.body)(run)
    }

    /// How many have begun since the worker started.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        *self.limits.lock() = limits;
        self.told.lock().retain(|attribute, _| *attribute == "rate_limit");
    }

    /// Remembers how a limit that was just set was written; `None` for null.
    pub(crate) fn tell(&self, attribute: &'static str, written: Option<String>) {
        self.told.lock().insert(attribute, written);
    }

    /// How remote control has written a limit, if it has set it.
    pub(crate) fn told(&self, attribute: &str) -> Option<Option<String>> {
        self.told.lock().get(attribute).cloned()
    }

    pub(crate) fn set_rate_limit(&self, limit: Option<RateLimit>) {
        let mut bucket = self.bucket.lock();
        *bucket = limit.map(TokenBucket::new);
        self.is_rate_limited.store(bucket.is_some(), Ordering::Relaxed);
        // Those that wait for the former limit look again.
        self.rate_limit.send_replace(limit);
        self.told.lock().remove("rate_limit");
    }

    pub(crate) fn rate_limit(&self) -> Option<RateLimit> {
        *self.rate_limit.borrow()
    }

    /// Tells of changes of the rate limit from now on.
    pub(crate) fn rate_changes(&self) -> watch::Receiver<Option<RateLimit>> {
        self.rate_limit.subscribe()
    }

    pub(crate) fn is_rate_limited(&self) -> bool {
        self.is_rate_limited.load(Ordering::Relaxed)
    }

    /// Takes a token under the rate limit, or returns how long it is until there may be one.
    pub(crate) fn take_token(&self, now: Instant) -> Result<(), Duration> {
        self.bucket.lock().as_mut().map_or(Ok(()), |bucket| bucket.take(now))
    }

    /// Gives a token back whose task has not begun.
    pub(crate) fn give_token_back(&self, now: Instant) {
        if let Some(bucket) = self.bucket.lock().as_mut() {
            bucket.give_back(now);
        }
    }
}

/// A value that cannot be written as JSON, as Celery stores it.
fn encode_error(error: &JsonError) -> Failure {
    Failure::new("EncodeError", [error.to_string()]).with_module("kombu.exceptions")
}
