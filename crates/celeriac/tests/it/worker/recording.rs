//! A broker and a result backend that remember what passes through them.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac::backend::{BackendError, ResultBackend, ResultSubscription, StoredResult};
use celeriac::broker::{
    Binding, Broker, BrokerError, BrokerHealth, ConsumeOptions, Publication, QueueDepth, Subscription, Topology,
};
use parking_lot::Mutex;

/// Passes everything on and remembers what was published.
pub(crate) struct RecordingBroker {
    pub(crate) inner: Arc<dyn Broker>,
    pub(crate) published: Mutex<Vec<Publication>>,
    /// Is told of what was confirmed, before who published it is.
    on_confirmed: Box<dyn Fn(&Publication) + Send + Sync>,
}

impl RecordingBroker {
    pub(crate) fn new(inner: Arc<dyn Broker>) -> Self {
        Self { inner, published: Mutex::default(), on_confirmed: Box::new(|_| ()) }
    }

    pub(crate) fn on_confirmed(self, tell: impl Fn(&Publication) + Send + Sync + 'static) -> Self {
        Self { on_confirmed: Box::new(tell), ..self }
    }
}

#[async_trait]
impl Broker for RecordingBroker {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.inner.declare(topology).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), BrokerError> {
        self.published.lock().push(publication.clone());
        self.inner.publish(publication.clone()).await?;
        (self.on_confirmed)(&publication);
        Ok(())
    }

    async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<(), BrokerError>> {
        self.published.lock().extend(publications.iter().cloned());
        let confirmations = self.inner.publish_batch(publications.clone()).await;
        for (publication, confirmation) in publications.iter().zip(&confirmations) {
            if confirmation.is_ok() {
                (self.on_confirmed)(publication);
            }
        }
        confirmations
    }

    async fn publish_unconfirmed(&self, publication: Publication) -> Result<(), BrokerError> {
        self.published.lock().push(publication.clone());
        self.inner.publish_unconfirmed(publication).await
    }

    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription, BrokerError> {
        self.inner.consume(options).await
    }

    async fn unbind(&self, binding: &Binding) -> Result<(), BrokerError> {
        self.inner.unbind(binding).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64, BrokerError> {
        self.inner.delete_queue(queue).await
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        self.inner.purge(queue).await
    }

    async fn queue_depth(&self, queue: &str) -> Result<Option<QueueDepth>, BrokerError> {
        self.inner.queue_depth(queue).await
    }

    fn address(&self) -> &str {
        self.inner.address()
    }

    fn health(&self) -> BrokerHealth {
        self.inner.health()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Passes everything on and remembers what was stored.
pub(crate) struct RecordingBackend {
    pub(crate) inner: Arc<dyn ResultBackend>,
    pub(crate) stored: Mutex<Vec<StoredResult>>,
}

#[async_trait]
impl ResultBackend for RecordingBackend {
    async fn store(&self, results: &[StoredResult]) -> Result<(), BackendError> {
        self.stored.lock().extend(results.iter().cloned());
        self.inner.store(results).await
    }

    async fn get(&self, task_id: &str) -> Result<Option<String>, BackendError> {
        self.inner.get(task_id).await
    }

    async fn subscribe(&self, task_id: &str) -> Result<ResultSubscription, BackendError> {
        self.inner.subscribe(task_id).await
    }

    async fn forget(&self, task_id: &str) -> Result<(), BackendError> {
        self.inner.forget(task_id).await
    }

    fn address(&self) -> &str {
        self.inner.address()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
