//! What each client has so and so many of at a time: requests, and open streams. No client can take those of another.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::{Caller, Clients};

/// Counted by client, whichever of its tokens it uses.
pub(crate) struct PerClient {
    pub(crate) limit: usize,
    clients: HashMap<Arc<str>, Arc<Semaphore>>,
}

/// Counts until it is dropped.
pub(crate) type Permit = OwnedSemaphorePermit;

impl PerClient {
    pub(crate) fn new(clients: &Clients, limit: usize) -> Self {
        let clients = clients.names().into_iter().map(|name| (name, Arc::new(Semaphore::new(limit)))).collect();
        Self { limit, clients }
    }

    /// One more, unless the client has as many as it may.
    pub(crate) fn take(&self, caller: &Caller) -> Option<Permit> {
        Arc::clone(self.clients.get(&caller.name)?).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn each_client_has_its_own_limit_and_what_has_ended_counts_no_more() {
        let clients = "a:token-of-a:payments,b:token-of-b:payments,a:second-of-a:payments";
        let limits = PerClient::new(&Clients::parse(&SecretString::from(clients)).unwrap(), 2);
        let (a, b) = (Caller { name: "a".into() }, Caller { name: "b".into() });
        let first = limits.take(&a).expect("the first of two");
        let _second = limits.take(&a).expect("the second of two");
        assert!(limits.take(&a).is_none());
        let _other = limits.take(&b).expect("another client");
        drop(first);
        let _third = limits.take(&a).expect("one has ended");
    }
}
