//! When the tasks of a schedule are due: pure, told the time.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::Crontab;

/// When a task is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At every multiple of this time since 1970, so that all beats agree on the ticks without talking to each other; of
    /// an entry with a start time, at every multiple since then.
    Every(Duration),
    /// By the clocks of a time zone.
    Crontab(Crontab, Tz),
    /// Once, at this time (django-celery-beat's `clocked`).
    Clocked(DateTime<Utc>),
}

/// What becomes of the ticks that were missed while no beat ran or no broker could be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// Forget them; wait for the next.
    Skip,
    /// Send the latest of them, as Celery does.
    #[default]
    Once,
    /// Send the latest of them, up to this many, in their order.
    UpTo(u32),
    /// Send every one of them.
    All,
}

/// With [`CatchUp::Skip`]: a tick this late is not missed yet, only late.
const GRACE: TimeDelta = TimeDelta::seconds(10);

/// A schedule with its first and last day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timetable {
    pub(super) schedule: Schedule,
    /// No tick is earlier.
    pub(super) start: Option<DateTime<Utc>>,
    /// Every tick is earlier.
    pub(super) end: Option<DateTime<Utc>>,
    pub(super) catch_up: CatchUp,
}

/// What is to be done about an entry now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send this tick, then look again: there may be more.
    Now(DateTime<Utc>),
    /// Nothing before this time.
    At(DateTime<Utc>),
    /// Nothing any more.
    Never,
}

impl Schedule {
    /// The first tick after a time; `None` if there is none any more.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(every) => multiple_after(*every, after.timestamp_micros(), 0),
            Self::Crontab(crontab, zone) => crontab.next_after(after, *zone),
            Self::Clocked(time) => Some(*time).filter(|time| *time > after),
        }
    }
}

/// The first multiple of a period since `origin`, in microseconds since 1970, that is after `after`.
fn multiple_after(every: Duration, after: i64, origin: i64) -> Option<DateTime<Utc>> {
    let period = i64::try_from(every.as_micros()).ok()?.max(1);
    let ticks = after.checked_sub(origin)?.div_euclid(period).checked_add(1)?;
    DateTime::from_timestamp_micros(ticks.checked_mul(period)?.checked_add(origin)?)
}

impl Timetable {
    /// The first tick after a time; `None` if there is none any more.
    pub(super) fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = match (self.start, &self.schedule) {
            (None, schedule) => schedule.next_after(after),
            (Some(start), schedule) => {
                let after = after.max(start - TimeDelta::microseconds(1));
                match schedule {
                    Schedule::Every(every) => {
                        multiple_after(*every, after.timestamp_micros(), start.timestamp_micros())
                    }
                    schedule => schedule.next_after(after),
                }
            }
        };
        next.filter(|next| self.end.is_none_or(|end| *next < end))
    }

    /// What of the ticks after `handled` is to be done at `now`.
    pub(super) fn due(&self, handled: DateTime<Utc>, now: DateTime<Utc>) -> Due {
        let missed = match self.catch_up {
            CatchUp::All => self.next_after(handled).filter(|tick| *tick <= now),
            CatchUp::Once | CatchUp::UpTo(0) => self.latest(1, handled, now),
            CatchUp::UpTo(count) => self.latest(count as usize, handled, now),
            CatchUp::Skip => self.latest(1, handled, now).filter(|tick| now - *tick <= GRACE),
        };
        match missed {
            Some(tick) => Due::Now(tick),
            None => self.next_after(handled.max(now)).map_or(Due::Never, Due::At),
        }
    }

    /// The first of the latest `count` ticks after `handled` and up to `now`.
    fn latest(&self, count: usize, handled: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // From the near past to the far one: nobody walks through a year of missed minutes.
        let mut span = match self.schedule {
            Schedule::Every(every) => TimeDelta::from_std(every).unwrap_or(TimeDelta::MAX),
            Schedule::Crontab(..) | Schedule::Clocked(_) => TimeDelta::hours(1),
        };
        loop {
            let from = now.checked_sub_signed(span).filter(|from| *from > handled);
            let mut ticks = VecDeque::new();
            let mut next = self.next_after(from.unwrap_or(handled));
            while let Some(tick) = next.filter(|tick| *tick <= now) {
                ticks.push_back(tick);
                if ticks.len() > count {
                    ticks.pop_front();
                }
                next = self.next_after(tick);
            }
            if from.is_none() || ticks.len() == count {
                return ticks.front().copied();
            }
            span = span.checked_mul(2).unwrap_or(TimeDelta::MAX);
        }
    }
}

