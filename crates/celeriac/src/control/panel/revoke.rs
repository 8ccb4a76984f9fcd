//! `revoked`, `revoke`, `terminate`, `revoke_by_stamped_headers`.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::arguments::Arguments;
use super::{Answer, Exception, Node, Reply, json, python, quoted, signals};
use crate::backend::{BackendError, StoredResult};
use crate::protocol::{Json, ResultMeta, Revocation, State, Value};
use crate::worker::{Phase, Run, shared_values};

/// More ids than anybody revokes in one command.
const MAX_IDS: usize = 10_000;

pub(super) fn revoked(node: &Node, _: &Arguments) -> Answer {
    Ok(json::list(node.state.revoked(Instant::now()))).into()
}

pub(super) fn revoke(node: &Node, arguments: &Arguments) -> Answer {
    revoke_all(node, arguments, arguments.truth("terminate"))
}

pub(super) fn terminate(node: &Node, arguments: &Arguments) -> Answer {
    revoke_all(node, arguments, true)
}

fn revoke_all(node: &Node, arguments: &Arguments, terminate: bool) -> Answer {
    let ids: BTreeSet<String> = arguments.texts("task_id").into_iter().take(MAX_IDS).collect();
    let now = Instant::now();
    for id in &ids {
        node.state.revoke(id, now);
    }
    // Told now, so that a task which begins meanwhile is terminated too; a wrong signal is told after the marks, as
    // Celery's order has it.
    let text = if terminate {
        signals::number(arguments.get("signal")).map(|signal| terminated(node, &ids, signal))
    } else {
        tracing::info!(ids = ids.len(), "tasks revoked");
        Ok(format!("tasks {} flagged as revoked", set(&ids)))
    };
    let node = node.clone();
    Answer::Later(Box::pin(async move {
        for id in &ids {
            if let Err(error) = mark(&node, id).await {
                tracing::warn!(id, %error, "task is not marked as revoked in the result backend");
                if matches!(error, BackendError::Unavailable { .. }) {
                    break;
                }
            }
        }
        text.map(|text| json::ok(&text))
    }))
}

/// Terminates those of the tasks that are here.
fn terminated(node: &Node, ids: &BTreeSet<String>, signal: i32) -> String {
    let mut terminated = Vec::new();
    for id in ids {
        if let Some(run) = node.state.find(id) {
            tracing::info!(id, signal, "task terminated");
            run.cancellation.terminate(signal);
            terminated.push(id.as_str());
        }
    }
    if terminated.is_empty() {
        return "terminate: tasks unknown".to_owned();
    }
    format!("terminate: {}", terminated.join(", "))
}

/// Stores REVOKED for a task that has not begun anywhere, so that who waits for it need not wait for its turn.
async fn mark(node: &Node, id: &str) -> Result<(), BackendError> {
    if node.state.find(id).is_some_and(|run| run.phase() == Phase::Active) {
        return Ok(());
    }
    let backend = node.app.backend();
    let state = match backend.get(id).await? {
        Some(stored) => match ResultMeta::from_json(&stored) {
            Ok(meta) => meta.state,
            // Whatever it is, it is not ours to overwrite.
            Err(_) => return Ok(()),
        },
        None => State::Pending,
    };
    if !matches!(state, State::Pending | State::Received | State::Retry | State::Rejected) {
        return Ok(());
    }
    let meta = ResultMeta::revoked(id, Revocation::Revoked, crate::clock::now());
    backend.store(&[StoredResult { task_id: id.to_owned(), meta: meta.to_json(), is_final: true }]).await
}

pub(super) fn revoke_by_stamped_headers(node: &Node, arguments: &Arguments) -> Answer {
    by_stamps(node, arguments).into()
}

fn by_stamps(node: &Node, arguments: &Arguments) -> Reply {
    let signal = signals::number(arguments.get("signal"))?;
    let stamps = stamps(arguments.get("headers"))?;
    for (stamp, values) in &stamps {
        node.state.revoke_stamps(stamp, wire_values(values));
    }
    let shown = python(&Json::Object(stamps.clone()));
    if !arguments.truth("terminate") {
        return Ok(json::ok(&format!("headers {shown} flagged as revoked, but not terminated")));
    }
    let mut terminated: Vec<(&str, BTreeSet<String>)> = Vec::new();
    for run in node.state.runs(&[Phase::Active]) {
        for (stamp, values) in &stamps {
            let shared = shared(&run, stamp, &wire_values(values));
            if shared.is_empty() {
                continue;
            }
            run.cancellation.terminate(signal);
            match terminated.iter_mut().find(|(name, _)| name == stamp) {
                Some((_, all)) => all.extend(shared),
                None => terminated.push((stamp.as_str(), shared)),
            }
        }
    }
    if terminated.is_empty() {
        return Ok(json::ok(&format!("headers {shown} were not terminated")));
    }
    // Python's answer shows the type of its dictionary.
    let entries: Vec<_> =
        terminated.iter().map(|(stamp, values)| format!("{}: {{{}}}", quoted(stamp), joined(values))).collect();
    Ok(json::ok(&format!("headers defaultdict(<class 'set'>, {{{}}}) revoked", entries.join(", "))))
}

/// The stamps and their values: an object, or a list of `key=value` as the command line sends it.
fn stamps(headers: Option<&Json>) -> Result<Vec<(String, Json)>, Exception> {
    match headers {
        Some(Json::Object(stamps)) => Ok(stamps.clone()),
        Some(Json::List(pairs)) => {
            let mut stamps: Vec<(String, Json)> = Vec::new();
            for pair in pairs.iter().filter_map(Json::as_str) {
                let Some((key, rest)) = pair.split_once('=') else {
                    return Err(Exception { kind: "IndexError", message: "list index out of range".to_owned() });
                };
                let value = rest.split('=').next().unwrap_or_default();
                stamps.retain(|(known, _)| known != key);
                stamps.push((key.to_owned(), value.into()));
            }
            Ok(stamps)
        }
        other => {
            let kind = super::arguments::python_type(other.unwrap_or(&Json::Null));
            Err(Exception { kind: "AttributeError", message: format!("'{kind}' object has no attribute 'items'") })
        }
    }
}

/// The values of a task's stamp that are among others, as text.
fn shared(run: &Run, stamp: &str, values: &[Value]) -> BTreeSet<String> {
    let Some(stamped) = run.request.stamps.get(stamp) else { return BTreeSet::new() };
    let shown = |value: &Value| match value {
        Value::Str(text) => quoted(text),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    shared_values(stamped, values).into_iter().map(shown).collect()
}

/// Values as they travel in headers; a single one may stand without a list.
fn wire_values(values: &Json) -> Vec<Value> {
    let one = |value: &Json| match value {
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Int(number) => i64::try_from(*number).map_or_else(|_| Value::Str(number.to_string()), Value::Int),
        Json::Str(text) => Value::Str(text.clone()),
        other => other.as_f64().map_or(Value::Null, Value::Float),
    };
    match values {
        Json::List(values) => values.iter().map(one).collect(),
        value => vec![one(value)],
    }
}

/// As Python shows a set of texts.
fn set(texts: &BTreeSet<String>) -> String {
    if texts.is_empty() {
        return "set()".to_owned();
    }
    let quoted: BTreeSet<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("{{{}}}", joined(&quoted))
}

fn joined(texts: &BTreeSet<String>) -> String {
    texts.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
