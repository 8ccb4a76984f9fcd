//! Alerts for sites without a monitoring system: what is wrong is told to a webhook once when it begins, and once when it is
//! over.

mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use celeriac::clock::unix_seconds;
use celeriac::protocol::State;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::interval;
use url::Url;

use crate::Core;
use crate::cluster::Cluster;
use crate::memory::{Filter, Picture};
use crate::show::{counted, duration, number};

/// How often it is looked whether something is wrong.
const EVERY: Duration = Duration::from_secs(1);
/// Failures of so many minutes are counted.
const MINUTES: usize = 5;
/// Notices that wait while the webhook does not answer. The oldest are kept: they tell when it began.
const WAITING: usize = 100;

/// What is told to a webhook, and when.
#[derive(Clone, Debug)]
pub struct Alerts {
    /// Where notices are posted to, as JSON.
    pub url: Url,
    /// Goes along as `Authorization: Bearer …`.
    pub token: Option<SecretString>,
    /// More messages than this wait in a queue.
    pub queue_longer: Option<u64>,
    /// A task has waited longer than this in a queue. Known of tasks whose senders announce them.
    pub queue_older: Option<Duration>,
    /// More tasks than this have failed in the last five minutes.
    pub failures: Option<u64>,
    /// No worker is there.
    pub no_worker: bool,
    /// No beat leads, though there is a schedule.
    pub no_leader: bool,
    /// Only what has lasted so long is told; it is over when it has been over for so long.
    pub after: Duration,
}

impl Alerts {
    /// No worker and no beat leader for a minute; nothing else.
    #[must_use]
    pub fn to(url: Url) -> Self {
        Self {
            url,
            token: None,
            queue_longer: None,
            queue_older: None,
            failures: None,
            no_worker: true,
            no_leader: true,
            after: Duration::from_secs(60),
        }
    }
}

/// What may be wrong: the kind, and the queue that it is about.
type Subject = (&'static str, String);

/// Something began, or is over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    pub(crate) alert: &'static str,
    pub(crate) queue: Option<String>,
    pub(crate) is_over: bool,
    pub(crate) says: String,
    /// When it began, in seconds since 1970.
    pub(crate) since: f64,
}

/// What is wrong now, in words.
fn wrong(
    alerts: &Alerts,
    picture: &Picture,
    cluster: &Cluster,
    connected: bool,
    now: f64,
) -> BTreeMap<Subject, String> {
    let mut wrong = BTreeMap::new();
    let mut say = |alert, queue: &str, says: String| wrong.insert((alert, queue.to_owned()), says);
    if let Some(most) = alerts.queue_longer {
        for (queue, depth) in cluster.queues.iter().filter(|(_, depth)| depth.ready > most) {
            let waiting = counted(depth.ready, "message waits", "messages wait");
            say("queue_longer", queue, format!("{waiting} in {queue}, more than {}", number(most)));
        }
    }
    if let Some(longest) = alerts.queue_older {
        for (queue, since) in oldest(picture, now) {
            if now - since > longest.as_secs_f64() {
                let (waited, longest) = (duration(now - since), duration(longest.as_secs_f64()));
                say("queue_older", &queue, format!("a task has waited {waited} in {queue}, longer than {longest}"));
            }
        }
    }
    if let Some(most) = alerts.failures {
        let minutes = picture.minutes.hour(now);
        let failed = minutes.iter().rev().take(MINUTES).map(|minute| minute.failed).sum::<u64>();
        if failed > most {
            let tasks = counted(failed, "task has", "tasks have");
            say("failures", "", format!("{tasks} failed in {MINUTES} minutes, more than {}", number(most)));
        }
    }
    if alerts.no_worker && connected && crate::health::has_no_worker(picture, cluster, now) {
        say("no_worker", "", "no worker is there".to_owned());
    }
    let schedule = cluster.schedule.as_ref().filter(|schedule| alerts.no_leader && !schedule.entries.is_empty());
    if schedule.is_some_and(|schedule| matches!(schedule.leader, Ok(None))) {
        say("no_leader", "", "no beat leads the schedule".to_owned());
    }
    wrong
}

/// Since when the oldest task that is known to wait has been in each queue.
fn oldest(picture: &Picture, now: f64) -> BTreeMap<String, f64> {
    let mut oldest = BTreeMap::new();
    let waiting = Filter { state: State::Pending.to_string(), ..Filter::default() };
    for kept in picture.tasks.all(&waiting) {
        let eta = kept.task.eta.as_deref().and_then(|eta| chrono::DateTime::parse_from_rfc3339(eta).ok());
        let eta = eta.map_or(0.0, |eta| eta.timestamp_micros() as f64 / 1e6);
        if let (Some(queue), Some(sent)) = (&kept.task.queue, kept.task.sent)
            && eta <= now
        {
            let since = oldest.entry(queue.clone()).or_insert(f64::INFINITY);
            *since = f64::min(*since, sent.max(eta));
        }
    }
    oldest
}

