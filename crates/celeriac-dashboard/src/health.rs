//! Whether all is well, in one sentence, and if not, why. Pure.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::history::Status;
use crate::memory::{Picture, Presence};
use crate::show::{counted, duration};

/// A vanished worker is told of for so long, in seconds: after that it is history.
const RECENTLY: f64 = 3_600.0;
/// Fewer failures than this in the last minutes may be anything.
const FEW_FAILURES: u64 = 5;
/// A failure in so many is too many.
const FAILS_TOO_OFTEN: u64 = 10;
/// Fewer messages than this may be any burst.
const SHORT_QUEUE: u64 = 100;
/// An entry that is overdue for longer has been missed.
const LATE: Duration = Duration::from_secs(60);
/// Minutes that are looked at for what goes on now.
const NOW: usize = 5;

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Concern {
    pub(crate) says: String,
    /// The page that tells more, below the mount point.
    pub(crate) page: &'static str,
}

/// Everything that is not well, the worst first.
pub(crate) fn concerns(picture: &Picture, cluster: &Cluster, connected: bool, now: f64) -> Vec<Concern> {
    let mut concerns = Vec::new();
    let mut say = |says: String, page| concerns.push(Concern { says, page });
    if !connected {
        let since = picture.gaps.back().map_or(now, |(since, _)| *since);
        say(format!("there has been no connection to the broker for {}", duration(now - since)), "/queues");
    }
    workers(picture, cluster, now, &mut say);
    queues(cluster, now, &mut say);
    failures(picture, now, &mut say);
    if let Some(schedule) = &cluster.schedule {
        match &schedule.leader {
            Err(_) => say("nobody knows who leads the schedule: its store does not say".to_owned(), "/schedule"),
            Ok(None) if !schedule.entries.is_empty() => say("no beat leads the schedule".to_owned(), "/schedule"),
            Ok(_) if schedule.lag() > LATE => {
                let late = duration(schedule.lag().as_secs_f64());
                say(format!("the schedule is late by {late}"), "/schedule");
            }
            Ok(_) => {}
        }
    }
    if picture.last_dropped.is_some_and(|at| now - at < 300.0) {
        say(format!("{} came too fast and were not counted", counted(picture.dropped, "event", "events")), "/tasks");
    }
    concerns
}

/// What is not well with the history.
pub(crate) fn of_history(status: &Status, lost: u64) -> Vec<Concern> {
    let trouble = status.trouble.as_ref().map(|trouble| format!("the history is not written: {trouble}"));
    let lost = (lost > 0).then(|| {
        format!(
            "{} not in the history as they ended: they came faster than it is written",
            counted(lost, "task is", "tasks are")
        )
    });
    trouble.into_iter().chain(lost).map(|says| Concern { says, page: "/tasks" }).collect()
}

/// Neither is one heard, nor does one reply.
pub(crate) fn has_no_worker(picture: &Picture, cluster: &Cluster, now: f64) -> bool {
    let is_there = |presence| matches!(presence, Presence::Here | Presence::Late(_));
    answering(cluster, now) == 0 && !picture.workers.all().iter().any(|worker| is_there(worker.presence(now)))
}

fn answering(cluster: &Cluster, now: f64) -> usize {
    cluster.workers.values().filter(|facts| now - facts.at < 30.0).count()
}

