//! How many bodies may run at once. Remote control may change it while they do.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots in which bodies run.
#[derive(Debug)]
pub(crate) struct Pool {
    slots: Arc<Semaphore>,
    size: Mutex<usize>,
    prefetch_multiplier: usize,
    /// For how many bodies messages are fetched, if not for as many as there are slots; 0: for those.
    prefetch_for: AtomicUsize,
}

/// A place in the line for a slot.
pub(crate) type Ticket = Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>>;

impl Pool {
    /// `size` is at least 1 and at most [`Pool::MAX`].
    pub(crate) fn new(size: usize, prefetch_multiplier: usize) -> Self {
        let slots = Arc::new(Semaphore::new(size));
        Self { slots, size: Mutex::new(size), prefetch_multiplier, prefetch_for: AtomicUsize::new(0) }
    }

    pub(crate) const MAX: usize = Semaphore::MAX_PERMITS;

    pub(crate) fn size(&self) -> usize {
        *self.size.lock()
    }

    pub(crate) fn prefetch_multiplier(&self) -> usize {
        self.prefetch_multiplier
    }

    /// How many messages a consumer holds for the bodies that can run soon; 0 is without a limit.
    pub(crate) fn prefetch(&self) -> usize {
        let bodies = match self.prefetch_for.load(Ordering::Relaxed) {
            0 => self.size(),
            most => most,
        };
        bodies.saturating_mul(self.prefetch_multiplier)
    }

    /// Has messages fetched for so many bodies, however many slots there are just now.
    pub(crate) fn prefetch_for(&self, bodies: usize) {
        self.prefetch_for.store(bodies, Ordering::Relaxed);
    }

    /// A slot, if one is free.
    pub(crate) fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Gets in line for a slot now, however late the answer is awaited. Slots are given in the order of the line.
    pub(crate) fn line_up(&self) -> Ticket {
        let slots = Arc::clone(&self.slots);
        let mut ticket: Ticket =
            Box::pin(async move { slots.acquire_owned().await.expect("the semaphore is never closed") });
        // The first poll takes the place in the line. It wakes nobody: whoever awaits the ticket polls it again.
        match ticket.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slot) => Box::pin(std::future::ready(slot)),
            Poll::Pending => ticket,
        }
    }

    /// Slots that nobody has.
    pub(crate) fn free(&self) -> usize {
        self.slots.available_permits()
    }

    /// Adds slots, up to the maximum.
    pub(crate) fn grow(&self, n: usize) {
        let mut size = self.size.lock();
        let more = n.min(Self::MAX - *size);
        self.slots.add_permits(more);
        *size += more;
    }

    /// Takes slots away that are free, but never the last one. Returns how many those were.
    pub(crate) fn shrink(&self, n: usize) -> usize {
        let mut size = self.size.lock();
        let less = self.slots.forget_permits(n.min(*size - 1));
        *size -= less;
        less
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pool_grows_at_once_and_shrinks_by_what_is_free() {
        let pool = Pool::new(2, 4);
        assert_eq!(pool.prefetch(), 8);
        let (first, second) = (pool.line_up().await, pool.line_up().await);
        assert!(pool.try_take().is_none());
        pool.grow(2);
        assert_eq!((pool.size(), pool.prefetch()), (4, 16));
        let third = pool.try_take().unwrap();
        assert_eq!(pool.shrink(3), 1);
        assert!(pool.try_take().is_none());
        drop((first, second, third));
        assert_eq!(pool.shrink(100), 2);
        assert_eq!(pool.size(), 1);
        assert_eq!(pool.shrink(1), 0);
        assert!(pool.try_take().is_some());
    }

    #[tokio::test]
    async fn slots_are_given_in_the_order_of_the_line_not_of_the_awaiting() {
        let pool = Pool::new(1, 4);
        let slot = pool.try_take().unwrap();
        let (first, second) = (pool.line_up(), pool.line_up());
        let second = tokio::spawn(second);
        drop(slot);
        let slot = first.await;
        assert!(!second.is_finished());
        drop(slot);
        drop(second.await.unwrap());
        drop(pool.line_up().await);
    }

    #[test]
    fn a_pool_cannot_grow_beyond_what_can_be_counted() {
        let pool = Pool::new(1, 4);
        pool.grow(usize::MAX);
        assert_eq!(pool.size(), Pool::MAX);
        assert_eq!(Pool::new(3, 0).prefetch(), 0);
    }
}
