//! Limits of the whole cluster: who may run at once, and how often.
//!
//! A task that is limited asks for a seat under its key. There are so many seats; who finds none stands in line and
//! asks again when a seat becomes free. A seat is held for the time of a lease, which its holder renews, so that one
//! that dies blocks nobody for long. Times are those of the server.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{sleep, timeout};

use super::{BackendError, ResultSubscription};

/// A backend that could not be asked is asked again after this.
const UNANSWERED: Duration = Duration::from_millis(500);

/// Keeps the limits of the whole cluster.
#[async_trait]
pub trait ClusterLimits: Send + Sync {
    /// Asks for a seat, or asks again. Places in the line are given in the order of the first asking; one that is not
    /// asked for again within `seat.lease` is lost.
    async fn claim(&self, seat: &Seat) -> Result<Grant, BackendError>;

    /// Holds the seat for another lease. False: the lease is over, and others may have the seat.
    async fn renew(&self, seat: &Seat) -> Result<bool, BackendError>;

    /// Gives up the seat, or the place in the line. What others hold is not touched, whatever has happened meanwhile.
    async fn release(&self, seat: &Seat) -> Result<(), BackendError>;

    /// Tells when a seat under a key becomes free. What it says does not matter.
    async fn freed(&self, key: &str) -> Result<ResultSubscription, BackendError>;

    /// Takes the next start under a rate: returns how long it is until then.
    async fn reserve(&self, key: &str, interval: Duration) -> Result<Duration, BackendError>;

    /// Gives a start back that was taken and is not used. However many are given back, one may be taken at once.
    async fn give_back(&self, key: &str, interval: Duration) -> Result<(), BackendError> {
        let _ = (key, interval);
        Ok(())
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// What is limited; all who say the same key share its seats.
    pub key: String,
    /// Names the one who asks. Nobody else uses it.
    pub token: String,
    /// How many seats there are.
    pub limit: u32,
    /// How long a seat is held, and a place in the line kept, without a word from its owner.
    pub lease: Duration,
}

/// The answer to who asks for a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The seat is the caller's. `fence` is higher with each seat that is given, so that a store can refuse what is
    /// written by a former holder.
    Seated {
        /// Counted for all keys together, as long as what keeps the limits keeps its data.
        fence: u64,
    },
    /// Not yet. Ask again when a seat is freed, at the latest after this time, when a lease may be over.
    Wait {
        /// From now.
        at_most: Duration,
    },
}

/// Returns when asking again may help: at once after subscribing, else when a seat was freed, at the latest after `most`.
pub(crate) async fn wait_until_freed(
    limits: &dyn ClusterLimits,
    seat: &Seat,
    freed: &mut Option<ResultSubscription>,
    most: Duration,
) {
    match freed {
        Some(subscription) => {
            if let Ok(None) = timeout(most, subscription.recv()).await {
                *freed = None;
            }
        }
        None => match limits.freed(&seat.key).await {
            Ok(subscription) => *freed = Some(subscription),
            Err(_) => sleep(most.min(UNANSWERED)).await,
        },
    }
}
