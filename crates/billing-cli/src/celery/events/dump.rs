//! One line for each event, as `celery events --dump` writes it (`celery/events/dumper.py`).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use celeriac::broker::BrokerError;
use celeriac::clock::{self, LamportClock};
use celeriac::events::Receiver;
use celeriac::protocol::{Json, RawJson};
use chrono::DateTime;

use crate::celery::failure::Failure;
use crate::celery::options::GlobalOptions;
use crate::celery::output::Output;
use crate::celery::python;

/// How long an unreachable broker is left alone: so much longer each time (`kombu`, `ensure_connection`).
const STEP: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);

pub(super) async fn run(global: &GlobalOptions) -> Result<(), Failure> {
    let out = global.output();
    out.line("-> evdump: starting capture...")?;
    let mut pause = Duration::ZERO;
    let broker = loop {
        match global.connect().await {
            Ok(broker) => break broker,
            Err(error @ BrokerError::Timeout { .. }) => {
                pause = (pause + STEP).min(LONGEST);
                let (address, seconds) = (address(&global.broker_url()), pause.as_secs());
                out.line(&format!("-> Cannot connect to {address}: {error}.\nTrying again in {seconds}.00 seconds\n"))?;
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(Failure::remote("events", &error)),
        }
    };
    let receiver = super::listen(&broker).await.map_err(|error| Failure::remote("events", &error))?;
    print(receiver, out).await
}

/// Where it is, as kombu writes it: with stars for the password.
fn address(urls: &str) -> String {
    let first = urls.split(';').next().unwrap_or_default();
    let Ok(mut url) = url::Url::parse(first) else { return first.to_owned() };
    if url.password().is_some() {
        // Only an address that cannot have one refuses.
        let _ = url.set_password(Some("**"));
    }
    url.to_string()
}

async fn print(mut receiver: Receiver, out: Output) -> Result<(), Failure> {
    let mut dumper = Dumper::default();
    while let Some(message) = receiver.message().await {
        let now = clock::unix_seconds();
        match RawJson::parse(message.body) {
            Ok(body) => {
                for line in events(&body).into_iter().filter_map(|event| dumper.line(event, now)) {
                    out.line(&line)?;
                }
            }
            Err(error) => tracing::debug!(%error, "event dropped"),
        }
    }
    Ok(())
}

/// The events of a message: one, or a list of them.
fn events(body: &RawJson) -> Vec<Vec<(String, Json)>> {
    let events = match body.to_tree() {
        Json::List(events) => events,
        event => vec![event],
    };
    let fields = |event| match event {
        Json::Object(fields) => Some(fields),
        _ => None,
    };
    events.into_iter().filter_map(fields).collect()
}

/// How many tasks are remembered by what they are.
const TASKS: usize = 4095;

/// Writes events as lines. It remembers tasks, because only the first event of each tells its name and arguments.
#[derive(Default)]
struct Dumper {
    clock: LamportClock,
    tasks: HashMap<String, String>,
    order: VecDeque<String>,
}

impl Dumper {
    /// The line of an event; `None` if it lacks what every event has.
    fn line(&mut self, mut fields: Vec<(String, Json)>, now: f64) -> Option<String> {
        self.settle_clock(&mut fields);
        fields.push(("local_received".to_owned(), Json::Number(now.to_string())));
        let timestamp = timestamp(take(&mut fields, "timestamp")?.as_f64()?)?;
        let kind = take(&mut fields, "type")?.as_str()?.to_lowercase();
        let hostname = python::text(&take(&mut fields, "hostname")?);
        let Some(about) = kind.strip_prefix("task-") else {
            return Some(format!("{hostname} [{timestamp}] {}{}", human(&kind), told(&fields, "")));
        };
        let uuid = python::text(&take(&mut fields, "uuid")?);
        let task = if matches!(about, "received" | "sent") {
            let mut text = |name| take(&mut fields, name).map_or("None".to_owned(), |value| python::text(&value));
            let task = format!("{}({uuid}) args={} kwargs={}", text("name"), text("args"), text("kwargs"));
            self.remember(uuid, task.clone());
            task
        } else {
            self.tasks.get(&uuid).cloned().unwrap_or_default()
        };
        Some(format!("{hostname} [{timestamp}] {}{}", human(&kind), told(&fields, &format!(" {task}"))))
    }

    /// Workers say their logical clock. Clients have none that means anything, and others may leave it out.
    fn settle_clock(&self, fields: &mut Vec<(String, Json)>) {
        let is_sent = fields.iter().any(|(name, value)| name == "type" && value.as_str() == Some("task-sent"));
        let told = fields.iter().find(|(name, _)| name == "clock").map(|(_, value)| value.clone());
        let clock = match told {
            Some(Json::Int(clock)) if !is_sent => {
                self.clock.adjust(u64::try_from(clock).unwrap_or(0));
                return;
            }
            _ if is_sent => {
                let clock = self.clock.value().max(1) - 1;
                self.clock.adjust(clock);
                clock
            }
            _ => self.clock.forward(),
        };
        take(fields, "clock");
        fields.push(("clock".to_owned(), Json::Int(clock.into())));
    }

    fn remember(&mut self, uuid: String, task: String) {
        if self.tasks.insert(uuid.clone(), task).is_none() {
            self.order.push_back(uuid);
        }
        if self.order.len() > TASKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.tasks.remove(&oldest);
        }
    }
}

