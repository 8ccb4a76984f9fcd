//! Requests with the same `X-Request-ID` take turns: a duplicate waits until the first is answered.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

use crate::ledger::transaction::RequestId;

#[derive(Default)]
pub(crate) struct Turns {
    gates: Mutex<HashMap<RequestId, Arc<Gate<()>>>>,
}

/// Held by the request whose turn it is.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    id: RequestId,
    gate: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for this id's turn.
    pub(crate) async fn take(self: &Arc<Self>, id: RequestId) -> Turn {
        let gate = Arc::clone(self.gates.lock().entry(id.clone()).or_default());
        Turn { turns: Arc::clone(self), id, gate: Some(gate.lock_owned().await) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.gate = None;
        let mut gates = self.turns.gates.lock();
        // Whoever waits for the gate holds it too; the last one leaves nothing behind.
        if gates.get(&self.id).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&self.id);
        }
    }
}
