//! What happened in each of the last sixty minutes.

use std::collections::VecDeque;

use celeriac::protocol::event::EventBody;
use serde::{Deserialize, Serialize};

use super::Kept;

/// How many minutes are remembered.
const KEPT: usize = 60;
/// Buckets for each doubling of a duration: percentiles are right within 5 %.
const PER_DOUBLING: f64 = 14.0;
/// The least duration that is told from the others, in seconds.
const LEAST: f64 = 1e-4;
/// Up to ten days.
const BUCKETS: usize = 14 * 33;

/// Durations by their size. What it takes does not grow with how many there are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Histogram {
    counts: Vec<u32>,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        let bucket = ((seconds.max(LEAST) / LEAST).log2() * PER_DOUBLING) as usize;
        let count = &mut self.counts[bucket.min(BUCKETS - 1)];
        *count = count.saturating_add(1);
    }
}

/// How long half, nineteen of twenty, and ninety-nine of a hundred took at most, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    /// `None`: there are no durations.
    fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Option<Self> {
        let mut sums = vec![0_u64; BUCKETS];
        for histogram in histograms {
            for (sum, count) in sums.iter_mut().zip(&histogram.counts) {
                *sum += u64::from(*count);
            }
        }
        let total: u64 = sums.iter().sum();
        let at = |percent: u64| {
            let rank = (total * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let bucket = sums.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            // The middle of the bucket.
            bucket.map(|bucket| LEAST * ((bucket as f64 + 0.5) / PER_DOUBLING).exp2())
        };
        // Without tasks there is no bucket.
        Some(Self { p50: at(50)?, p95: at(95)?, p99: at(99)? })
    }
}

/// One minute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Minute {
    /// Minutes since 1970.
    pub(crate) number: i64,
    pub(crate) received: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    waited: Histogram,
    ran: Histogram,
}

impl Minute {
    /// Nothing happened.
    pub(crate) fn is_empty(&self) -> bool {
        self.received + self.succeeded + self.failed + self.retried == 0
    }

    pub(crate) fn waited(&self) -> Option<Percentiles> {
        Percentiles::of([&self.waited].into_iter())
    }

    pub(crate) fn ran(&self) -> Option<Percentiles> {
        Percentiles::of([&self.ran].into_iter())
    }
}

/// The last hour. Minutes in which nothing happened may be missing.
#[derive(Debug, Default)]
pub(crate) struct Minutes(VecDeque<Minute>);

impl Minutes {
    /// Counts what an event tells of its task.
    pub(super) fn count(&mut self, body: &EventBody<'_>, task: &Kept, now: f64) {
        let minute = self.at(now);
        match body {
            EventBody::TaskReceived(_) => minute.received += 1,
            EventBody::TaskStarted { .. } => {
                if let Some(waited) = task.waited() {
                    minute.waited.add(waited);
                }
            }
            EventBody::TaskSucceeded { runtime, .. } => {
                minute.succeeded += 1;
                minute.ran.add(*runtime);
            }
            EventBody::TaskFailed { .. } => {
                minute.failed += 1;
                if let Some(ran) = task.ran() {
                    minute.ran.add(ran);
                }
            }
            EventBody::TaskRetried { .. } => minute.retried += 1,
            _ => {}
        }
    }

    fn at(&mut self, now: f64) -> &mut Minute {
        let number = (now / 60.0) as i64;
        if self.0.back().is_none_or(|last| last.number < number) {
            self.0.push_back(Minute { number, ..Minute::default() });
            while self.0.len() > KEPT {
                self.0.pop_front();
            }
        }
        self.0.back_mut().expect("one was put there")
    }

    /// Those since a minute, it included.
    pub(crate) fn since(&self, number: i64) -> Vec<Minute> {
        self.0.iter().filter(|minute| minute.number >= number).cloned().collect()
    }

    /// Takes in the minutes before those that are here, the oldest first.
    pub(super) fn recall(&mut self, before: Vec<Minute>) {
        let first = self.0.front().map_or(i64::MAX, |minute| minute.number);
        for mut minute in before.into_iter().rev().filter(|minute| minute.number < first) {
            for histogram in [&mut minute.waited, &mut minute.ran] {
                histogram.counts.resize(if histogram.counts.is_empty() { 0 } else { BUCKETS }, 0);
            }
            self.0.push_front(minute);
        }
        self.0.truncate(KEPT);
    }

    /// The minutes of the hour up to `now`, the oldest first, without holes.
    pub(crate) fn hour(&self, now: f64) -> Vec<Minute> {
        let last = (now / 60.0) as i64;
        let known = |number| self.0.iter().find(|minute| minute.number == number).cloned();
        (last - KEPT as i64 + 1..=last)
            .map(|number| known(number).unwrap_or_else(|| Minute { number, ..Minute::default() }))
            .collect()
    }

    /// How long tasks waited in the hour up to `now`.
    pub(crate) fn waited(&self, now: f64) -> Option<Percentiles> {
        Percentiles::of(self.recent(now).map(|minute| &minute.waited))
    }

    /// How long they ran.
    pub(crate) fn ran(&self, now: f64) -> Option<Percentiles> {
        Percentiles::of(self.recent(now).map(|minute| &minute.ran))
    }

    fn recent(&self, now: f64) -> impl Iterator<Item = &Minute> {
        let first = (now / 60.0) as i64 - KEPT as i64 + 1;
        self.0.iter().filter(move |minute| minute.number >= first)
    }
}
