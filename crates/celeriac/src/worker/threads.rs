//! The threads on which blocking bodies run: apart from those of the runtime, so that bodies that await go on.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicIsize, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, mpsc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::pool::Pool;

/// As many threads as there are slots. They start with the first job and end with this value.
pub(crate) struct Threads {
    /// Blocking tasks take a slot here instead of one of the worker's.
    pub(crate) slots: Pool,
    jobs: OnceLock<mpsc::Sender<Job>>,
    /// Threads whose job goes on although nobody waits for its answer.
    abandoned: Arc<AtomicIsize>,
}

type Job = Box<dyn FnOnce() + Send>;
type Panic = Box<dyn Any + Send>;

impl Default for Threads {
    /// One for each processor: Celery's default.
    fn default() -> Self {
        let size = std::thread::available_parallelism().map_or(1, usize::from);
        Self { slots: Pool::new(size, 0), jobs: OnceLock::new(), abandoned: Arc::default() }
    }
}

impl Threads {
    /// Before the first job: how many threads there are, at least one.
    pub(super) fn resize(&self, size: usize) {
        self.slots.grow(size.max(1).saturating_sub(self.slots.size()));
        self.slots.shrink(self.slots.size().saturating_sub(size.max(1)));
    }

    /// Whether each thread is held by a job whose answer nobody waits for: none is left for others.
    pub(super) fn all_held(&self) -> bool {
        usize::try_from(self.abandoned.load(Ordering::SeqCst)).is_ok_and(|held| held >= self.slots.size())
    }

    /// Runs a blocking function, and panics as it did. A function whose answer nobody waits for any longer does not
    /// begin; one that has begun goes on to its end.
    pub(super) async fn run<T: Send + 'static>(&self, function: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = oneshot::channel::<Result<T, Panic>>();
        let runtime = tokio::runtime::Handle::current();
        let stage = Stage { now: Arc::default(), abandoned: Arc::clone(&self.abandoned) };
        let begun = stage.clone();
        let job = move || {
            if sender.is_closed() {
                return;
            }
            begun.begin();
            let _runtime = runtime.enter();
            // Whether it has left something broken is for its own caller to say.
            let answer = catch_unwind(AssertUnwindSafe(function));
            begun.end();
            let _ = sender.send(answer);
        };
        let _unless_answered = Waits(stage);
        let jobs = self.jobs.get_or_init(|| start(self.slots.size()));
        let _ = jobs.send(Box::new(job));
        match receiver.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => panic!("no thread could be started for blocking tasks"),
        }
    }
}

/// How far a job is.
#[derive(Clone)]
struct Stage {
    now: Arc<AtomicU8>,
    abandoned: Arc<AtomicIsize>,
}

const BEGUN: u8 = 1;
const ABANDONED: u8 = 2;
const ENDED: u8 = 3;

impl Stage {
    fn begin(&self) {
        self.now.store(BEGUN, Ordering::SeqCst);
    }

    fn end(&self) {
        if self.now.swap(ENDED, Ordering::SeqCst) == ABANDONED {
            self.abandoned.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Somebody waits for the answer of a job.
struct Waits(Stage);

impl Drop for Waits {
    fn drop(&mut self) {
        let Stage { now, abandoned } = &self.0;
        if now.compare_exchange(BEGUN, ABANDONED, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Threads that take one job after the other until there can be no more.
fn start(count: usize) -> mpsc::Sender<Job> {
    let (sender, receiver) = mpsc::channel::<Job>();
    let receiver = Arc::new(Mutex::new(receiver));
    for number in 0..count {
        let receiver = Arc::clone(&receiver);
        let work = move || {
            loop {
                // One waits with the lock, the others for it.
                let job = receiver.lock().recv();
                match job {
                    Ok(job) => job(),
                    Err(mpsc::RecvError) => return,
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name(format!("celeriac-blocking-{number}")).spawn(work) {
            tracing::error!(%error, "thread for blocking tasks not started");
        }
    }
    sender
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_goes_to_its_caller_and_the_thread_lives_on() {
        let threads = Threads::default();
        threads.resize(1);
        assert_eq!(threads.slots.size(), 1);
        let panicking = AssertUnwindSafe(threads.run(|| panic!("out of cheese")));
        let panic = futures_util::FutureExt::catch_unwind(panicking).await.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"out of cheese"));
        assert_eq!(threads.run(|| 7).await, 7);
    }

    #[tokio::test]
    async fn threads_are_held_by_jobs_that_nobody_waits_for_until_those_end() {
        let threads = Threads::default();
        threads.resize(1);
        let (end, ended) = mpsc::channel::<()>();
        let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let job = threads.run(move || {
            let _ = begin.send(());
            let _ = ended.recv();
        });
        tokio::select! {
            () = job => panic!("it ends later"),
            _ = begun.recv() => {}
        }
        assert!(threads.all_held());
        drop(end);
        assert_eq!(threads.run(|| 7).await, 7);
        assert!(!threads.all_held());
    }
}
