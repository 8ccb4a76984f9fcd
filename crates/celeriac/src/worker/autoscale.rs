//! Lets the pool grow and shrink with what there is to do (`celery/worker/autoscale.py`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::pool::Pool;
use super::run::Phase;
use super::shared::Shared;

const EVERY: Duration = Duration::from_secs(1);
/// `AUTOSCALE_KEEPALIVE`: how long after it has grown the pool does not shrink.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Between what bounds a pool scales.
#[derive(Debug)]
pub(crate) struct Autoscale(Mutex<Bounds>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    max: usize,
    min: usize,
    grown: Option<Instant>,
}

impl Autoscale {
    /// `1 <= min <= max`
    pub(crate) fn new(max: usize, min: usize) -> Self {
        Self(Mutex::new(Bounds { max, min, grown: None }))
    }

    /// Changes the bounds, and the pool where it does not fit them; answers `(max, min)`.
    pub(crate) fn update(&self, pool: &Pool, max: Option<usize>, min: Option<usize>) -> (usize, usize) {
        let mut bounds = self.0.lock();
        bounds.max = max.unwrap_or(bounds.max).clamp(1, Pool::MAX);
        bounds.min = min.unwrap_or(bounds.min).clamp(1, Pool::MAX);
        pool.prefetch_for(bounds.max);
        let size = pool.size();
        if size > bounds.max {
            pool.shrink(size - bounds.max);
        }
        let size = pool.size();
        if size < bounds.min {
            pool.grow(bounds.min - size);
        }
        (bounds.max, bounds.min)
    }

    /// As `stats` tells it; `todo` is how many tasks run or wait for a slot.
    pub(crate) fn info(&self, pool: &Pool, todo: usize) -> [(&'static str, usize); 4] {
        let bounds = *self.0.lock();
        [("max", bounds.max), ("min", bounds.min), ("current", pool.size()), ("qty", todo)]
    }

    /// Fits the pool to what there is to do; answers whether its size has changed.
    fn scale(&self, pool: &Pool, todo: usize, now: Instant) -> bool {
        let mut bounds = self.0.lock();
        let size = pool.size();
        let wanted = todo.min(bounds.max);
        if wanted > size {
            bounds.grown = Some(now);
            pool.grow(wanted - size);
            return true;
        }
        let wanted = todo.max(bounds.min);
        let may_shrink = bounds.grown.is_some_and(|grown| now.duration_since(grown) > KEEPALIVE);
        wanted < size && may_shrink && pool.shrink(size - wanted) > 0
    }
}

/// Scales the pool until `stop`, if it is one that scales.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let Some(autoscale) = &shared.autoscale else { return };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if autoscale.scale(&shared.pool, shared.todo(), Instant::now()) {
            tracing::info!(size = shared.pool.size(), "pool scaled");
            shared.pool_changed();
        }
    }
}

impl Shared {
    /// Tasks that run or wait for a slot, but for those of queues that have slots of their own.
    pub(crate) fn todo(&self) -> usize {
        let runs = self.state.runs(&[Phase::Reserved, Phase::Active]);
        runs.iter().filter(|run| !self.own_pools.contains_key(&run.channel.queue)).count()
    }

    /// Lets consumers take as many messages as the pool can work on.
    pub(crate) fn pool_changed(&self) {
        for channel in self.channels.lock().iter() {
            channel.room_changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pool_grows_with_its_work_and_shrinks_when_it_has_been_quiet() {
        let (pool, autoscale, start) = (Pool::new(2, 4), Autoscale::new(10, 2), Instant::now());
        assert!(!autoscale.scale(&pool, 2, start));
        assert!(autoscale.scale(&pool, 7, start));
        assert_eq!(pool.size(), 7);
        assert!(autoscale.scale(&pool, 100, start));
        assert_eq!(pool.size(), 10);
        assert!(!autoscale.scale(&pool, 0, start + KEEPALIVE));
        assert!(autoscale.scale(&pool, 0, start + KEEPALIVE + EVERY));
        assert_eq!(pool.size(), 2);
    }

    /// `celery/worker/components.py`, `Consumer`: `max_concurrency * prefetch_multiplier`.
    #[test]
    fn messages_are_fetched_for_the_largest_pool_whatever_its_size_is_now() {
        let (pool, autoscale) = (Pool::new(2, 4), Autoscale::new(10, 2));
        pool.prefetch_for(10);
        assert_eq!(pool.prefetch(), 40);
        assert!(autoscale.scale(&pool, 7, Instant::now()));
        assert_eq!(pool.prefetch(), 40);
        autoscale.update(&pool, Some(20), None);
        assert_eq!(pool.prefetch(), 80);
    }

    #[test]
    fn new_bounds_count_at_once() {
        let (pool, autoscale) = (Pool::new(4, 4), Autoscale::new(10, 4));
        assert_eq!(autoscale.update(&pool, Some(3), None), (3, 4));
        assert_eq!(pool.size(), 4);
        assert_eq!(autoscale.update(&pool, Some(3), Some(1)), (3, 1));
        assert_eq!(pool.size(), 3);
        assert_eq!(autoscale.update(&pool, None, Some(0)), (3, 1));
        assert_eq!(autoscale.info(&pool, 5), [("max", 3), ("min", 1), ("current", 3), ("qty", 5)]);
    }
}
