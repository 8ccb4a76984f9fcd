//! Puts an application together.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::announce::Announcing;
use super::measured::Measured;
use super::queue::{QueueDefinition, QueueType, Route};
use super::router::Routers;
use super::size::MAX_MESSAGE_SIZE;
use super::traced::Traced;
use super::{App, host_name};
use crate::backend::{self, BackendError, BackendOptions, ResultBackend};
use crate::broker::{self, Broker, BrokerError, ConnectOptions};
use crate::protocol::json::TypeTags;
use crate::protocol::{Compression, TaskMessage};
use crate::trace::Propagator;

/// Settings of an [`App`]. Those that are not given are Celery's defaults.
///
/// ```no_run
/// # use celeriac::broker::ExchangeKind;
/// # use celeriac::{App, QueueDefinition, QueueType, Route};
/// # async fn example() -> Result<(), celeriac::BuildError> {
/// let app = App::builder()
///     .broker("amqp://shop:secret@rabbit-1/shop;amqp://shop:secret@rabbit-2/shop")
///     .backend("redis://:secret@cache/1")
///     .default_queue("shop")
///     .queue_type(QueueType::Quorum)
///     .queue(QueueDefinition::new("mails").exchange("out", ExchangeKind::Topic, "mail.#"))
///     .route("shop.mail.*", Route::queue("mails"))
///     .build()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use]
pub struct AppBuilder {
    broker: Source<Arc<dyn Broker>>,
    backend: Source<Arc<dyn ResultBackend>>,
    connect_options: ConnectOptions,
    backend_options: BackendOptions,
    default_queue: Option<String>,
    queue_type: QueueType,
    max_priority: Option<u8>,
    queues: HashMap<String, QueueDefinition>,
    routes: Routers,
    wrong_route: Option<String>,
    sent_events: bool,
    metrics: bool,
    propagator: Option<Arc<dyn Propagator>>,
    native_delay: Option<bool>,
    delay_queue_type: Option<QueueType>,
    max_message_size: Option<usize>,
    max_result_size: Option<usize>,
    type_tags: Option<Arc<TypeTags>>,
}

#[derive(Default)]
enum Source<T> {
    #[default]
    None,
    Url(String),
    Made(T),
}

