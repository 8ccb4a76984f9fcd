//! Sentry's cron monitors: each tick of the timetable checks in when it is sent and when its task has ended, so that Sentry
//! tells when one is missed, fails, or does not end.
//!
//! Messages say their monitor in the headers of Sentry's own integration of Celery (`monitor_beat_tasks`), which a Python
//! worker with that integration checks in by, too.

use std::time::Duration;

use celeriac::SendOptions;
use celeriac::beat::{Beat, DueTick, Schedule};
use sentry::protocol::{
    Envelope, EnvelopeItem, MonitorCheckIn, MonitorCheckInStatus, MonitorConfig, MonitorIntervalUnit, MonitorSchedule,
};
use uuid::Uuid;

/// The name of the monitor.
const SLUG: &str = "sentry-monitor-slug";
const CHECK_IN_ID: &str = "sentry-monitor-check-in-id";

/// How late a tick may come, and how long its task may take, in minutes.
const MARGIN: u64 = 5;
const MAX_RUNTIME: u64 = 30;

/// The shortest interval that Sentry watches.
const MINUTE: Duration = Duration::from_secs(60);

/// The same beat, whose ticks check in if errors are reported.
pub(crate) fn watched(beat: Beat) -> Beat {
    if sentry::Hub::main().client().is_none() {
        return beat;
    }
    beat.before_send(begin)
}

/// A tick is about to be sent.
fn begin(tick: &DueTick<'_>, options: SendOptions) -> SendOptions {
    let (Some(config), Ok(id)) = (config(tick.schedule), Uuid::parse_str(tick.task_id)) else { return options };
    check_in(tick.entry, id, MonitorCheckInStatus::InProgress, Some(config));
    options.header(SLUG, tick.entry).header(CHECK_IN_ID, id.simple().to_string())
}

/// The task of a tick has ended so ([`TaskEnd::as_str`](celeriac::worker::TaskEnd::as_str)).
pub(super) fn end(monitor: &str, task_id: &str, outcome: &str) {
    let status = match outcome {
        "succeeded" | "ignored" => MonitorCheckInStatus::Ok,
        "failed" | "rejected" | "revoked" => MonitorCheckInStatus::Error,
        // It goes on.
        _ => return,
    };
    if let Ok(id) = Uuid::parse_str(task_id) {
        check_in(monitor, id, status, None);
    }
}

fn check_in(monitor: &str, id: Uuid, status: MonitorCheckInStatus, monitor_config: Option<MonitorConfig>) {
    let hub = sentry::Hub::main();
    let Some(client) = hub.client() else { return };
    let environment = client.options().environment.as_deref().map(str::to_owned);
    let monitor_slug = monitor.to_owned();
    let check_in =
        MonitorCheckIn { check_in_id: id, monitor_slug, status, environment, duration: None, monitor_config };
    client.send_envelope(Envelope::from(EnvelopeItem::MonitorCheckIn(check_in)));
}

/// When Sentry is to expect the ticks. `None`: it cannot watch them.
fn config(schedule: &Schedule) -> Option<MonitorConfig> {
    let (schedule, timezone) = match schedule {
        Schedule::Every(every) if *every < MINUTE => return None,
        Schedule::Every(every) => {
            let value = every.as_secs().div_ceil(MINUTE.as_secs());
            (MonitorSchedule::Interval { value, unit: MonitorIntervalUnit::Minute }, None)
        }
        Schedule::Crontab(crontab, zone) => {
            (MonitorSchedule::from_crontab(&crontab.to_string()).ok()?, Some(zone.name().to_owned()))
        }
        Schedule::Clocked(_) => return None,
    };
    Some(MonitorConfig {
        schedule,
        checkin_margin: Some(MARGIN),
        max_runtime: Some(MAX_RUNTIME),
        timezone,
        failure_issue_threshold: None,
        recovery_threshold: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_expects_the_ticks_of_its_entry() {
        let every = |seconds| config(&Schedule::Every(Duration::from_secs(seconds)));
        let minutes = |value| MonitorSchedule::Interval { value, unit: MonitorIntervalUnit::Minute };
        assert_eq!(every(15), None, "Sentry counts minutes");
        assert_eq!(every(60).unwrap().schedule, minutes(1));
        assert_eq!(every(90).unwrap().schedule, minutes(2));
        let crontab = Schedule::Crontab("5 1 * * *".parse().unwrap(), chrono_tz::Europe::Moscow);
        let config = config(&crontab).unwrap();
        assert_eq!(config.schedule, MonitorSchedule::Crontab { value: "5 1 * * *".to_owned() });
        assert_eq!(config.timezone.as_deref(), Some("Europe/Moscow"));
    }
}
