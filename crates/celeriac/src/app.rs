//! The application: what sends tasks and asks for their results.

mod announce;
mod builder;
mod chord;
mod conf;
mod delay;
mod error;
mod measured;
mod options;
mod postpone;
mod publish;
mod queue;
mod router;
mod size;
mod traced;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::Serialize;
use uuid::Uuid;

pub use self::builder::{AppBuilder, BuildError};
pub(crate) use self::chord::UNLOCK;
pub(crate) use self::delay::{arrived, was_delayed};
pub use self::error::SendError;
pub use self::options::SendOptions;
pub(crate) use self::publish::Prepared;
pub use self::publish::PublishError;
pub use self::queue::{QueueDefinition, QueueType, Route};

use self::builder::Config;
use self::postpone::Delays;
use crate::backend::ResultBackend;
use crate::broker::{Broker, BrokerError, Publication};
use crate::canvas::Signature;
use crate::protocol::{Due, JsonError, RawJson, TaskMessage};
use crate::result::AsyncResult;
use crate::task::{Task, TaskOptions};
use crate::trace::Propagator;
use crate::worker::Run;

/// A handle to a broker and a result backend. Cloning it is cheap; all clones share the connections.
///
/// ```no_run
/// # use celeriac::{App, SendOptions, Task};
/// # use serde::{Deserialize, Serialize};
/// # use std::time::Duration;
/// #[derive(Task, Serialize, Deserialize)]
/// #[task(name = "shop.greet")]
/// struct Greet {
///     name: String,
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let app = App::builder().broker("amqp://localhost").backend("redis://localhost").build().await?;
/// let result = app.send(Greet { name: "Ada".into() }).await?.typed::<String>();
/// println!("{}", result.get(Duration::from_secs(10)).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    broker: Arc<dyn Broker>,
    backend: Arc<dyn ResultBackend>,
    config: Config,
    /// `gen<pid>@<host>`
    origin: String,
    /// Names this application as a receiver of replies. Results do not need it, but every message has one.
    reply_to: String,
    /// The queues that this application has declared.
    declared: RwLock<HashSet<String>>,
    delays: Delays,
}

impl App {
    /// Begins an application: a broker is required, all else has Celery's defaults.
    pub fn builder() -> AppBuilder {
        AppBuilder::default()
    }

    fn new(broker: Arc<dyn Broker>, backend: Arc<dyn ResultBackend>, config: Config, origin: String) -> Self {
        let reply_to = Uuid::new_v4().to_string();
        let declared = RwLock::default();
        let delays = Delays::default();
        Self { inner: Arc::new(Inner { broker, backend, config, origin, reply_to, declared, delays }) }
    }

