//! Who is acting, for the log of events: set once where a request or a task begins, and known to whatever it writes.
//!
//! It travels with the task of tokio, not through every signature: it says nothing about what is done, only on whose
//! behalf.

use std::cell::Cell;
use std::future::Future;

use crate::event::Source;

/// On whose behalf something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    pub source: Source,
    /// The task's id in the queue.
    pub task_id: Option<String>,
    /// The request's or the trace's id.
    pub trace_id: Option<String>,
    /// The name of the worker's node.
    pub worker: Option<String>,
    /// Which try of the task it is, 1 for the first; 0 where there is no task.
    pub attempt: i32,
}

impl Trail {
    #[must_use]
    pub const fn of(source: Source) -> Self {
        Self { source, task_id: None, trace_id: None, worker: None, attempt: 0 }
    }
}

tokio::task_local! {
    static TRAIL: Trail;
    static NEWS: Cell<bool>;
}

/// Runs `work` on behalf of `trail`. What it spawns must be given the trail anew.
pub async fn follow<T>(trail: Trail, work: impl Future<Output = T>) -> T {
    NEWS.scope(Cell::new(false), TRAIL.scope(trail, work)).await
}

/// On whose behalf the present code runs; a worker's, where nobody has said.
#[must_use]
pub fn current() -> Trail {
    TRAIL.try_with(Clone::clone).unwrap_or_else(|_| Trail::of(Source::Worker))
}

/// A public event was written.
pub(crate) fn has_news() {
    let _ = NEWS.try_with(|news| news.set(true));
}

/// Whether public events were written on this trail since this was last asked. Asked after the commit, to ring the
/// [`Bell`](crate::bell::Bell); where the transaction failed after all it rings for nothing, and no harm is done.
#[must_use]
pub fn take_news() -> bool {
    NEWS.try_with(Cell::take).unwrap_or(false)
}
