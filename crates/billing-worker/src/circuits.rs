//! How the circuits of the gateway stand, for probes, which are told without asking anybody.

use std::sync::{Arc, Mutex, PoisonError};

use billing::breaker::CircuitState;
use billing::store::circuits::Standing;

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

    /// They were read.
    pub(crate) fn are(&self, standing: Vec<Standing>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }
}