    /// Sends a task to its queue.
    ///
    /// Returns once the broker has taken responsibility for it. Sent from within a task, it becomes a child of that
    /// task.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send<T: Task>(&self, task: T) -> Result<AsyncResult, SendError> {
        self.send_with(task, SendOptions::new()).await
    }

    /// Sends a task as `options` say.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_with<T: Task>(&self, task: T, options: SendOptions) -> Result<AsyncResult, SendError> {
        self.send_ref(&task, options).await
    }

    pub(crate) async fn send_ref<T: Task>(&self, task: &T, options: SendOptions) -> Result<AsyncResult, SendError> {
        let sent = self.dispatch(self.typed(task, &options)?).await;
        match sent {
            Err(error) if self.was_deleted(&error) => self.dispatch(self.typed(task, &options)?).await,
            sent => sent,
        }
    }

    /// Sends many tasks of one kind without waiting for each in turn. The answers are in the order of the tasks.
    pub async fn send_many<T: Task>(
        &self,
        tasks: impl IntoIterator<Item = (T, SendOptions)>,
    ) -> Vec<Result<AsyncResult, SendError>> {
        let mut answers = Vec::new();
        let mut publications = Vec::new();
        for (task, options) in tasks {
            let outgoing = match self.typed(&task, &options) {
                Ok(outgoing) => self.declared(outgoing).await,
                Err(error) => Err(error),
            };
            answers.push(outgoing.map(|Outgoing { publication, id, ignored, .. }| {
                publications.push(publication);
                self.result(id).ignoring(ignored)
            }));
        }
        let confirmations = self.inner.broker.publish_batch(publications).await;
        let mut confirmations = confirmations.into_iter();
        for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
            match (confirmations.next(), &answer) {
                (Some(Err(error)), _) => {
                    let error = error.into();
                    // Whoever sends it again finds the queue declared anew.
                    self.was_deleted(&error);
                    *answer = Err(error);
                }
                (_, Ok(result)) => Run::add_child(result.id()),
                (_, Err(_)) => {}
            }
        }
        answers
    }

    /// Sends a task by its name: one that this program does not know as a type. `args` must be written as a list,
    /// `kwargs` as an object.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_named(
        &self,
        name: &str,
        args: impl Serialize,
        kwargs: impl Serialize,
        options: SendOptions,
    ) -> Result<AsyncResult, SendError> {
        let encode = |reason| SendError::Encode { task: name.to_owned(), reason };
        let args = self.json(&args).and_then(|args| shaped(args, b'[', "args must be a list")).map_err(encode)?;
        let kwargs =
            self.json(&kwargs).and_then(|kwargs| shaped(kwargs, b'{', "kwargs must be an object")).map_err(encode)?;
        self.send_json(name, args, kwargs, None, options).await
    }

    /// A value as this application writes it: with [type tags](AppBuilder::type_tags), if it was told of any.
    ///
    /// # Errors
    /// The value cannot be written as JSON, or not as its tag needs it.
    pub fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<RawJson, JsonError> {
        match &self.inner.config.type_tags {
            None => RawJson::of(value),
            Some(tags) => RawJson::tagged(value, tags),
        }
    }

    /// [`Signature::of`], the arguments as this application writes them: with [type tags](AppBuilder::type_tags), if it was
    /// told of any.
    ///
    /// # Errors
    /// As of [`json`](Self::json).
    pub fn signature<T: Task>(&self, task: &T) -> Result<Signature, JsonError> {
        Ok(Signature::with_arguments::<T>(&self.json(task)?))
    }

    /// Sends a task whose arguments are written already; `argsrepr` is shown for them if it is given.
    pub(crate) async fn send_json(
        &self,
        name: &str,
        args: RawJson,
        kwargs: RawJson,
        argsrepr: Option<String>,
        options: SendOptions,
    ) -> Result<AsyncResult, SendError> {
        let outgoing = || {
            let mut message = TaskMessage::new(name, id_of(&options), args.clone(), kwargs.clone());
            message.argsrepr.clone_from(&argsrepr);
            complete(&mut message, &options);
            self.outgoing(message, &options, None)
        };
        match self.dispatch(outgoing()?).await {
            Err(error) if self.was_deleted(&error) => self.dispatch(outgoing()?).await,
            sent => sent,
        }
    }

    /// The result of a task, by the task's id.
    #[must_use]
    pub fn result<R: 'static>(&self, task_id: impl Into<String>) -> AsyncResult<R> {
        AsyncResult::new(task_id.into(), self.clone())
    }

    /// What carries the messages: for queues of your own, and for [`control::Client`](crate::control::Client).
    #[must_use]
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.inner.broker
    }

    /// What keeps the results.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn ResultBackend> {
        &self.inner.backend
    }

    /// The queue of tasks that say no other: `celery` by default.
    #[must_use]
    pub fn default_queue(&self) -> &str {
        &self.inner.config.default_queue
    }

    /// Declares a queue with its exchange and binding, as senders and workers do before they use it.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if it exists with other arguments.
    pub async fn declare_queue(&self, name: &str) -> Result<(), BrokerError> {
        if self.inner.declared.read().contains(name) {
            return Ok(());
        }
        self.inner.broker.declare(&self.queue(name).topology()).await?;
        self.inner.declared.write().insert(name.to_owned());
        Ok(())
    }

    /// Closes the connections. Sending fails from then on.
    pub async fn close(&self) {
        self.inner.broker.close().await;
        self.inner.backend.close().await;
    }

    /// What keeps traces, if something does.
    #[must_use]
    pub fn propagator(&self) -> Option<&Arc<dyn Propagator>> {
        self.inner.config.propagator.as_ref()
    }

    /// Whether figures are kept of what its workers do.
    pub(crate) fn keeps_metrics(&self) -> bool {
        self.inner.config.metrics
    }

    pub(crate) fn queue_names(&self) -> Vec<String> {
        self.inner.config.queue_names()
    }

    pub(crate) fn queue(&self, name: &str) -> QueueDefinition {
        self.inner.config.queue(name)
    }

    /// Publishes a task; its queue is declared before the first.
    async fn dispatch(&self, outgoing: Outgoing) -> Result<AsyncResult, SendError> {
        let Outgoing { publication, id, ignored, .. } = self.declared(outgoing).await?;
        self.inner.broker.publish(publication).await?;
        Run::add_child(&id);
        Ok(self.result(id).ignoring(ignored))
    }

    /// Declares what it needs on its way.
    async fn declared(&self, mut outgoing: Outgoing) -> Result<Outgoing, SendError> {
        if let Some(queue) = &outgoing.undeclared {
            self.declare_queue(queue).await?;
        }
        if let Some(late) = outgoing.late.take() {
            Box::pin(self.postpone(&late.queue, &mut outgoing.publication, Some(late.due))).await;
        }
        Ok(outgoing)
    }

    /// Whether sending again may help: no queue takes the task because one that was declared here is gone. It is
    /// declared again then.
    fn was_deleted(&self, error: &SendError) -> bool {
        let SendError::Unroutable { exchange, routing_key: queue } = error else { return false };
        let is_ours = exchange.is_empty() && self.inner.declared.write().remove(queue);
        if is_ours {
            tracing::warn!(queue, "somebody has deleted the queue; declaring it again");
        }
        is_ours
    }

    /// Makes a task ready to be published. No part of this waits for anything, so that the futures of sending hold
    /// little more than what is published.
    fn typed<T: Task>(&self, task: &T, options: &SendOptions) -> Result<Outgoing, SendError> {
        let written = self.json(task).map_err(|reason| SendError::Encode { task: T::NAME.to_owned(), reason })?;
        let mut message = typed_message::<T>(written, options)?;
        complete(&mut message, options);
        message.redact(T::FIELDS, T::REDACTED);
        self.outgoing(message, options, T::OPTIONS.queue)
    }

    fn outgoing(
        &self,
        mut message: TaskMessage,
        options: &SendOptions,
        task_queue: Option<&str>,
    ) -> Result<Outgoing, SendError> {
        let Destination { exchange, routing_key, queue, undeclared } =
            self.destination(&message, options.route(), task_queue);
        let queue = queue.filter(|_| options.is_late()).map(Cow::into_owned);
        let late = queue.zip(message.due()).map(|(queue, due)| Box::new(Late { queue, due }));
        message.origin = Some(self.inner.origin.clone());
        message.properties.reply_to = Some(self.inner.reply_to.clone());
        let (id, ignored) = (message.id.clone(), message.ignore_result == Some(true));
        let publication = Publication { exchange, routing_key, mandatory: true, message: self.message(message)? };
        Ok(Outgoing { publication, id, ignored, undeclared, late })
    }

    /// Where a task goes: what the sender says, else the task's own queue, else its route, else the default queue
    /// (`celery/app/routes.py`).
    fn destination<'a>(
        &'a self,
        message: &TaskMessage,
        said: &'a Route,
        task_queue: Option<&'a str>,
    ) -> Destination<'a> {
        let config = &self.inner.config;
        let is_said = said.queue.is_some() || said.exchange.is_some() || task_queue.is_some();
        let route = if is_said { None } else { config.route(message) };
        let route = route.unwrap_or(Cow::Borrowed(said));
        let said_key = route.routing_key.clone();
        if let Some(exchange) = &route.exchange {
            let (exchange, routing_key) = (exchange.clone(), said_key.unwrap_or_default());
            return Destination { exchange, routing_key, queue: None, undeclared: None };
        }
        let queue = match route {
            Cow::Borrowed(route) => route.queue.as_deref().or(task_queue).map(Cow::Borrowed),
            Cow::Owned(route) => route.queue.map(Cow::Owned),
        };
        let queue = queue.unwrap_or(Cow::Borrowed(config.default_queue.as_str()));
        let undeclared = (!self.inner.declared.read().contains(&*queue)).then(|| queue.clone().into_owned());
        let (exchange, mut routing_key) = config.address(&queue);
        // Through the default exchange the key is the name of the queue.
        if let Some(said) = said_key.filter(|_| !exchange.is_empty()) {
            routing_key = said;
        }
        Destination { exchange, routing_key, queue: Some(queue), undeclared }
    }
}