fn workers(picture: &Picture, cluster: &Cluster, now: f64, say: &mut impl FnMut(String, &'static str)) {
    let known = picture.workers.all();
    let of = |is: fn(Presence, f64) -> bool| known.iter().filter(|worker| is(worker.presence(now), now)).count() as u64;
    let here = of(|presence, _| presence == Presence::Here);
    let late = of(|presence, _| matches!(presence, Presence::Late(_)));
    let vanished = of(|presence, now| matches!(presence, Presence::Vanished(at) if now - at < RECENTLY));
    if here + late == 0 && answering(cluster, now) == 0 {
        say("no worker is there".to_owned(), "/workers");
    }
    if late > 0 {
        say(format!("{} late with heartbeats", counted(late, "worker is", "workers are")), "/workers");
    }
    if vanished > 0 {
        say(
            format!("{} in the last hour", counted(vanished, "worker has vanished", "workers have vanished")),
            "/workers",
        );
    }
}

fn queues(cluster: &Cluster, now: f64, say: &mut impl FnMut(String, &'static str)) {
    if cluster.queues_error.is_some() {
        say("the broker does not say how full the queues are".to_owned(), "/queues");
    }
    for (name, depth) in &cluster.queues {
        if depth.ready > 0 && depth.consumers == 0 {
            let waiting = counted(depth.ready, "task waits", "tasks wait");
            say(format!("{waiting} in {name}, which no worker takes from"), "/queues");
        } else if depth.ready >= SHORT_QUEUE
            && let Some(before) = depth.ago(NOW as i64, now).filter(|before| depth.ready > before * 2)
        {
            let (before, ready) = (crate::show::number(before), crate::show::number(depth.ready));
            say(format!("{name} grows: {before} waited {NOW} minutes ago, {ready} now"), "/queues");
        }
    }
    if cluster.parked() > 0 {
        say(format!("{} parked", counted(cluster.parked(), "message is", "messages are")), "/parked");
    }
}

fn failures(picture: &Picture, now: f64, say: &mut impl FnMut(String, &'static str)) {
    let minutes = picture.minutes.hour(now);
    let recent = &minutes[minutes.len().saturating_sub(NOW)..];
    let failed: u64 = recent.iter().map(|minute| minute.failed).sum();
    let ended = failed + recent.iter().map(|minute| minute.succeeded).sum::<u64>();
    if failed >= FEW_FAILURES && failed * FAILS_TOO_OFTEN >= ended {
        let (failed, ended) = (crate::show::number(failed), crate::show::number(ended));
        say(format!("{failed} of {ended} tasks failed in the last {NOW} minutes"), "/tasks?state=FAILURE");
    }
}

/// Why a page about tasks has nothing to show, and what to do; `None`: something was heard.
pub(crate) fn silence(picture: &Picture, cluster: &Cluster, connected: bool, now: f64) -> Option<&'static str> {
    if picture.last_task_event.is_some() {
        return None;
    }
    let is_there = picture.workers.all().iter().any(|worker| worker.presence(now) == Presence::Here);
    let has_run = picture.workers.all().iter().any(|worker| worker.told.processed.is_some_and(|count| count > 0));
    Some(if !connected {
        "There is no connection to the broker, so nothing is heard. It is being made again; look at the broker."
    } else if !is_there && cluster.workers.is_empty() {
        "No worker was heard of. Start one with the same broker and virtual host, Python's as celery worker -E."
    } else if has_run {
        "Workers are there and have run tasks, but have told of none since this page listens. If tasks run now, their events \
         are off: start the workers with -E, or switch them on for now with celery control enable_events."
    } else {
        "Workers are there, and no task was sent since this page listens. If some were, their events are off: start the \
         workers with -E, or switch them on for now with celery control enable_events."
    })
}

#[cfg(test)]
mod tests {
    use celeriac::beat::store::Lease;
    use celeriac::protocol::event::{Event, EventBody, WorkerStatus};

    use super::*;
    use crate::cluster::{Depth, Planned, Schedule};
    use crate::memory::Bounds;

    const NOW_IS: f64 = 1_000_000.0;

    fn event(body: EventBody<'static>) -> Event<'static> {
        Event { hostname: "w".into(), utcoffset: 0.0, pid: 1, clock: Some(1), timestamp: NOW_IS, body }
    }

    fn with_worker() -> Picture {
        let mut picture = Picture::new(Bounds::default(), NOW_IS);
        let (sw_ident, sw_ver, sw_sys) = ("x".into(), "1".into(), "Linux".into());
        let status = WorkerStatus { freq: 2.0, active: None, processed: None, loadavg: None, sw_ident, sw_ver, sw_sys };
        picture.hear(event(EventBody::WorkerHeartbeat(status)), NOW_IS);
        picture
    }

    fn queue(ready: u64, consumers: u64, parked: u64) -> Cluster {
        let depth = Depth { exists: true, ready, consumers, parked: Some(parked), ..Depth::default() };
        Cluster { queues: [("q".to_owned(), depth)].into(), ..Cluster::default() }
    }

    fn says(picture: &Picture, cluster: &Cluster, connected: bool, now: f64) -> Vec<String> {
        concerns(picture, cluster, connected, now).into_iter().map(|concern| concern.says).collect()
    }

    #[test]
    fn each_thing_that_is_not_well_is_said_and_nothing_else() {
        let (none, picture) = (Picture::new(Bounds::default(), NOW_IS), with_worker());
        let said = |cluster: &Cluster| says(&picture, cluster, true, NOW_IS);
        assert_eq!(said(&Cluster::default()), [""; 0]);
        assert_eq!(said(&queue(7, 1, 0)), [""; 0]);
        assert_eq!(says(&none, &Cluster::default(), true, NOW_IS), ["no worker is there"]);
        assert_eq!(said(&queue(7, 0, 0)), ["7 tasks wait in q, which no worker takes from"]);
        assert_eq!(said(&queue(0, 0, 1)), ["1 message is parked"]);
        assert_eq!(says(&picture, &Cluster::default(), true, NOW_IS + 7.0), ["1 worker is late with heartbeats"]);
        assert_eq!(
            says(&picture, &Cluster::default(), true, NOW_IS + 700.0),
            ["no worker is there", "1 worker has vanished in the last hour"]
        );
        let mut lost = with_worker();
        lost.is_connected(false, NOW_IS - 60.0);
        let said = says(&lost, &Cluster::default(), false, NOW_IS);
        assert_eq!(said, ["there has been no connection to the broker for 1 min"]);
    }

    #[test]
    fn a_queue_grows_when_it_has_more_than_twice_what_it_had() {
        for (before, ready, grows) in [(10, 99, false), (60, 120, false), (59, 120, true)] {
            let mut cluster = queue(ready, 1, 0);
            let minute = (NOW_IS / 60.0) as i64 - 5;
            cluster.queues.get_mut("q").unwrap().trend.push_back((minute, before));
            assert_eq!(!says(&with_worker(), &cluster, true, NOW_IS).is_empty(), grows, "{before} {ready}");
        }
    }

    #[test]
    fn failures_are_said_when_they_are_many_and_one_in_ten() {
        for (failed, succeeded, said) in [(4, 0, false), (5, 0, true), (5, 45, true), (5, 46, false)] {
            let mut picture = with_worker();
            for number in 0..failed + succeeded {
                let uuid = number.to_string().into();
                let body = if number < failed {
                    EventBody::TaskFailed { uuid, exception: "E()".into(), traceback: None }
                } else {
                    EventBody::TaskSucceeded { uuid, result: "1".into(), runtime: 0.1 }
                };
                picture.hear(event(body), NOW_IS);
            }
            let concerns = concerns(&picture, &Cluster::default(), true, NOW_IS);
            assert_eq!(!concerns.is_empty(), said, "{failed} of {}: {concerns:?}", failed + succeeded);
        }
    }

    #[test]
    fn a_schedule_needs_one_who_leads_and_is_in_time() {
        let at = chrono::DateTime::from_timestamp(1_000_000, 0).unwrap();
        let lease = Lease { beat: "a".to_owned(), term: 1 };
        for (leader, late, said) in [
            (Ok(Some(lease.clone())), 0, &[][..]),
            (Ok(Some(lease)), 61, &["the schedule is late by 1 min 1 s"]),
            (Ok(None), 0, &["no beat leads the schedule"]),
            (Err("away".to_owned()), 0, &["nobody knows who leads the schedule: its store does not say"]),
        ] {
            let next = Some(at - chrono::TimeDelta::seconds(late));
            let entry = Planned { name: "e".to_owned(), task: None, rule: None, enabled: true, last: None, next };
            let schedule = Some(Schedule { leader, entries: vec![entry], at });
            let cluster = Cluster { schedule, ..Cluster::default() };
            assert_eq!(says(&with_worker(), &cluster, true, NOW_IS), said);
        }
    }

    #[test]
    fn who_sees_nothing_is_told_why() {
        let none = Picture::new(Bounds::default(), NOW_IS);
        let why = |picture: &Picture, connected| silence(picture, &Cluster::default(), connected, NOW_IS);
        assert!(why(&none, false).unwrap().starts_with("There is no connection"));
        assert!(why(&none, true).unwrap().starts_with("No worker"));
        assert!(why(&with_worker(), true).unwrap().contains("-E"));
        let mut picture = with_worker();
        picture.hear(event(EventBody::TaskStarted { uuid: "a".into() }), NOW_IS);
        assert_eq!(why(&picture, true), None);
    }
}