/// The id of the task that a tick sends: the same from every beat, so that a tick sent twice is one task.
pub(super) fn task_id(entry: &str, tick: DateTime<Utc>) -> String {
    /// The namespace of all ticks: uuid v5 of `beat.celeriac` among the names of the DNS.
    const NAMESPACE: Uuid = Uuid::from_u128(0x3e29_b00a_7ec4_56b5_976c_a112_5c45_b78b);
    Uuid::new_v5(&NAMESPACE, format!("{entry}@{}", tick.timestamp_micros()).as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn timetable(schedule: Schedule, catch_up: CatchUp) -> Timetable {
        Timetable { schedule, start: None, end: None, catch_up }
    }

    /// The ticks of every minute that are sent one after the other, and when to look again.
    fn due(catch_up: CatchUp, handled: &str, now: &str) -> (Vec<String>, Due) {
        let timetable = timetable(Schedule::Every(Duration::from_secs(60)), catch_up);
        let (mut handled, now, mut ticks) = (at(handled), at(now), Vec::new());
        loop {
            match timetable.due(handled, now) {
                Due::Now(tick) => {
                    ticks.push(tick.format("%H:%M").to_string());
                    handled = tick;
                }
                end => return (ticks, end),
            }
        }
    }

    #[test]
    fn ticks_of_an_interval_are_multiples_since_1970_whoever_asks() {
        let schedule = Schedule::Every(Duration::from_millis(1500));
        let tick = schedule.next_after(at("2026-01-01T00:00:00.4Z")).unwrap();
        assert_eq!(tick, at("2026-01-01T00:00:01.5Z"));
        assert_eq!(schedule.next_after(tick), Some(at("2026-01-01T00:00:03Z")));
        assert_eq!(Schedule::Every(Duration::ZERO).next_after(tick), Some(tick + TimeDelta::microseconds(1)));
    }

    #[test]
    fn missed_ticks_are_treated_as_the_policy_says() {
        for (catch_up, sent) in [
            (CatchUp::Skip, &[][..]),
            (CatchUp::Once, &["00:05"]),
            (CatchUp::UpTo(0), &["00:05"]),
            (CatchUp::UpTo(2), &["00:04", "00:05"]),
            (CatchUp::UpTo(9), &["00:03", "00:04", "00:05"]),
            (CatchUp::All, &["00:03", "00:04", "00:05"]),
        ] {
            let (ticks, then) = due(catch_up, "2026-01-01T00:02:00Z", "2026-01-01T00:05:30Z");
            assert_eq!(ticks, sent, "{catch_up:?}");
            assert_eq!(then, Due::At(at("2026-01-01T00:06:00Z")), "{catch_up:?}");
        }
    }

    #[test]
    fn the_latest_of_years_of_missed_ticks_is_found_without_walking_through_them() {
        for (crontab, latest) in [
            ("* * * * *", "2026-03-01T12:34:00Z"),
            ("0 5 * * *", "2026-03-01T05:00:00Z"),
            ("0 5 29 2 *", "2024-02-29T05:00:00Z"),
        ] {
            let timetable = timetable(Schedule::Crontab(crontab.parse().unwrap(), Tz::UTC), CatchUp::Once);
            let due = timetable.due(at("2000-01-01T00:00:00Z"), at("2026-03-01T12:34:56Z"));
            assert_eq!(due, Due::Now(at(latest)), "{crontab}");
        }
    }

    #[test]
    fn a_tick_that_is_only_a_moment_late_is_sent_under_every_policy() {
        for catch_up in [CatchUp::Skip, CatchUp::Once, CatchUp::UpTo(3), CatchUp::All] {
            let (ticks, _) = due(catch_up, "2026-01-01T00:04:00Z", "2026-01-01T00:05:01Z");
            assert_eq!(ticks, ["00:05"], "{catch_up:?}");
        }
    }

    #[test]
    fn before_its_next_tick_an_entry_has_nothing_to_do() {
        for catch_up in [CatchUp::Skip, CatchUp::Once, CatchUp::UpTo(3), CatchUp::All] {
            let (ticks, then) = due(catch_up, "2026-01-01T00:05:00Z", "2026-01-01T00:05:59Z");
            assert_eq!((ticks.as_slice(), then), ([].as_slice(), Due::At(at("2026-01-01T00:06:00Z"))));
        }
    }

    #[test]
    fn a_clocked_time_comes_once() {
        let timetable = timetable(Schedule::Clocked(at("2026-01-01T00:05:00Z")), CatchUp::Once);
        assert_eq!(
            timetable.due(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:04:00Z")),
            Due::At(at("2026-01-01T00:05:00Z"))
        );
        assert_eq!(
            timetable.due(at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z")),
            Due::Now(at("2026-01-01T00:05:00Z"))
        );
        assert_eq!(timetable.due(at("2026-01-01T00:05:00Z"), at("2026-02-01T00:00:00Z")), Due::Never);
    }

    #[test]
    fn ticks_begin_at_the_start_time_and_end_before_the_end() {
        let every = Timetable {
            start: Some(at("2026-01-01T00:00:20Z")),
            end: Some(at("2026-01-01T00:02:20Z")),
            ..timetable(Schedule::Every(Duration::from_secs(60)), CatchUp::All)
        };
        let ticks = |timetable: &Timetable| {
            let next = |after: &DateTime<Utc>| timetable.next_after(*after);
            let ticks = std::iter::successors(next(&at("2025-12-01T00:00:00Z")), next).take(5);
            ticks.map(|tick| tick.format("%H:%M:%S").to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ticks(&every), ["00:00:20", "00:01:20"]);
        let crontab = Schedule::Crontab("* * * * *".parse().unwrap(), Tz::UTC);
        assert_eq!(ticks(&Timetable { schedule: crontab, ..every }), ["00:01:00", "00:02:00"]);
    }

    #[test]
    fn a_tick_has_the_same_task_id_in_every_beat_and_no_other_tick_has_it() {
        let tick = at("2026-01-01T00:05:00Z");
        assert_eq!(task_id("renewals", tick), task_id("renewals", tick));
        assert_ne!(task_id("renewals", tick), task_id("renewals", tick + TimeDelta::seconds(1)));
        assert_ne!(task_id("renewals", tick), task_id("stranded", tick));
    }
}
