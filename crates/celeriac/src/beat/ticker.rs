//! What a beat that leads does next: pure, told the time and what the store and the broker have said.
//!
//! A tick goes through three steps: it is claimed (the store says `sending`), sent, and recorded (the store says
//! `handled`). A beat that finds a claim when it begins to lead sends it again, with the same id and marked; it finds
//! one only if its predecessor died, or was cut off, between the first and the third step.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::Schedule;
use super::schedule::{Due, Timetable};
use super::store::{Progress, Record};

/// How many ticks are claimed by one write.
const MAX_CLAIMS: usize = 256;
/// How many ticks are on their way at once. Each entry has one at most.
const MAX_SENDING: usize = 256;
/// How long a tick that could not be sent is left alone at first, and at most: its entry waits, and no other.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const RETRY_AFTER_AT_MOST: Duration = Duration::from_secs(60);

/// What the ticker knows of an entry.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) timetable: Timetable,
    pub(super) is_stored: bool,
    /// Switched off after its first tick.
    pub(super) one_off: bool,
    /// It has had its first tick, of a beat that did not come to switching it off.
    pub(super) is_spent: bool,
    /// What a Python beat, which has no [`Progress`], did last.
    pub(super) last_run_at: Option<DateTime<Utc>>,
}

/// The entries of a beat that leads.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    jobs: BTreeMap<String, Job>,
    gone: Vec<String>,
}

#[derive(Debug)]
struct Job {
    plan: Plan,
    /// As the store has it; `None`: the store does not know of the entry.
    progress: Option<Progress>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Claimed {
        tick: DateTime<Utc>,
        again: bool,
        /// How often it could not be sent.
        failures: u32,
        not_before: Option<Instant>,
    },
    Sending {
        tick: DateTime<Utc>,
    },
    Sent {
        tick: DateTime<Utc>,
        at: Option<DateTime<Utc>>,
    },
    /// Switched off; the store will say so.
    Done,
}

/// A tick to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) entry: String,
    pub(super) time: DateTime<Utc>,
    /// It may have been sent before.
    pub(super) again: bool,
    /// How often it could not be sent.
    pub(super) failures: u32,
}

impl Plan {
    /// Up to where an entry counts as handled that nobody has handled yet.
    fn begin(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match (self.last_run_at, &self.timetable.schedule) {
            (Some(last_run_at), _) => last_run_at.min(now),
            (None, Schedule::Clocked(time)) if self.is_stored => now.min(*time - TimeDelta::microseconds(1)),
            (None, _) => now,
        }
    }

    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.timetable.end.is_some_and(|end| end <= now)
    }
}

impl Stage {
    fn claimed(tick: DateTime<Utc>, again: bool) -> Self {
        Self::Claimed { tick, again, failures: 0, not_before: None }
    }
}

impl Job {
    fn new(plan: Plan, progress: Option<Progress>) -> Self {
        let stage = match progress.and_then(|progress| progress.sending) {
            Some(tick) => Stage::claimed(tick, true),
            None => Stage::Idle,
        };
        Self { plan, progress, stage }
    }

    fn handled(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.progress.and_then(|progress| progress.handled).unwrap_or_else(|| self.plan.begin(now))
    }

    /// What the store has to know before anything more is done.
    fn record(&self, entry: &str, now: DateTime<Utc>) -> Option<Record> {
        let handled = Some(self.handled(now));
        let record =
            |progress| Record { entry: entry.to_owned(), progress: Some(progress), sent_at: None, disable: false };
        match self.stage {
            Stage::Claimed { .. } | Stage::Sending { .. } | Stage::Done => None,
            Stage::Sent { tick, at } => Some(Record {
                sent_at: at,
                disable: self.plan.one_off,
                ..record(Progress { handled: Some(tick), sending: None })
            }),
            Stage::Idle if self.plan.is_spent => {
                Some(Record { disable: true, ..record(Progress { handled, sending: None }) })
            }
            Stage::Idle => match self.plan.timetable.due(self.handled(now), now) {
                Due::Now(tick) => Some(record(Progress { handled, sending: Some(tick) })),
                _ if self.plan.is_stored && self.plan.is_over(now) => {
                    Some(Record { disable: true, ..record(Progress { handled, sending: None }) })
                }
                _ if self.progress.is_none() => Some(record(Progress { handled, sending: None })),
                _ => None,
            },
        }
    }

    fn recorded(&mut self, record: &Record) {
        self.progress = record.progress;
        self.stage = match (record.disable, record.progress.and_then(|progress| progress.sending)) {
            (true, _) => Stage::Done,
            (false, Some(tick)) => Stage::claimed(tick, false),
            (false, None) => Stage::Idle,
        };
    }
}

impl Ticker {
    /// Takes over where the predecessor stopped.
    pub(super) fn new(plans: HashMap<String, Plan>, progress: &HashMap<String, Progress>) -> Self {
        let gone = progress.keys().filter(|entry| !plans.contains_key(*entry)).cloned().collect();
        let job = |(entry, plan): (String, Plan)| {
            let progress = progress.get(&entry).copied();
            (entry, Job::new(plan, progress))
        };
        Self { jobs: plans.into_iter().map(job).collect(), gone }
    }

