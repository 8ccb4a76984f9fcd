//! Hears what other workers announce about themselves (`celery/worker/consumer/gossip.py`): keeps the logical clock up to
//! date, knows who is there, and takes part in elections.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::election::Candidate;
use super::panel::Node;
use crate::canvas::Canvas;
use crate::clock;
use crate::events::{Receiver, State};
use crate::protocol::Json;
use crate::protocol::event::{Event, EventBody};

/// How often the dead are looked for, and elections that nobody has decided.
const EVERY: Duration = Duration::from_secs(1);
/// How long a broker that refuses is left alone.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// Listens until `stop`.
pub(crate) async fn listen(node: Node, stop: CancellationToken) {
    while let Some(received) = stop.run_until_cancelled(Receiver::workers(node.app.broker())).await {
        match received {
            Ok(receiver) => {
                if stop.run_until_cancelled(hear(&node, receiver)).await.is_none() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "no gossip"),
        }
        stop.run_until_cancelled(sleep(RETRY_EVERY)).await;
    }
}

/// Hears events until the receiver ends.
async fn hear(node: &Node, mut receiver: Receiver) {
    // Tasks are none of its business.
    let mut others = State::with_max_tasks(1);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            events = receiver.events() => {
                let Some(events) = events else { return };
                for event in events {
                    on_event(node, &mut others, &event).await;
                }
            }
            _ = ticks.tick() => {
                for hostname in others.bury(clock::unix_seconds()) {
                    tracing::info!(hostname, "missed heartbeat from another worker");
                }
                let overdue = node.elections.lock().overdue(Instant::now());
                for (id, elected) in overdue {
                    act(node, &id, elected).await;
                }
            }
        }
    }
}

async fn on_event(node: &Node, others: &mut State, event: &Event<'_>) {
    match &event.body {
        EventBody::Other { kind, fields } if kind == "worker-elect" => {
            let Some(id) = field(fields, "id").and_then(Json::as_str) else { return };
            node.elections.lock().candidate(id, candidate(event, fields), Instant::now());
            let fields = vec![("id".to_owned(), id.into())];
            node.events.publish(EventBody::Other { kind: "worker-elect-ack".into(), fields }).await;
        }
        EventBody::Other { kind, fields } if kind == "worker-elect-ack" => {
            let Some(id) = field(fields, "id").and_then(Json::as_str) else { return };
            let alive = others.alive_workers(clock::unix_seconds()).count();
            let elected = node.elections.lock().acknowledged(id, &event.hostname, alive);
            if let Some(elected) = elected {
                act(node, id, elected).await;
            }
        }
        _ if event.hostname != *node.hostname => {
            node.clock.adjust(event.clock.unwrap_or(0));
            others.apply(event, clock::unix_seconds());
        }
        _ => {}
    }
}

fn candidate(event: &Event<'_>, fields: &[(String, Json)]) -> Candidate {
    Candidate {
        clock: event.clock.unwrap_or(0),
        process: format!("{}.{}", event.hostname, event.pid),
        topic: field(fields, "topic").and_then(Json::as_str).unwrap_or_default().to_owned(),
        action: field(fields, "action").cloned().unwrap_or(Json::Null),
    }
}

fn field<'a>(fields: &'a [(String, Json)], name: &str) -> Option<&'a Json> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Does what the elected one has to do, if that is us.
async fn act(node: &Node, id: &str, elected: Candidate) {
    if elected.process != format!("{}.{}", node.hostname, node.pid) {
        tracing::info!(id, leader = elected.process, "another worker was elected");
        return;
    }
    tracing::info!(id, "this worker was elected");
    if elected.topic != "task" {
        tracing::error!(topic = elected.topic, "unknown election topic");
        return;
    }
    let sent = match Canvas::from_json(&elected.action) {
        Ok(canvas) => node.app.publish(canvas).await.map(drop).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = sent {
        tracing::error!(id, error, "the task of an election could not be sent");
    }
}