/// Why an application could not be put together.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BuildError {
    /// The builder was not told of a broker or a result backend; names which. Mend the program.
    #[error("no {0} given")]
    Missing(&'static str),
    /// The broker could not be connected to.
    #[error("broker {0}")]
    Broker(#[from] BrokerError),
    /// The result backend could not be connected to.
    #[error("result backend {0}")]
    Backend(#[from] BackendError),
    /// A regular expression of [`AppBuilder::route_regex`] that is none.
    #[error("the pattern of a route cannot be read: {0}")]
    Route(String),
}

impl BuildError {
    /// Trying again later may help: the server could not be reached.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Broker(BrokerError::Timeout { .. }) | Self::Backend(BackendError::Unavailable { .. }))
    }
}

impl AppBuilder {
    /// `amqp://user:password@host:port/vhost` or `memory://name`.
    pub fn broker(mut self, url: impl Into<String>) -> Self {
        self.broker = Source::Url(url.into());
        self
    }

    /// A broker that is connected already, or one of another kind.
    pub fn broker_instance(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Source::Made(broker);
        self
    }

    /// `redis://:password@host:port/database`, `postgresql://user:password@host:port/database` or `memory://name`.
    pub fn backend(mut self, url: impl Into<String>) -> Self {
        self.backend = Source::Url(url.into());
        self
    }

    /// A result backend that is connected already, or one of another kind.
    pub fn backend_instance(mut self, backend: Arc<dyn ResultBackend>) -> Self {
        self.backend = Source::Made(backend);
        self
    }

    /// How long sending waits for a broker that cannot be reached, or whose queue is full and rejects what comes
    /// (`x-overflow: reject-publish`); 30 seconds by default. A worker's retry into such a queue fails its task when that
    /// time is nearly over; nothing else waits for it.
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.connect_options.publish_timeout = timeout;
        self
    }

    /// How long [`build`](Self::build) tries to reach the broker; 30 seconds by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_options.connect_timeout = timeout;
        self
    }

    /// How long one operation of the result backend may take; 5 seconds by default.
    pub fn backend_timeout(mut self, timeout: Duration) -> Self {
        self.backend_options.timeout = timeout;
        self
    }

    /// How long results are kept; one day by default, `None` is for ever.
    pub fn result_expires(mut self, expires: Option<Duration>) -> Self {
        self.backend_options.expires = expires;
        self
    }

    /// How long the results of tasks that failed are kept, where that differs; zero is for ever. In Redis and in memory.
    pub fn result_failure_expires(mut self, expires: Duration) -> Self {
        self.backend_options.failure_expires = Some(expires);
        self
    }

    /// How long what belongs to a chord is kept, where that differs from results; zero is for ever. In Redis and in memory.
    pub fn result_chord_expires(mut self, expires: Duration) -> Self {
        self.backend_options.chord_expires = Some(expires);
        self
    }

    /// Compresses results (`result_compression`), in Redis. Clients before Celery 5.7 cannot read them then; ours, and
    /// those of 5.7, can whatever they say here.
    pub fn result_compression(mut self, compression: Compression) -> Self {
        self.backend_options.compression = Some(compression);
        self
    }

    /// Whether the body of a chord gets the results in the order of its header, as by default, or in that in which its
    /// tasks ended (Celery's `result_chord_ordered`), in Redis. All programs on it must agree.
    pub fn result_chord_ordered(mut self, ordered: bool) -> Self {
        self.backend_options.chord_ordered = ordered;
        self
    }

    /// Stands in front of all keys of results and groups in Redis (Celery's `global_keyprefix`).
    pub fn result_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.backend_options.key_prefix = prefix.into();
        self
    }

    /// The name under which the sentinels of `sentinel://` watch the server, unless the address says it
    /// (`?master_name=…`): Celery's `master_name`.
    pub fn result_master_name(mut self, name: impl Into<String>) -> Self {
        self.backend_options.master_name = Some(name.into());
        self
    }

    /// The queue of tasks that say no other; `celery` by default.
    pub fn default_queue(mut self, queue: impl Into<String>) -> Self {
        self.default_queue = Some(queue.into());
        self
    }

    /// The type of all queues whose definition says no other.
    pub fn queue_type(mut self, queue_type: QueueType) -> Self {
        self.queue_type = queue_type;
        self
    }

    /// Lets all classic queues heed priorities up to this one.
    pub fn max_priority(mut self, max_priority: u8) -> Self {
        self.max_priority = Some(max_priority);
        self
    }

    /// Defines a queue that differs from the usual.
    pub fn queue(mut self, queue: QueueDefinition) -> Self {
        self.queues.insert(queue.name.clone(), queue);
        self
    }

    /// Routes the task of a name, or those whose names fit a pattern (`billing.*`): Celery's `task_routes`. A name comes
    /// before all patterns; of those, the first that fits counts.
    ///
    /// What the sender says, and the task's own `queue`, come before any route.
    pub fn route(mut self, pattern: impl Into<String>, route: Route) -> Self {
        self.routes.add(pattern.into(), route);
        self
    }

    /// [`route`](Self::route) with a regular expression, which must fit the beginning of the name, as `re.match` has it.
    pub fn route_regex(mut self, pattern: &str, route: Route) -> Self {
        if let Err(error) = self.routes.add_regex(pattern, route) {
            self.wrong_route.get_or_insert(error.to_string());
        }
        self
    }

    /// Routes by a function, which sees all of a message; `None`: whatever follows decides. Functions and routes are asked
    /// in the order in which they were added, where routes that follow each other are one.
    pub fn router(mut self, router: impl Fn(&TaskMessage) -> Option<Route> + Send + Sync + 'static) -> Self {
        self.routes.add_function(router);
        self
    }

    /// Writes values of these types so that Python gets its own: arguments of all tasks that are sent, the results of
    /// tasks and the states that their bodies store. Without it they are text, as `serde` has it, except where a field says
    /// otherwise ([`tagged`](crate::tagged)).
    ///
    /// ```
    /// # use celeriac::App;
    /// use celeriac::tagged::TypeTags;
    ///
    /// let app = App::builder().type_tags(TypeTags::known());
    /// ```
    pub fn type_tags(mut self, tags: TypeTags) -> Self {
        self.type_tags = Some(Arc::new(tags));
        self
    }

    /// Takes the messages that are sent, and the tasks that run, into traces ([`trace`](crate::trace)); none by default.
    pub fn propagator(mut self, propagator: Arc<dyn Propagator>) -> Self {
        self.propagator = Some(propagator);
        self
    }

    /// Keeps figures of what is sent, and in workers and beats of this application of what runs, with the recorder of
    /// [`metrics`](crate::metrics) that is installed when this is built. Off by default.
    pub fn metrics(mut self, metrics: bool) -> Self {
        self.metrics = metrics;
        self
    }

    /// Announces every task that is sent as `task-sent` on `celeryev` (Celery's `task_send_sent_event`).
    pub fn sent_events(mut self, sent_events: bool) -> Self {
        self.sent_events = sent_events;
        self
    }

    /// Whether the broker keeps what is to start a second or more from now, in the ladder of queues `celery_delayed_0`
    /// to `_27`, instead of the worker that gets it: it takes no worker's memory, and a worker's death does not matter.
    /// By default it does where any queue of the application is a quorum queue, as with Celery.
    pub fn native_delayed_delivery(mut self, enabled: bool) -> Self {
        self.native_delay = Some(enabled);
        self
    }

    /// The type of the queues of that ladder (`broker_native_delayed_delivery_queue_type`): all programs on one broker
    /// must agree. Quorum by default, as with Celery.
    pub fn native_delayed_delivery_queue_type(mut self, queue_type: QueueType) -> Self {
        self.delay_queue_type = Some(queue_type);
        self
    }

    /// The largest message that is sent, in bytes of its body; 16 MiB by default, which is what `RabbitMQ` 4 takes unless its
    /// own `max_message_size` says otherwise (before, 128 MiB). Sending more is [`SendError::TooLarge`](crate::SendError); a
    /// retry that is larger fails its task. Workers read what is as large, and 64 MiB at least, also when it is unpacked.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = Some(bytes);
        self
    }

    /// The largest result that is stored, in bytes of its JSON before it is compressed; as large as the largest message by
    /// default. A task whose result is larger fails, with this setting in its failure; a state of its own that is larger
    /// ([`Context::update_state`](crate::Context::update_state)) is an error of the call.
    pub fn max_result_size(mut self, bytes: usize) -> Self {
        self.max_result_size = Some(bytes);
        self
    }

    /// Connects to both servers.
    ///
    /// # Errors
    /// An address is missing or wrong, or a server cannot be reached in time ([`BuildError::is_temporary`]).
    pub async fn build(self) -> Result<App, BuildError> {
        if let Some(wrong) = self.wrong_route {
            return Err(BuildError::Route(wrong));
        }
        let broker = match self.broker {
            Source::Made(broker) => broker,
            Source::Url(url) => broker::connect(&url, self.connect_options).await?,
            Source::None => return Err(BuildError::Missing("broker")),
        };
        let backend = match self.backend {
            Source::Made(backend) => backend,
            Source::Url(url) => backend::connect(&url, &self.backend_options).await?,
            Source::None => return Err(BuildError::Missing("result backend")),
        };
        let origin = format!("gen{}@{}", std::process::id(), host_name());
        let broker = if self.sent_events { Arc::new(Announcing::new(broker, origin.clone()).await?) } else { broker };
        let broker = if self.metrics { Arc::new(Measured::new(broker)) } else { broker };
        let broker = match &self.propagator {
            Some(propagator) => Arc::new(Traced::new(broker, Arc::clone(propagator))),
            None => broker,
        };
        let any_quorum = self.queue_type == QueueType::Quorum || self.queues.values().any(QueueDefinition::is_quorum);
        let max_message_size = self.max_message_size.unwrap_or(MAX_MESSAGE_SIZE);
        let config = Config {
            delays: self.native_delay.unwrap_or(any_quorum),
            delay_queue_type: self.delay_queue_type.unwrap_or(QueueType::Quorum),
            default_queue: self.default_queue.unwrap_or_else(|| "celery".to_owned()),
            queue_type: self.queue_type,
            max_priority: self.max_priority,
            max_message_size,
            max_result_size: self.max_result_size.unwrap_or(max_message_size),
            queues: self.queues,
            routes: self.routes,
            type_tags: self.type_tags,
            sent_events: self.sent_events,
            metrics: self.metrics,
            propagator: self.propagator,
            results: self.backend_options,
        };
        Ok(App::new(broker, backend, config, origin))
    }
}

