//! Whether the gateway is left alone for now, or a restore is not reconciled yet. Then nobody begins to pay: the customer is told when to come back, instead of
//! being left with a payment that waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use billing::breaker::{Breaker, Circuit};
use billing::db::Conn;
use billing::store::{circuits, restores};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::error::ApiError;

/// For how long what was read is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// As it was when it was last read, for all requests. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct GatewayRest(Arc<Mutex<Option<(Instant, Standing)>>>);

/// What was read.
#[derive(Clone, Copy)]
struct Standing {
    gateway: Breaker,
    /// A restore is not reconciled yet: nothing is charged.
    is_held: bool,
}

/// A held customer is told to come back after this.
const HELD_FOR: TimeDelta = TimeDelta::minutes(1);

impl GatewayRest {
    /// Until when the gateway is left alone; `None`: payments are sent, or find out. Asks the database once a second at most.
    pub(crate) async fn until(&self, conn: &mut Conn, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, ApiError> {
        let believed = self.read().filter(|(at, _)| at.elapsed() < BELIEVED_FOR);
        let standing = match believed {
            Some((_, standing)) => standing,
            None => {
                let gateway = circuits::get(conn, Circuit::Gateway).await?;
                let standing = Standing { gateway, is_held: restores::is_held(conn).await? };
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), standing));
                standing
            }
        };
        Ok(if standing.is_held { Some(now + HELD_FOR) } else { standing.gateway.rests_until(now) })
    }

    fn read(&self) -> Option<(Instant, Standing)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
