//! How the circuits of the gateway stand, for probes, which are told without asking anybody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use billing::Services;
use billing::breaker::CircuitState;
use billing::store::circuits::{self, Standing};

/// How often it is read.
const EVERY: Duration = Duration::from_secs(5);

/// The circuits as they were when they were last read. Cheap to clone.
#[derive(Clone, Default)]
pub struct Circuits(Arc<Mutex<Vec<Standing>>>);

impl Circuits {
    /// Those that are not closed: what waits for them, and why, is for operators to know.
    #[must_use]
    pub fn not_closed(&self) -> Vec<Standing> {
        let standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        standing.iter().filter(|at| at.breaker.state != CircuitState::Closed).cloned().collect()
    }

    /// Reads them now and then, for ever. While the database cannot be asked they stay as they were.
    pub(crate) async fn follow(self, services: Services) {
        loop {
            let read = async {
                let mut conn = services.db.conn().await?;
                circuits::all(&mut conn).await
            };
            match read.await {
                Ok(standing) => *self.0.lock().unwrap_or_else(PoisonError::into_inner) = standing,
                Err(error) => tracing::debug!(%error, "the circuits of the gateway cannot be read"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
