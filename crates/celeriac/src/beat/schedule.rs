//! When the tasks of a schedule are due: pure, told the time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::Crontab;

/// When a task is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At every multiple of this time since 1970, so that all beats agree on the ticks without talking to each other.
    Every(Duration),
    /// By the clocks of a time zone.
    Crontab(Crontab, Tz),
}

/// What becomes of the ticks that were missed while no beat ran or no broker could be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// Forget them; wait for the next.
    Skip,
    /// Send the latest of them, as Celery does.
    #[default]
    Once,
    /// Send every one of them.
    All,
}

/// With [`CatchUp::Skip`]: a tick this late is not missed yet, only late.
const GRACE: TimeDelta = TimeDelta::seconds(10);

/// What is to be done about an entry now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The ticks to send now, in order.
    pub(super) ticks: Vec<DateTime<Utc>>,
    /// The latest tick that is past, sent or not: what was handled up to.
    pub(super) handled: DateTime<Utc>,
    /// When to look again; `None`: never.
    pub(super) next: Option<DateTime<Utc>>,
}

/// How many missed ticks are sent in one go; the rest follow at once after them.
const MAX_AT_ONCE: usize = 1000;

impl Schedule {
    /// The first tick after a time; `None` if there is none any more.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(every) => {
                let period = i64::try_from(every.as_micros()).ok()?.max(1);
                let ticks = after.timestamp_micros().div_euclid(period).checked_add(1)?;
                DateTime::from_timestamp_micros(ticks.checked_mul(period)?)
            }
            Self::Crontab(crontab, zone) => crontab.next_after(after, *zone),
        }
    }

    /// A time from which it is not far to the latest tick: nobody walks through a year of missed minutes.
    fn shortly_before_latest(&self, handled: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let spans = match self {
            Self::Every(every) => vec![TimeDelta::from_std(*every * 2).unwrap_or(TimeDelta::MAX)],
            Self::Crontab(..) => [1, 24, 24 * 32, 24 * 366].map(TimeDelta::hours).to_vec(),
        };
        let starts = spans.into_iter().filter_map(|span| now.checked_sub_signed(span));
        let close = |start: &DateTime<Utc>| *start > handled && self.next_after(*start).is_some_and(|tick| tick <= now);
        starts.into_iter().find(close).unwrap_or(handled)
    }

    /// What of the ticks after `handled` is to be sent at `now`.
    pub(super) fn due(&self, catch_up: CatchUp, handled: DateTime<Utc>, now: DateTime<Utc>) -> Due {
        let from = match catch_up {
            CatchUp::All => handled,
            CatchUp::Skip | CatchUp::Once => self.shortly_before_latest(handled, now),
        };
        let mut ticks = Vec::new();
        let mut handled = handled;
        let mut next = self.next_after(from);
        while let Some(tick) = next.filter(|tick| *tick <= now) {
            handled = tick;
            match catch_up {
                CatchUp::All if ticks.len() == MAX_AT_ONCE => break,
                CatchUp::All => ticks.push(tick),
                CatchUp::Once => ticks = vec![tick],
                CatchUp::Skip if now - tick <= GRACE => ticks = vec![tick],
                CatchUp::Skip => ticks.clear(),
            }
            next = self.next_after(tick);
        }
        if let Some(last) = ticks.last().filter(|_| catch_up == CatchUp::All) {
            handled = *last;
        }
        Due { ticks, handled, next }
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

    fn due(catch_up: CatchUp, handled: &str, now: &str) -> (Vec<String>, String) {
        let schedule = Schedule::Every(Duration::from_secs(60));
        let due = schedule.due(catch_up, at(handled), at(now));
        let show = |time: &DateTime<Utc>| time.format("%H:%M").to_string();
        assert_eq!(due.next, Some(at("2026-01-01T00:06:00Z")));
        (due.ticks.iter().map(show).collect(), show(&due.handled))
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
        let (handled, now) = ("2026-01-01T00:02:00Z", "2026-01-01T00:05:30Z");
        assert_eq!(due(CatchUp::Skip, handled, now), (vec![], "00:05".into()));
        assert_eq!(due(CatchUp::Once, handled, now), (vec!["00:05".into()], "00:05".into()));
        let all = ["00:03", "00:04", "00:05"].map(String::from).to_vec();
        assert_eq!(due(CatchUp::All, handled, now), (all, "00:05".into()));
    }

    #[test]
    fn the_latest_of_years_of_missed_ticks_is_found_without_walking_through_them() {
        for (crontab, latest) in [
            ("* * * * *", "2026-03-01T12:34:00Z"),
            ("0 5 * * *", "2026-03-01T05:00:00Z"),
            ("0 5 29 2 *", "2024-02-29T05:00:00Z"),
        ] {
            let schedule = Schedule::Crontab(crontab.parse().unwrap(), Tz::UTC);
            let due = schedule.due(CatchUp::Once, at("2000-01-01T00:00:00Z"), at("2026-03-01T12:34:56Z"));
            assert_eq!(due.ticks, [at(latest)], "{crontab}");
        }
    }

    #[test]
    fn a_tick_that_is_only_a_moment_late_is_sent_under_every_policy() {
        for catch_up in [CatchUp::Skip, CatchUp::Once, CatchUp::All] {
            let (ticks, _) = due(catch_up, "2026-01-01T00:04:00Z", "2026-01-01T00:05:01Z");
            assert_eq!(ticks, ["00:05"], "{catch_up:?}");
        }
    }

    #[test]
    fn before_its_next_tick_an_entry_has_nothing_to_do() {
        for catch_up in [CatchUp::Skip, CatchUp::Once, CatchUp::All] {
            let (ticks, handled) = due(catch_up, "2026-01-01T00:05:00Z", "2026-01-01T00:05:59Z");
            assert_eq!((ticks.as_slice(), handled.as_str()), ([].as_slice(), "00:05"), "{catch_up:?}");
        }
    }

    #[test]
    fn a_long_backlog_is_sent_in_parts_and_none_is_left_out() {
        let schedule = Schedule::Every(Duration::from_secs(1));
        let (start, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T01:00:00Z"));
        let mut sent = Vec::new();
        let mut handled = start;
        loop {
            let due = schedule.due(CatchUp::All, handled, now);
            assert!(due.ticks.len() <= MAX_AT_ONCE);
            sent.extend(due.ticks);
            handled = due.handled;
            if due.next.is_none_or(|next| next > now) {
                break;
            }
        }
        let expected: Vec<_> = (1..=3600).map(|second| start + TimeDelta::seconds(second)).collect();
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_tick_has_the_same_task_id_in_every_beat_and_no_other_tick_has_it() {
        let tick = at("2026-01-01T00:05:00Z");
        assert_eq!(task_id("renewals", tick), task_id("renewals", tick));
        assert_ne!(task_id("renewals", tick), task_id("renewals", tick + TimeDelta::seconds(1)));
        assert_ne!(task_id("renewals", tick), task_id("stranded", tick));
    }
}