    /// The entries have changed; what is known of those that stay, stays.
    pub(super) fn change(&mut self, mut plans: HashMap<String, Plan>) {
        let mut gone = Vec::new();
        self.jobs.retain(|entry, job| match plans.remove(entry) {
            Some(plan) => {
                job.plan = plan;
                if job.stage == Stage::Done {
                    job.stage = Stage::Idle;
                }
                true
            }
            None => {
                gone.push(entry.clone());
                false
            }
        });
        self.gone.retain(|entry| !plans.contains_key(entry));
        self.gone.append(&mut gone);
        self.jobs.extend(plans.into_iter().map(|(entry, plan)| (entry, Job::new(plan, None))));
    }

    /// What the store has to know now: what was sent, then what is about to be.
    pub(super) fn records(&self, now: DateTime<Utc>) -> Vec<Record> {
        let forgotten = |entry: &String| Record { entry: entry.clone(), progress: None, sent_at: None, disable: false };
        let mut records: Vec<_> = self.gone.iter().map(forgotten).collect();
        let (mut sent, mut claims) = (Vec::new(), Vec::new());
        for record in self.jobs.iter().filter_map(|(entry, job)| job.record(entry, now)) {
            let claimed = record.progress.and_then(|progress| progress.sending);
            match claimed {
                Some(tick) => claims.push((tick, record)),
                None => sent.push(record),
            }
        }
        claims.sort_by_key(|(tick, _)| *tick);
        records.append(&mut sent);
        records.extend(claims.into_iter().take(MAX_CLAIMS).map(|(_, record)| record));
        records
    }

    /// The store knows.
    pub(super) fn recorded(&mut self, records: &[Record]) {
        for record in records {
            self.gone.retain(|gone| *gone != record.entry);
            if let Some(job) = self.jobs.get_mut(&record.entry) {
                job.recorded(record);
            }
        }
    }

    /// The ticks that are to be sent now, those first that failed least. They are on their way from here on.
    pub(super) fn take_claimed(&mut self, now: Instant) -> Vec<Tick> {
        let tick = |(entry, job): (&String, &Job)| match job.stage {
            Stage::Claimed { tick, again, failures, not_before } if not_before.is_none_or(|time| time <= now) => {
                Some(Tick { entry: entry.clone(), time: tick, again, failures })
            }
            _ => None,
        };
        let mut ticks: Vec<_> = self.jobs.iter().filter_map(tick).collect();
        ticks.sort_by_key(|tick| (tick.failures, tick.time));
        ticks.truncate(MAX_SENDING.saturating_sub(self.sending()));
        for tick in &ticks {
            if let Some(job) = self.jobs.get_mut(&tick.entry) {
                job.stage = Stage::Sending { tick: tick.time };
            }
        }
        ticks
    }

    fn sending(&self) -> usize {
        self.jobs.values().filter(|job| matches!(job.stage, Stage::Sending { .. })).count()
    }

    /// The broker has it.
    pub(super) fn sent(&mut self, tick: &Tick, at: DateTime<Utc>) {
        self.arrived(tick, Stage::Sent { tick: tick.time, at: Some(at) });
    }

    /// It can never be sent, and was not.
    pub(super) fn given_up(&mut self, tick: &Tick) {
        self.arrived(tick, Stage::Sent { tick: tick.time, at: None });
    }

    /// Nobody knows whether the broker has it. Its entry tries again, less often each time.
    pub(super) fn failed(&mut self, tick: &Tick, now: Instant) {
        let pause = RETRY_AFTER.saturating_mul(1 << tick.failures.min(10)).min(RETRY_AFTER_AT_MOST);
        let failures = tick.failures.saturating_add(1);
        self.arrived(tick, Stage::Claimed { tick: tick.time, again: true, failures, not_before: Some(now + pause) });
    }

    /// Unless the entry has gone meanwhile, or another of its name has come.
    fn arrived(&mut self, tick: &Tick, stage: Stage) {
        if let Some(job) = self.jobs.get_mut(&tick.entry)
            && job.stage == (Stage::Sending { tick: tick.time })
        {
            job.stage = stage;
        }
    }

    /// How long nothing is to be done; `None`: until the entries change.
    pub(super) fn pause(&self, now: DateTime<Utc>, instant: Instant) -> Option<Duration> {
        let is_full = self.sending() >= MAX_SENDING;
        let pause = |job: &Job| match job.stage {
            Stage::Idle => match job.plan.timetable.due(job.handled(now), now) {
                Due::Now(_) => Some(Duration::ZERO),
                Due::At(time) => Some((time - now).to_std().unwrap_or_default()),
                Due::Never => None,
            },
            // When one of those that are on their way arrives, its sender looks again.
            Stage::Sending { .. } => None,
            Stage::Claimed { .. } if is_full => None,
            Stage::Claimed { not_before, .. } => {
                Some(not_before.map_or(Duration::ZERO, |time| time.saturating_duration_since(instant)))
            }
            Stage::Sent { .. } => Some(Duration::ZERO),
            Stage::Done => None,
        };
        self.jobs.values().filter_map(pause).min()
    }
}

#[cfg(test)]
#[path = "ticker_tests.rs"]
mod tests;
