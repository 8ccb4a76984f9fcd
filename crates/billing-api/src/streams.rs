//! How many streams each client may hold open.

use std::sync::Arc;

use crate::auth::{Caller, Clients};
use crate::error::ApiError;
use crate::per_client::{PerClient, Permit};

/// Open streams, counted by client.
pub(crate) struct StreamLimits(PerClient);

/// The limits, shared by all services.
pub(crate) type Streams = Arc<StreamLimits>;

/// Counts as an open stream until it is dropped.
pub(crate) type StreamPermit = Permit;

impl StreamLimits {
    pub(crate) fn new(clients: &Clients, limit: usize) -> Self {
        Self(PerClient::new(clients, limit))
    }

    pub(crate) fn open(&self, caller: &Caller) -> Result<StreamPermit, ApiError> {
        self.0.take(caller).ok_or(ApiError::TooManyStreams { limit: self.0.limit })
    }
}
