//! The queues that a worker takes tasks from. Remote control may add some and cancel others while it works.

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::QueueDefinition;

/// The queues that are consumed or about to be.
#[derive(Debug)]
pub(crate) struct Queues {
    taken: Mutex<Vec<Taken>>,
    added: mpsc::UnboundedSender<Taken>,
    stop: CancellationToken,
}

/// A queue to take tasks from.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) definition: QueueDefinition,
    /// Ends its consumer, as does the end of the worker.
    pub(crate) cancel: CancellationToken,
    /// The worker cannot work without it.
    pub(crate) required: bool,
}

impl Queues {
    /// With the receiver of what is added. `stop` ends all of them.
    pub(crate) fn new(stop: &CancellationToken) -> (Self, mpsc::UnboundedReceiver<Taken>) {
        let (added, receiver) = mpsc::unbounded_channel();
        (Self { taken: Mutex::default(), added, stop: stop.clone() }, receiver)
    }

    /// Adds a queue, unless tasks are taken from one of that name already.
    pub(crate) fn add(&self, definition: QueueDefinition, required: bool) {
        let mut taken = self.taken.lock();
        if taken.iter().any(|other| other.definition.name == definition.name) {
            return;
        }
        let queue = Taken { definition, cancel: self.stop.child_token(), required };
        taken.push(queue.clone());
        // Nobody receives any more after the end of the worker.
        let _ = self.added.send(queue);
    }

    /// Takes no more tasks from a queue. Those that were taken are run.
    pub(crate) fn cancel(&self, name: &str) {
        self.taken.lock().retain(|queue| {
            let is_it = queue.definition.name == name;
            if is_it {
                queue.cancel.cancel();
            }
            !is_it
        });
    }

    pub(crate) fn definitions(&self) -> Vec<QueueDefinition> {
        self.taken.lock().iter().map(|queue| queue.definition.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_taken_once_until_it_is_cancelled() {
        let stop = CancellationToken::new();
        let (queues, mut added) = Queues::new(&stop);
        let add = || queues.add(QueueDefinition::new("q"), false);
        add();
        add();
        let first = added.try_recv().unwrap();
        assert!(added.try_recv().is_err());
        queues.cancel("other");
        assert!(!first.cancel.is_cancelled());
        queues.cancel("q");
        assert!(first.cancel.is_cancelled() && queues.definitions().is_empty());
        add();
        let second = added.try_recv().unwrap();
        assert!(!second.cancel.is_cancelled());
        stop.cancel();
        assert!(second.cancel.is_cancelled());
    }
}
