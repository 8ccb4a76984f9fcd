//! What each client, and each account that calls by browsers, has so and so many of at a time: requests, and open streams.
//! None can take those of another.

use std::collections::HashMap;
use std::sync::Arc;

use billing::AccountId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Clients;
use crate::caller::Caller;

/// Counted by client, whichever of its tokens it uses. Browsers count by account, and all together as one client.
pub(crate) struct PerClient {
    limit: usize,
    clients: HashMap<Arc<str>, Arc<Semaphore>>,
    browsers: Arc<Semaphore>,
    per_account: usize,
    /// How many each account has. At most as many accounts as browsers may have in all.
    accounts: Arc<Mutex<HashMap<AccountId, usize>>>,
}

/// Counts until it is dropped.
pub(crate) struct Permit {
    _one: OwnedSemaphorePermit,
    _of_account: Option<OfAccount>,
}

struct OfAccount {
    account: AccountId,
    accounts: Arc<Mutex<HashMap<AccountId, usize>>>,
}

impl PerClient {
    pub(crate) fn new(clients: &Clients, limit: usize, per_account: usize) -> Self {
        let clients = clients.names().into_iter().map(|name| (name, Arc::new(Semaphore::new(limit)))).collect();
        Self { limit, clients, browsers: Arc::new(Semaphore::new(limit)), per_account, accounts: Arc::default() }
    }

    /// One more, unless the caller has as many as it may.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn take(&self, caller: &Caller) -> Result<Permit, usize> {
        let of_account = caller.account.map(|account| self.take_of(account).ok_or(self.per_account)).transpose()?;
        let all = match caller.account {
            Some(_) => Some(&self.browsers),
            None => self.clients.get(&caller.name),
        };
        let one = all.and_then(|all| Arc::clone(all).try_acquire_owned().ok()).ok_or(self.limit)?;
        Ok(Permit { _one: one, _of_account: of_account })
    }

    fn take_of(&self, account: AccountId) -> Option<OfAccount> {
        let mut counts = self.accounts.lock();
        let count = counts.entry(account).or_default();
        if *count >= self.per_account {
            return None;
        }
        *count += 1;
        Some(OfAccount { account, accounts: Arc::clone(&self.accounts) })
    }
}

impl Drop for OfAccount {
    fn drop(&mut self) {
        let mut counts = self.accounts.lock();
        if let Some(count) = counts.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use tokio::time::Instant;

    use super::*;
    use crate::browser::Subject;

    fn limits(limit: usize, per_account: usize) -> PerClient {
        let clients = "a:token-of-a:payments,b:token-of-b:payments,a:second-of-a:payments";
        PerClient::new(&Clients::parse(&SecretString::from(clients)).unwrap(), limit, per_account)
    }

    #[test]
    fn each_client_has_its_own_limit_and_what_has_ended_counts_no_more() {
        let limits = limits(2, 1);
        let (a, b) = (Caller::client(&"a".into()), Caller::client(&"b".into()));
        let first = limits.take(&a).expect("the first of two");
        let _second = limits.take(&a).expect("the second of two");
        assert_eq!(limits.take(&a).err(), Some(2));
        let _other = limits.take(&b).expect("another client");
        drop(first);
        let _third = limits.take(&a).expect("one has ended");
    }

    #[test]
    fn browsers_have_a_limit_for_each_account_and_one_for_all() {
        let limits = limits(3, 2);
        let [a, b, c] = [(); 3].map(|()| Caller::browser(Subject { account: AccountId::new(), until: Instant::now() }));
        let first = limits.take(&a).expect("the first of two");
        let _second = limits.take(&a).expect("the second of two");
        assert_eq!(limits.take(&a).err(), Some(2), "of the account");
        let third = limits.take(&b).expect("the third of all");
        assert_eq!(limits.take(&c).err(), Some(3), "of all");
        drop((first, third));
        let _fourth = limits.take(&a).expect("one of the account has ended");
        assert_eq!(limits.accounts.lock().len(), 1, "who has nothing is not kept");
    }
}
