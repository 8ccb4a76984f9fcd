//! Whether the gateway is left alone for now. Then nobody begins to pay: the customer is told when to come back, instead of
//! being left with a payment that waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use billing::breaker::{Breaker, Circuit};
use billing::db::Conn;
use billing::store::circuits;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::error::ApiError;

/// For how long what was read is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// As it was when it was last read, for all requests. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct GatewayRest(Arc<Mutex<Option<(Instant, Breaker)>>>);

impl GatewayRest {
    /// Until when the gateway is left alone; `None`: payments are sent, or find out. Asks the database once a second at most.
    pub(crate) async fn until(&self, conn: &mut Conn, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, ApiError> {
        let believed = self.read().filter(|(at, _)| at.elapsed() < BELIEVED_FOR);
        let breaker = match believed {
            Some((_, breaker)) => breaker,
            None => {
                let breaker = circuits::get(conn, Circuit::Gateway).await?;
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), breaker));
                breaker
            }
        };
        Ok(breaker.rests_until(now))
    }

    fn read(&self) -> Option<(Instant, Breaker)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
