//! How many streams each client, and each account, may hold open.

use std::sync::Arc;

use crate::auth::Clients;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::per_client::{PerClient, Permit};

/// Open streams, counted by client and by account.
pub(crate) struct StreamLimits(PerClient);

/// The limits, shared by all services.
pub(crate) type Streams = Arc<StreamLimits>;

/// Counts as an open stream until it is dropped.
pub(crate) type StreamPermit = Permit;

impl StreamLimits {
    pub(crate) fn new(clients: &Clients, limit: usize, per_account: usize) -> Self {
        Self(PerClient::new(clients, limit, per_account))
    }

    pub(crate) fn open(&self, caller: &Caller) -> Result<StreamPermit, ApiError> {
        self.0.take(caller).map_err(|limit| ApiError::TooManyStreams { limit })
    }
}