pub(super) struct Config {
    pub(super) default_queue: String,
    /// The broker keeps what is to start later.
    pub(super) delays: bool,
    pub(super) delay_queue_type: QueueType,
    /// In bytes.
    pub(super) max_message_size: usize,
    pub(super) max_result_size: usize,
    pub(super) type_tags: Option<Arc<TypeTags>>,
    pub(super) queue_type: QueueType,
    pub(super) max_priority: Option<u8>,
    queues: HashMap<String, QueueDefinition>,
    routes: Routers,
    pub(super) sent_events: bool,
    /// Figures are kept.
    pub(super) metrics: bool,
    pub(super) propagator: Option<Arc<dyn Propagator>>,
    pub(super) results: BackendOptions,
}

impl Config {
    pub(super) fn queue(&self, name: &str) -> QueueDefinition {
        let defined = self.queues.get(name).cloned().unwrap_or_else(|| QueueDefinition::new(name));
        defined.or_defaults(self.queue_type, self.max_priority)
    }

    /// The exchange and the routing key that lead to a queue.
    pub(super) fn address(&self, queue: &str) -> (String, String) {
        self.queues.get(queue).map_or_else(|| (String::new(), queue.to_owned()), QueueDefinition::address)
    }

    /// What a worker takes tasks from unless it is told: all defined queues, or the default queue if there are none.
    pub(super) fn queue_names(&self) -> Vec<String> {
        if self.queues.is_empty() {
            return vec![self.default_queue.clone()];
        }
        let mut names: Vec<_> = self.queues.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(super) fn route(&self, message: &TaskMessage) -> Option<Cow<'_, Route>> {
        self.routes.route(message)
    }
}
