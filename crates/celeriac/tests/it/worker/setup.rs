//! Tasks of every kind, and an application with a worker on each kind of broker.

use std::any::Any;
use std::time::Duration;

use celeriac::broker::{Binding, BindingDestination, ConsumeOptions, Exchange, ExchangeKind, Queue, Topology};
use celeriac::protocol::{Headers, ResultMeta};
use celeriac::worker::WorkerHandle;
use celeriac::{App, AppBuilder, QueueType, Worker, WorkerBuilder, WorkerError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::tasks::Log;

/// Nothing here takes longer unless it is broken.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A place with a broker and a result backend: everything in it is the test's own.
pub(crate) struct Setup {
    pub(crate) broker: String,
    pub(crate) backend: String,
    pub(crate) queue_type: QueueType,
    /// The environment of Python programs.
    pub(crate) python: Vec<(&'static str, String)>,
    /// Their Celery is the last before 5.6.
    pub(crate) is_celery_5_5: bool,
    /// They go with this value.
    _servers: Vec<Box<dyn Any + Send + Sync>>,
    /// What is in memory lives as long as somebody is connected.
    _memory: Option<App>,
}

impl Setup {
    pub(crate) async fn memory() -> Self {
        // The names must not be shared with another test of this process.
        let name = format!("memory://{}", uuid::Uuid::new_v4());
        let app = App::builder().broker(&name).backend(&name).build().await.expect("memory is there");
        Self {
            broker: name.clone(),
            backend: name,
            queue_type: QueueType::Classic,
            python: Vec::new(),
            is_celery_5_5: false,
            _servers: Vec::new(),
            _memory: Some(app),
        }
    }

    pub(crate) async fn classic() -> Self {
        let (vhost, redis) = (testkit::rabbitmq().await, testkit::redis().await);
        Self {
            broker: vhost.amqp_url(),
            backend: redis.url().to_owned(),
            queue_type: QueueType::Classic,
            python: Vec::new(),
            is_celery_5_5: false,
            _servers: vec![Box::new(vhost), Box::new(redis)],
            _memory: None,
        }
    }

    pub(crate) async fn with_celery_5_5() -> Self {
        Self { is_celery_5_5: true, ..Self::classic().await }
    }

    pub(crate) async fn quorum() -> Self {
        Self { queue_type: QueueType::Quorum, ..Self::classic().await }
    }

    /// Results in PostgreSQL.
    #[cfg(feature = "postgres")]
    pub(crate) async fn postgres() -> Self {
        let (vhost, database) = (testkit::rabbitmq().await, testkit::postgres().await);
        Self {
            broker: vhost.amqp_url(),
            backend: database.url().to_owned(),
            queue_type: QueueType::Classic,
            python: Vec::new(),
            is_celery_5_5: false,
            _servers: vec![Box::new(vhost), Box::new(database)],
            _memory: None,
        }
    }

    pub(crate) fn builder(&self) -> AppBuilder {
        App::builder().broker(&self.broker).backend(&self.backend).queue_type(self.queue_type)
    }

    pub(crate) async fn app(&self) -> App {
        self.builder().build().await.expect("both servers are there")
    }

    /// An application whose worker knows the tasks of [`tasks`](super::tasks), with a configuration of the test's own.
    pub(crate) async fn serve(&self, configure: impl FnOnce(WorkerBuilder<Log>) -> WorkerBuilder<Log>) -> Serving {
        self.serve_app(self.builder(), configure).await
    }

    pub(crate) async fn serve_app(
        &self,
        app: AppBuilder,
        configure: impl FnOnce(WorkerBuilder<Log>) -> WorkerBuilder<Log>,
    ) -> Serving {
        let app = app.build().await.expect("both servers are there");
        let log = Log::default();
        let builder = super::tasks::register(Worker::builder(app.clone()).hostname("w@test").mingle(false), &log);
        Serving::start(app, configure(builder).build().expect("the configuration can be"), log)
    }
}

/// A worker that runs.
pub(crate) struct Serving {
    pub(crate) app: App,
    pub(crate) log: Log,
    pub(crate) handle: WorkerHandle,
    shutdown: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl Serving {
    pub(crate) fn start(app: App, worker: Worker, log: Log) -> Self {
        let shutdown = CancellationToken::new();
        let handle = worker.handle();
        let worker = tokio::spawn(worker.run(shutdown.clone()));
        Self { app, log, handle, shutdown, worker }
    }

    /// Begins a warm shutdown.
    pub(crate) fn begin_to_stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits for the end of the worker.
    pub(crate) async fn ended(self) {
        self.result().await.expect("the worker has no error");
    }

    /// Waits for the end of a worker that may end with an error.
    pub(crate) async fn result(self) -> Result<(), WorkerError> {
        let ended = tokio::time::timeout(SOON, self.worker).await.expect("the worker ends in time");
        ended.expect("the worker does not panic")
    }

    pub(crate) async fn stop(self) {
        self.begin_to_stop();
        self.ended().await;
    }

    /// The metadata of a task, once it satisfies a condition.
    pub(crate) async fn meta_when(&self, id: &str, is_it: impl Fn(&ResultMeta) -> bool) -> ResultMeta {
        let mut watch = self.app.result::<()>(id).watch().await.expect("the backend is there");
        let found = async {
            loop {
                let meta = watch.changed().await.expect("the backend is there");
                if is_it(&meta) {
                    return meta;
                }
            }
        };
        tokio::time::timeout(SOON, found).await.expect("in time")
    }

    /// Waits until every message of a queue is settled: none waits there, and nothing is left to acknowledge.
    pub(crate) async fn settled(&self, queue: &str) {
        testkit::eventually(SOON, async || {
            let depth = self.app.broker().queue_depth(queue).await.unwrap();
            depth.map(|depth| depth.messages) == Some(0) && self.handle.unacknowledged() == 0
        })
        .await;
    }
}

/// Makes a queue that gets what is published to a topic exchange.
pub(crate) async fn listen(app: &App, exchange: &str, routing_key: &str, queue: &str) {
    let topology = Topology {
        exchanges: vec![Exchange {
            name: exchange.to_owned(),
            kind: ExchangeKind::Topic,
            durable: true,
            auto_delete: false,
        }],
        queues: vec![Queue {
            name: queue.to_owned(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: Headers::default(),
        }],
        bindings: vec![Binding {
            exchange: exchange.to_owned(),
            destination: BindingDestination::Queue(queue.to_owned()),
            routing_key: routing_key.to_owned(),
        }],
    };
    app.broker().declare(&topology).await.expect("nothing is declared otherwise");
}

/// Everything that waits in a queue, taken off it.
pub(crate) async fn drain(app: &App, queue: &str, count: usize) -> Vec<celeriac::broker::Delivery> {
    let options = ConsumeOptions { queue: queue.to_owned(), ..ConsumeOptions::default() };
    let mut subscription = app.broker().consume(options).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = tokio::time::timeout(SOON, subscription.deliveries.recv()).await;
        let delivery = next.unwrap_or_else(|_| panic!("{} of {count} messages", taken.len())).unwrap();
        subscription.control.ack(delivery.tag, false).await.unwrap();
        taken.push(delivery);
    }
    subscription.control.close().await;
    taken
}
