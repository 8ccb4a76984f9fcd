//! A seat that no task holds, but a part of one's body, or no task at all.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::limits::wait_until_freed;
use super::{BackendError, Grant, ResultBackend, Seat};

/// One of so many seats that the whole cluster has under a key, for what must not run more often at once than that. It is
/// given up when this value is dropped; its lease is renewed until then, so that whoever dies blocks nobody for longer.
///
/// What is done on a seat goes on when its lease is lost, as when the backend loses its data: this is for limits that may be
/// exceeded for once, rather than for what must exclude each other.
pub struct HeldSeat {
    claim: Claim,
    _renewal: AbortOnDropHandle<()>,
}

/// A seat that was asked for. If nobody waits for the reply any more, it may have been granted nevertheless.
struct Claim {
    backend: Arc<dyn ResultBackend>,
    seat: Seat,
}

impl HeldSeat {
    /// Waits for one of `limit` seats under `key`, in the order of asking. `None`: this backend keeps no limits.
    ///
    /// # Errors
    /// [`BackendError`] when the backend cannot be reached: whether there is a seat is not known.
    pub async fn take(
        backend: &Arc<dyn ResultBackend>,
        key: &str,
        limit: u32,
        lease: Duration,
    ) -> Result<Option<Self>, BackendError> {
        let Some(limits) = backend.limits() else { return Ok(None) };
        let seat = Seat { key: key.to_owned(), token: Uuid::new_v4().simple().to_string(), limit, lease };
        let claim = Claim { backend: Arc::clone(backend), seat };
        let mut freed = None;
        loop {
            let asked = Instant::now();
            match limits.claim(&claim.seat).await? {
                Grant::Seated { .. } => {
                    let renewal = tokio::spawn(renew(Arc::clone(backend), claim.seat.clone(), asked));
                    return Ok(Some(Self { claim, _renewal: AbortOnDropHandle::new(renewal) }));
                }
                Grant::Wait { at_most } => {
                    wait_until_freed(limits, &claim.seat, &mut freed, at_most.min(lease / 3)).await;
                }
            }
        }
    }

    /// What is limited.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.claim.seat.key
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (backend, seat) = (Arc::clone(&self.backend), self.seat.clone());
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let Some(limits) = backend.limits() else { return };
            if let Err(error) = limits.release(&seat).await {
                let Seat { key, lease, .. } = &seat;
                tracing::warn!(key, ?lease, %error, "seat not given up; it is free after its lease");
            }
        });
    }
}

async fn renew(backend: Arc<dyn ResultBackend>, seat: Seat, since: Instant) {
    let Some(limits) = backend.limits() else { return };
    let mut until = since + seat.lease;
    loop {
        tokio::time::sleep(seat.lease / 3).await;
        let asked = Instant::now();
        match limits.renew(&seat).await {
            Ok(true) => until = asked + seat.lease,
            Err(error) if asked < until => tracing::debug!(key = seat.key, %error, "lease not renewed"),
            Ok(false) | Err(_) => break,
        }
    }
    tracing::warn!(key = seat.key, "lease lost: others may have the seat as well");
}
