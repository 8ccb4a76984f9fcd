//! What workers tell each other and the world: `enable_events`, `disable_events`, `heartbeat`, `clock`, `hello`,
//! `election`.

use tokio::time::Instant;

use super::arguments::Arguments;
use super::{Answer, Node, json};
use crate::protocol::Json;
use crate::protocol::event::EventBody;
use crate::worker::heartbeat_on_demand;

pub(super) fn enable_events(node: &Node, _: &Arguments) -> Answer {
    let changed = node.events.set_announces_tasks(true);
    Ok(json::ok(if changed { "task events enabled" } else { "task events already enabled" })).into()
}

pub(super) fn disable_events(node: &Node, _: &Arguments) -> Answer {
    let changed = node.events.set_announces_tasks(false);
    Ok(json::ok(if changed { "task events disabled" } else { "task events already disabled" })).into()
}

pub(super) fn heartbeat(node: &Node, _: &Arguments) -> Answer {
    let node = node.clone();
    Answer::Later(Box::pin(async move {
        node.events.publish(heartbeat_on_demand()).await;
        Ok(Json::Null)
    }))
}

pub(super) fn clock(node: &Node, _: &Arguments) -> Answer {
    Ok(json::object([("clock", node.clock.value().into())])).into()
}

/// A worker that starts tells what it knows and is told the same. To itself it says nothing.
pub(super) fn hello(node: &Node, arguments: &Arguments) -> Answer {
    let from = arguments.text("from_node").unwrap_or_default();
    if from == &*node.hostname {
        return Ok(Json::Null).into();
    }
    tracing::info!(from, "sync with another worker");
    adopt_revoked(node, arguments.get("revoked"));
    let revoked = json::list(node.state.revoked_to_tell(Instant::now()));
    Ok(json::object([("revoked", revoked), ("clock", node.clock.forward().into())])).into()
}

/// Adopts revoked ids: a list, or the keys of an object as workers up to Celery 5.5 send them.
pub(in crate::control) fn adopt_revoked(node: &Node, revoked: Option<&Json>) {
    let now = Instant::now();
    let ids: Vec<&str> = match revoked {
        Some(Json::List(ids)) => ids.iter().filter_map(Json::as_str).collect(),
        Some(Json::Object(ids)) => ids.iter().map(|(id, _)| id.as_str()).collect(),
        _ => return,
    };
    if !ids.is_empty() {
        node.state.revoke(ids, now);
    }
}

/// All workers are asked to agree on one of them; nobody is answered.
pub(super) fn election(node: &Node, arguments: &Arguments) -> Answer {
    let (id, topic) = (arguments.text("id").unwrap_or_default(), arguments.text("topic").unwrap_or_default());
    let action = arguments.get("action").cloned().unwrap_or(Json::Null);
    if !node.settings.gossip {
        return Answer::Silence;
    }
    node.elections.lock().begin(id, Instant::now());
    let fields = [("id", id.into()), ("topic", topic.into()), ("action", action), ("cver", Json::Int(1))];
    let fields = fields.map(|(name, value): (&str, Json)| (name.to_owned(), value)).into();
    let node = node.clone();
    Answer::Later(Box::pin(async move {
        node.events.publish(EventBody::Other { kind: "worker-elect".into(), fields }).await;
        Ok(Json::Null)
    }))
}
