//! A write that has begun is finished, even when its caller hangs up or runs out of time: dropping it between the commit
//! and the message to the workers would leave a payment waiting for the timetable.

use std::future::Future;

use billing::trail;
use tokio_util::task::TaskTracker;
use tonic::Extensions;
use tracing::Instrument;

use crate::deadline::Deadline;
use crate::error::ApiError;
use crate::gate::InFlight;

/// The writes under way.
#[derive(Clone, Default)]
pub(crate) struct Writes(TaskTracker);

impl Writes {
    /// Runs a write to its end, whatever becomes of the caller. Until then it counts as a request in flight. For a caller
    /// who has stopped waiting already none is begun.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        extensions: &Extensions,
        write: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        if extensions.get::<Deadline>().is_some_and(|deadline| deadline.is_over()) {
            return Err(ApiError::DeadlineExceeded);
        }
        let in_flight = extensions.get::<InFlight>().cloned();
        let counted = async move {
            let _in_flight = in_flight;
            write.await
        };
        let written = self.0.spawn(trail::follow(trail::current(), counted).in_current_span()).await;
        written.unwrap_or_else(|panicked| Err(ApiError::Internal(panicked.into())))
    }

    /// Waits until all that was begun is finished.
    pub(crate) async fn wait(&self) {
        self.0.close();
        self.0.wait().await;
    }
}
