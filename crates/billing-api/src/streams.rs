//! How many streams each client may hold open.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::{Caller, Clients};
use crate::error::ApiError;

/// Open streams, counted by client.
pub(crate) struct StreamLimits {
    limit: usize,
    clients: HashMap<Arc<str>, Arc<Semaphore>>,
}

/// The limits, shared by all services.
pub(crate) type Streams = Arc<StreamLimits>;

/// Counts as an open stream until it is dropped.
pub(crate) type StreamPermit = OwnedSemaphorePermit;

impl StreamLimits {
    pub(crate) fn new(clients: &Clients, limit: usize) -> Self {
        let clients = clients.names().into_iter().map(|name| (name, Arc::new(Semaphore::new(limit)))).collect();
        Self { limit, clients }
    }

    pub(crate) fn open(&self, caller: &Caller) -> Result<StreamPermit, ApiError> {
        let too_many = ApiError::TooManyStreams { limit: self.limit };
        let Some(permits) = self.clients.get(&caller.name) else { return Err(too_many) };
        Arc::clone(permits).try_acquire_owned().map_err(|_| too_many)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn each_client_has_its_own_limit_and_a_closed_stream_counts_no_more() {
        let clients = "a:token-of-a:payments,b:token-of-b:payments,a:second-of-a:payments";
        let limits = StreamLimits::new(&Clients::parse(&SecretString::from(clients)).unwrap(), 2);
        let (a, b) = (Caller { name: "a".into() }, Caller { name: "b".into() });
        let first = limits.open(&a).expect("the first of two");
        let _second = limits.open(&a).expect("the second of two");
        assert!(matches!(limits.open(&a), Err(ApiError::TooManyStreams { limit: 2 })));
        let _other = limits.open(&b).expect("another client");
        drop(first);
        let _third = limits.open(&a).expect("one was closed");
    }
}
