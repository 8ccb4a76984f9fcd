//! Lines inside one worker: who has come first goes first.

use std::collections::HashMap;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The lines by their names. A line is there as long as somebody stands in it.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<HashMap<String, Arc<Semaphore>>>>);

/// A place in a line. The next one's turn comes when this value is dropped.
pub(crate) struct Turn {
    lines: Lines,
    name: String,
    ticket: Option<Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lines {
    /// Takes the last place of a line.
    pub(in crate::worker) fn line_up(&self, name: String) -> Turn {
        let line = Arc::clone(self.0.lock().entry(name.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))));
        let mut turn = Turn { lines: self.clone(), name, ticket: None, permit: None };
        let mut ticket = Box::pin(async move { line.acquire_owned().await.expect("the semaphore is never closed") });
        // The first poll takes the place. It wakes nobody: whoever awaits the turn polls it again.
        match ticket.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => turn.permit = Some(permit),
            Poll::Pending => turn.ticket = Some(ticket),
        }
        turn
    }
}

impl Turn {
    pub(in crate::worker) fn has_come(&self) -> bool {
        self.permit.is_some()
    }

    /// Waits until all before have gone.
    pub(in crate::worker) async fn come(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            self.permit = Some(ticket.await);
            self.ticket = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.ticket = None;
        self.permit = None;
        let mut lines = self.lines.0.lock();
        // Only this map knows the line any longer. Nobody joins it meanwhile: that needs the lock.
        if lines.get(&self.name).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_of_the_line_and_an_empty_line_is_forgotten() {
        let lines = Lines::default();
        let first = lines.line_up("a".to_owned());
        let (second, mut third) = (lines.line_up("a".to_owned()), lines.line_up("a".to_owned()));
        assert!(first.has_come() && !second.has_come() && !third.has_come());
        assert!(lines.line_up("b".to_owned()).has_come());
        drop(second);
        let last = tokio::spawn(async move {
            third.come().await;
            assert!(third.has_come());
        });
        drop(first);
        last.await.unwrap();
        assert!(lines.0.lock().is_empty());
    }
}
