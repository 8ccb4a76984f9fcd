//! Figures of tasks, kept by the worker that runs them.

use std::time::Duration;

use ::metrics::{Counter, Histogram, counter, histogram};
use parking_lot::RwLock;

use super::series::Series;
use super::{CONSUMED, DESTINATION, OUTCOME, PROCESS_DURATION, TASK, TASK_RETRIES, TASK_WAIT};

pub(crate) struct TaskMeters(Series<OfTask>);

/// Of one task that comes by one queue.
struct OfTask {
    queue: String,
    task: String,
    consumed: Counter,
    wait: Histogram,
    retries: Counter,
    /// By outcome, of which there are a few.
    runs: RwLock<Vec<(&'static str, Histogram)>>,
}

impl TaskMeters {
    pub(crate) fn new() -> Self {
        Self(Series::new(|queue, task| OfTask {
            queue: queue.to_owned(),
            task: task.to_owned(),
            consumed: counter!(CONSUMED, DESTINATION => queue.to_owned(), TASK => task.to_owned()),
            wait: histogram!(TASK_WAIT, DESTINATION => queue.to_owned(), TASK => task.to_owned()),
            retries: counter!(TASK_RETRIES, DESTINATION => queue.to_owned(), TASK => task.to_owned()),
            runs: RwLock::default(),
        }))
    }

    /// A body begins; `waited` is unknown where it was to wait.
    pub(crate) fn begun(&self, queue: &str, task: &str, waited: Option<Duration>) {
        let series = self.0.get(queue, task);
        series.consumed.increment(1);
        if let Some(waited) = waited {
            series.wait.record(waited);
        }
    }

    /// A body has ended in this way.
    pub(crate) fn ended(&self, queue: &str, task: &str, outcome: &'static str, runtime: Duration) {
        let series = self.0.get(queue, task);
        series.runs(outcome).record(runtime);
        if outcome == "retried" {
            series.retries.increment(1);
        }
    }
}

impl OfTask {
    fn runs(&self, outcome: &'static str) -> Histogram {
        let of = |runs: &[(&str, Histogram)]| {
            runs.iter().find(|(name, _)| *name == outcome).map(|(_, histogram)| histogram.clone())
        };
        if let Some(found) = of(&self.runs.read()) {
            return found;
        }
        let mut runs = self.runs.write();
        of(&runs).unwrap_or_else(|| {
            let (queue, task) = (self.queue.clone(), self.task.clone());
            let made = histogram!(PROCESS_DURATION, DESTINATION => queue, TASK => task, OUTCOME => outcome);
            runs.push((outcome, made.clone()));
            made
        })
    }
}