/// The fields by name, behind what the event is about.
fn told(fields: &[(String, Json)], about: &str) -> String {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("{name}={}", python::text(value))).collect();
    let colon = if fields.is_empty() { "" } else { ":" };
    format!("{colon}{about} {}", fields.join(", "))
}

fn take(fields: &mut Vec<(String, Json)>, name: &str) -> Option<Json> {
    let at = fields.iter().position(|(field, _)| field == name)?;
    Some(fields.remove(at).1)
}

/// As Python prints a time in UTC: `2026-11-22 19:06:15.837975+00:00`.
fn timestamp(seconds: f64) -> Option<String> {
    // Rounded as Python does, the fraction alone: times a million, the whole has no room for its last digits.
    let micros = (seconds.fract() * 1e6).round_ties_even() as i64;
    let time =
        DateTime::from_timestamp_micros((seconds.trunc() as i64).saturating_mul(1_000_000).saturating_add(micros))?;
    let format =
        if time.timestamp_subsec_micros() == 0 { "%Y-%m-%d %H:%M:%S+00:00" } else { "%Y-%m-%d %H:%M:%S%.6f+00:00" };
    Some(time.format(format).to_string())
}

fn human(kind: &str) -> String {
    match kind {
        "worker-offline" => "shutdown".to_owned(),
        "worker-online" => "started".to_owned(),
        "worker-heartbeat" => "heartbeat".to_owned(),
        other => other.replace('-', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(messages: &[&str]) -> Vec<String> {
        let mut dumper = Dumper::default();
        let bodies = messages.iter().flat_map(|message| events(&RawJson::parse((*message).to_owned()).unwrap()));
        bodies.filter_map(|event| dumper.line(event, 1_795_374_376.553_913_8)).collect()
    }

    #[test]
    fn a_heartbeat_is_dumped_as_celery_dumps_it() {
        let body = r#"{"hostname": "w2@cap", "utcoffset": 0.0, "pid": 21557, "clock": 177, "freq": 2.0, "active": 0, "processed": 0, "loadavg": [2.04, 1.42, 0.88], "sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux", "timestamp": 1795374376.552226, "type": "worker-heartbeat"}"#;
        assert_eq!(
            lines(&[body]),
            [
                "w2@cap [2026-11-22 19:06:16.552226+00:00] heartbeat: active=0, clock=177, freq=2.0, loadavg=[2.04, 1.42, 0.88], \
              local_received=1795374376.5539138, pid=21557, processed=0, sw_ident=py-celery, sw_sys=Linux, sw_ver=5.7.0, \
              utcoffset=0.0"
            ]
        );
    }

    #[test]
    fn the_events_of_a_task_go_on_telling_what_it_is() {
        let body = r#"[{"hostname":"w","clock":5,"uuid":"a","name":"t","args":"(1,)","kwargs":"{}","eta":null,"timestamp":1795374376,"type":"task-received"},
                       {"hostname":"w","uuid":"a","timestamp":1795374376,"type":"task-started"},
                       {"hostname":"w","uuid":"b","clock":9,"timestamp":1795374376,"type":"task-started"}]"#;
        assert_eq!(
            lines(&[body]),
            [
                "w [2026-11-22 19:06:16+00:00] task received: t(a) args=(1,) kwargs={} clock=5, eta=None, local_received=1795374376.5539138",
                "w [2026-11-22 19:06:16+00:00] task started: t(a) args=(1,) kwargs={} clock=7, local_received=1795374376.5539138",
                "w [2026-11-22 19:06:16+00:00] task started:  clock=9, local_received=1795374376.5539138",
            ]
        );
    }

    #[test]
    fn what_is_no_event_is_left_out() {
        for body in ["5", "[1]", "{}", r#"{"type":"worker-online"}"#, r#"{"type":5,"hostname":"w","timestamp":1}"#] {
            assert_eq!(lines(&[body]), Vec::<String>::new(), "{body}");
        }
        let sent = r#"{"type":"task-sent","hostname":"gen1@h","timestamp":1,"uuid":"a"}"#;
        assert_eq!(
            lines(&[sent]),
            [
                "gen1@h [1970-01-01 00:00:01+00:00] task sent: None(a) args=None kwargs=None clock=0, local_received=1795374376.5539138"
            ]
        );
    }
}
