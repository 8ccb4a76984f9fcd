//! The gateway's allowance: so many requests may be on their way to it at once, from all workers together, and one for an
//! account. Some of them are kept for customers who wait.
//!
//! The places are seats that the cluster shares (`celeriac::backend::HeldSeat`). One is taken before a row says that its
//! request is on its way, so that nobody takes the wait for the silence of a sender that died.

use std::sync::Arc;
use std::time::Duration;

use billing::AccountId;
use celeriac::backend::{BackendError, HeldSeat, ResultBackend};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::config::Config;

/// How long a worker that died keeps its places from the others.
const LEASE: Duration = Duration::from_secs(30);
/// While the result backend cannot be reached it is asked again after this; customers go on without asking meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What this worker may have of it. Shared by all its tasks.
pub(crate) struct Allowance {
    backend: Arc<dyn ResultBackend>,
    key: String,
    all: u32,
    /// For requests that no customer waits for. The rest is for those alone.
    beside_payments: u32,
    /// The same, in this process alone: so that one worker does not stand in line for more than that.
    beside_payments_here: Arc<Semaphore>,
    /// What this process has for customers while the backend cannot be asked: the part that is kept for them.
    kept_here: Arc<Semaphore>,
    /// When the backend could not be reached.
    away: Mutex<Option<Instant>>,
}

/// A place for one request after the other. Others have it when this is dropped.
pub(crate) struct Place {
    _seats: Vec<HeldSeat>,
    _here: Option<OwnedSemaphorePermit>,
}

impl Allowance {
    pub(crate) fn new(config: &Config, backend: Arc<dyn ResultBackend>) -> Self {
        let all = config.max_in_flight();
        let beside_payments = config.shares().beside_payments;
        let few = |places: usize| u32::try_from(places).unwrap_or(u32::MAX);
        Self {
            backend,
            key: format!("billing-gateway-{}", config.cloudpayments_public_id),
            all: few(all),
            beside_payments: few(beside_payments),
            beside_payments_here: Arc::new(Semaphore::new(beside_payments)),
            kept_here: Arc::new(Semaphore::new(all.saturating_sub(beside_payments).max(1))),
            away: Mutex::new(None),
        }
    }

    /// A place for a customer who waits. While the result backend cannot be reached they are let through, in each process as
    /// many as are kept for them: should that be too many together, the gateway says so (429), and they are sent again.
    pub(crate) async fn for_customer(&self, account: Option<AccountId>) -> Place {
        if !self.is_away() {
            match self.seats(account, false).await {
                Ok(seats) => return Place { _seats: seats, _here: None },
                Err(error) => {
                    *self.away.lock() = Some(Instant::now());
                    tracing::warn!(%error, "the gateway's allowance cannot be shared: first payments go on, the rest waits");
                }
            }
        }
        Place { _seats: Vec::new(), _here: Some(place_of(&self.kept_here).await) }
    }

    /// A place for what no customer waits for. It waits while the result backend cannot be reached.
    pub(crate) async fn beside_payments(&self, account: Option<AccountId>) -> Place {
        let here = place_of(&self.beside_payments_here).await;
        let mut told = false;
        loop {
            match self.seats(account, true).await {
                Ok(seats) => return Place { _seats: seats, _here: Some(here) },
                Err(error) if !told => tracing::warn!(%error, "the gateway's allowance cannot be shared: this waits"),
                Err(_) => {}
            }
            told = true;
            sleep(ASK_AGAIN).await;
        }
    }

    /// In this order, so that no two wait for each other: what is kept from them, the whole, the account.
    async fn seats(&self, account: Option<AccountId>, beside_payments: bool) -> Result<Vec<HeldSeat>, BackendError> {
        let mut seats = Vec::with_capacity(3);
        if beside_payments {
            let key = format!("{}-beside-payments", self.key);
            seats.extend(HeldSeat::take(&self.backend, &key, self.beside_payments, LEASE).await?);
        }
        seats.extend(HeldSeat::take(&self.backend, &self.key, self.all, LEASE).await?);
        if let Some(account) = account {
            seats.extend(HeldSeat::take(&self.backend, &format!("billing-account-{account}"), 1, LEASE).await?);
        }
        Ok(seats)
    }

    fn is_away(&self) -> bool {
        self.away.lock().is_some_and(|since| since.elapsed() < ASK_AGAIN)
    }
}

async fn place_of(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed")
}

#[cfg(test)]
mod tests {
    use celeriac::backend::{BackendOptions, MemoryBackend};
    use tokio::time::timeout;

    use super::*;

    const A_MOMENT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn an_account_has_one_request_at_a_time_whichever_worker_sends_it() {
        let backend: Arc<dyn ResultBackend> = Arc::new(MemoryBackend::open("allowance", &BackendOptions::default()));
        let worker = || Allowance::new(&Config::of(""), Arc::clone(&backend));
        let (one, other, account) = (worker(), worker(), AccountId::new());
        let place = one.for_customer(Some(account)).await;
        assert!(timeout(A_MOMENT, other.beside_payments(Some(account))).await.is_err(), "it waits");
        assert!(timeout(A_MOMENT, other.beside_payments(Some(AccountId::new()))).await.is_ok(), "others do not");
        drop(place);
        assert!(timeout(LEASE, other.for_customer(Some(account))).await.is_ok());
    }
}