/// What was told, and what is about to be.
#[derive(Debug, Default)]
struct Watch(BTreeMap<Subject, Phase>);

#[derive(Debug)]
struct Phase {
    began: f64,
    /// Since when it is otherwise than it was told.
    turned: f64,
    is_told: bool,
    is_wrong: bool,
    says: String,
}

impl Watch {
    /// What is to be told of what is wrong now.
    fn step(&mut self, wrong: BTreeMap<Subject, String>, after: Duration, now: f64) -> Vec<Notice> {
        for phase in self.0.values_mut() {
            phase.is_wrong = false;
        }
        for (subject, says) in wrong {
            let phase = self.0.entry(subject).or_insert_with(|| Phase {
                began: now,
                turned: now,
                is_told: false,
                is_wrong: true,
                says: String::new(),
            });
            (phase.is_wrong, phase.says) = (true, says);
        }
        let mut notices = Vec::new();
        self.0.retain(|(alert, queue), phase| {
            if phase.is_wrong == phase.is_told {
                phase.turned = now;
                return phase.is_told;
            }
            if now - phase.turned < after.as_secs_f64() {
                // What passes before it was told was nothing.
                return phase.is_wrong || phase.is_told;
            }
            notices.push(Notice {
                alert,
                queue: Some(queue.clone()).filter(|queue| !queue.is_empty()),
                is_over: phase.is_told,
                says: phase.says.clone(),
                since: phase.began,
            });
            phase.is_told = phase.is_wrong;
            phase.turned = now;
            phase.is_told
        });
        notices
    }
}

/// Looks until the dashboard is shut down.
pub(crate) fn start(core: &Arc<Core>, alerts: Alerts) {
    let (notices, waiting) = mpsc::channel(WAITING);
    let hook = webhook::Hook::new(&alerts, &core.title);
    tokio::spawn(core.stop.clone().run_until_cancelled_owned(look(Arc::clone(core), alerts, notices)));
    tokio::spawn(core.stop.clone().run_until_cancelled_owned(hook.tell(waiting)));
}

async fn look(core: Arc<Core>, alerts: Alerts, notices: mpsc::Sender<Notice>) {
    let mut watch = Watch::default();
    let mut ticks = interval(EVERY);
    loop {
        ticks.tick().await;
        let (now, connected) = (unix_seconds(), core.app.broker().health().connected);
        let wrong = wrong(&alerts, &core.picture.read(), &core.cluster.read(), connected, now);
        for notice in watch.step(wrong, alerts.after, now) {
            tracing::warn!(alert = notice.alert, queue = notice.queue, is_over = notice.is_over, "{}", notice.says);
            if let Err(error) = notices.try_send(notice) {
                tracing::error!(%error, "an alert is not told: too many wait for the webhook");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    fn step(watch: &mut Watch, wrong: &[&'static str], now: f64) -> Vec<(&'static str, bool)> {
        let wrong = wrong.iter().map(|alert| ((*alert, String::new()), format!("{alert} at {now}"))).collect();
        watch.step(wrong, AFTER, now).into_iter().map(|notice| (notice.alert, notice.is_over)).collect()
    }

    #[test]
    fn what_lasts_is_told_once_and_once_more_when_it_is_over() {
        let mut watch = Watch::default();
        assert_eq!(step(&mut watch, &["a"], 0.0), []);
        assert_eq!(step(&mut watch, &["a"], 9.0), []);
        assert_eq!(step(&mut watch, &["a"], 10.0), [("a", false)]);
        assert_eq!(step(&mut watch, &["a"], 100.0), []);
        assert_eq!(step(&mut watch, &[], 101.0), []);
        // It was not over.
        assert_eq!(step(&mut watch, &["a"], 105.0), []);
        assert_eq!(step(&mut watch, &[], 106.0), []);
        assert_eq!(step(&mut watch, &[], 114.0), []);
        assert_eq!(step(&mut watch, &[], 115.0), [("a", true)]);
        assert_eq!(step(&mut watch, &[], 200.0), []);
        assert!(watch.0.is_empty(), "{watch:?}");
    }

    #[test]
    fn what_passes_is_not_told() {
        let mut watch = Watch::default();
        for second in 0..100 {
            let wrong: &[_] = if second % 5 == 0 { &["a"] } else { &[] };
            assert_eq!(step(&mut watch, wrong, f64::from(second)), []);
        }
    }
}
