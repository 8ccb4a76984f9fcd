//! A broker that gives each task which is sent by it a span, and its message the place of that span in the trace.

use std::sync::Arc;

use async_trait::async_trait;
use tracing::{Instrument as _, Span};

use crate::broker::{
    Binding, Broker, BrokerError, BrokerHealth, ConsumeOptions, Publication, QueueDepth, Subscription, Topology,
};
use crate::parking::is_noted;
use crate::protocol::{Headers, Value};
use crate::trace::{Propagator, TraceContext};

/// It stands where all that is sent passes, so that the steps of workflows and the ticks of beats are traced too.
pub(super) struct Traced {
    broker: Arc<dyn Broker>,
    propagator: Arc<dyn Propagator>,
}

impl Traced {
    pub(super) fn new(broker: Arc<dyn Broker>, propagator: Arc<dyn Propagator>) -> Self {
        Self { broker, propagator }
    }

    /// Begins the span of what is about to be sent; none if that is no task of its own: a reply, what is parked, or a retry,
    /// which goes on with the run that it repeats.
    fn begin(&self, publication: &mut Publication) -> Span {
        let headers = &publication.message.headers;
        let text = |name| headers.get(name).and_then(Value::as_str);
        let Some(task) = text("task").filter(|_| !is_retry(headers) && !is_noted(headers)) else { return Span::none() };
        let queue = if publication.exchange.is_empty() { &publication.routing_key } else { &publication.exchange };
        let span = tracing::trace_span!(target: "celeriac::trace", "send", task, task_id = text("id"), queue);
        if let Some(said) = TraceContext::of(headers)
            && self.is_elsewhere(&said)
        {
            self.propagator.continue_from(&span, &said);
        }
        if let Some(context) = self.propagator.context(&span) {
            context.write(&mut publication.message.headers);
        }
        span
    }

    /// The message says of itself that it belongs to something else than what is being done here.
    fn is_elsewhere(&self, said: &TraceContext) -> bool {
        self.propagator.context(&Span::current()).is_none_or(|here| here.trace_id() != said.trace_id())
    }
}

fn is_retry(headers: &Headers) -> bool {
    headers.get("retries").and_then(Value::as_i64).is_some_and(|retries| retries > 0)
}

#[async_trait]
impl Broker for Traced {
    async fn publish(&self, mut publication: Publication) -> Result<(), BrokerError> {
        let span = self.begin(&mut publication);
        self.broker.publish(publication).instrument(span).await
    }

    async fn publish_batch(&self, mut publications: Vec<Publication>) -> Vec<Result<(), BrokerError>> {
        let _spans: Vec<_> = publications.iter_mut().map(|publication| self.begin(publication)).collect();
        self.broker.publish_batch(publications).await
    }

    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.broker.declare(topology).await
    }

    async fn publish_unconfirmed(&self, publication: Publication) -> Result<(), BrokerError> {
        self.broker.publish_unconfirmed(publication).await
    }

    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription, BrokerError> {
        self.broker.consume(options).await
    }

    async fn unbind(&self, binding: &Binding) -> Result<(), BrokerError> {
        self.broker.unbind(binding).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64, BrokerError> {
        self.broker.delete_queue(queue).await
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        self.broker.purge(queue).await
    }

    async fn queue_depth(&self, queue: &str) -> Result<Option<QueueDepth>, BrokerError> {
        self.broker.queue_depth(queue).await
    }

    fn address(&self) -> &str {
        self.broker.address()
    }

    fn health(&self) -> BrokerHealth {
        self.broker.health()
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}