/// A task that is ready to be published.
struct Outgoing {
    publication: Publication,
    id: String,
    /// Nothing will be stored of how it ends.
    ignored: bool,
    /// To be declared first.
    undeclared: Option<String>,
    /// The broker may keep it.
    late: Option<Box<Late>>,
}

/// What is to start later.
struct Late {
    queue: String,
    due: Due,
}

/// Where a task goes.
struct Destination<'a> {
    exchange: String,
    routing_key: String,
    /// The queue there, if it is known.
    queue: Option<Cow<'a, str>>,
    /// The queue there, if it has not been declared yet.
    undeclared: Option<String>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("broker", &self.inner.broker.address())
            .field("backend", &self.inner.backend.address())
            .finish_non_exhaustive()
    }
}

/// Adds to a message what its sender says, and what is known where it is sent.
fn complete(message: &mut TaskMessage, options: &SendOptions) {
    Run::adopt(message);
    options.apply(message, crate::clock::now());
    Run::redact(message);
}

fn id_of(options: &SendOptions) -> String {
    options.chosen_id().map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

fn typed_message<T: Task>(written: RawJson, options: &SendOptions) -> Result<TaskMessage, SendError> {
    let encode = |reason| SendError::Encode { task: T::NAME.to_owned(), reason };
    let mut message = TaskMessage::written::<T>(written, id_of(options)).map_err(encode)?;
    let TaskOptions { time_limit, soft_time_limit, expires, .. } = T::OPTIONS;
    message.time_limit = time_limit;
    message.soft_time_limit = soft_time_limit;
    if let Some(expires) = expires {
        SendOptions::new().expires(expires).apply(&mut message, crate::clock::now());
    }
    Ok(message)
}

fn shaped(json: RawJson, first: u8, expected: &str) -> Result<RawJson, JsonError> {
    match json.as_bytes().first() {
        Some(byte) if *byte == first => Ok(json),
        _ => Err(JsonError::Type(expected.to_owned())),
    }
}

/// The name of this machine.
pub(crate) fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}
