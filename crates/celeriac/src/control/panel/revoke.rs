//! `revoked`, `revoke`, `terminate`, `revoke_by_stamped_headers`.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout};

use super::arguments::Arguments;
use super::{Answer, Exception, Node, Reply, json, python, quoted, signals};
use crate::backend::{BackendError, StoredResult};
use crate::protocol::{Json, ResultMeta, Revocation, State, Value};
use crate::worker::{Phase, Remembered, Run, shared_values};

/// Tasks that are marked in the result backend at once.
const MARKS_AT_ONCE: usize = 64;
/// How long the reply waits until all are marked. Who asks waits for a second; the rest is marked afterwards.
const MARK_PATIENCE: Duration = Duration::from_millis(500);

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
    let mut ids: BTreeSet<String> = arguments.texts("task_id").into_iter().collect();
    let (asked, now) = (ids.len(), Instant::now());
    let remembered = node.state.revoke(ids.iter().map(String::as_str), now);
    if remembered.refused > 0 {
        ids.retain(|id| node.state.is_id_revoked(id, now));
    }
    // Told now, so that a task which begins meanwhile is terminated too; a wrong signal is told after the marks, as
    // Celery's order has it.
    let text = if terminate {
        signals::number(arguments.get("signal")).map(|signal| terminated(node, &ids, signal))
    } else {
        tracing::info!(ids = ids.len(), "tasks revoked");
        Ok(format!("tasks {} flagged as revoked", set(&ids)))
    };
    let limit = node.state.revoke_limits().max;
    let marking = tokio::spawn(mark_all(node.clone(), ids));
    Answer::Later(Box::pin(async move {
        let _ = timeout(MARK_PATIENCE, marking).await;
        text.map(|text| told(&text, &format!("{asked} tasks"), remembered, limit))
    }))
}

/// The answer to a revocation: an error if not all of it is remembered.
fn told(text: &str, asked: &str, remembered: Remembered, limit: usize) -> Json {
    let Remembered { new, refused, forgotten } = remembered;
    let limit = format!("a worker remembers {limit} (REVOKES_MAX)");
    match (refused, forgotten) {
        (0, 0) => json::ok(text),
        (0, forgotten) => json::ok(&format!("{text}; {forgotten} that were revoked before are forgotten: {limit}")),
        (refused, _) => json::error(&format!("of {asked} {new} are flagged as revoked and {refused} are not: {limit}")),
    }
}

/// Terminates those of the tasks that are here.
fn terminated(node: &Node, ids: &BTreeSet<String>, signal: i32) -> String {
    let runs = node.state.find_all(ids);
    for run in &runs {
        tracing::info!(id = run.request.id, signal, "task terminated");
        run.cancellation.terminate(signal);
    }
    let terminated: BTreeSet<&str> = runs.iter().map(|run| run.request.id.as_str()).collect();
    if terminated.is_empty() {
        return "terminate: tasks unknown".to_owned();
    }
    format!("terminate: {}", terminated.into_iter().collect::<Vec<_>>().join(", "))
}

/// Marks all, as far as the result backend can be reached.
async fn mark_all(node: Node, mut ids: BTreeSet<String>) {
    for run in node.state.find_all(&ids).iter().filter(|run| matches!(run.phase(), Phase::Active | Phase::Ended)) {
        ids.remove(&run.request.id);
    }
    let marks = stream::iter(ids).map(|id| {
        let node = node.clone();
        async move {
            let marked = mark(&node, &id).await;
            (id, marked)
        }
    });
    let mut marks = marks.buffer_unordered(MARKS_AT_ONCE);
    while let Some((id, marked)) = marks.next().await {
        let Err(error) = marked else { continue };
        tracing::warn!(id, %error, "task is not marked as revoked in the result backend");
        if matches!(error, BackendError::Unavailable { .. }) {
            return;
        }
    }
}

/// Stores REVOKED for a task that has not begun anywhere, so that who waits for it need not wait for its turn.
async fn mark(node: &Node, id: &str) -> Result<(), BackendError> {
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
    let mut remembered = Remembered::default();
    for (stamp, values) in &stamps {
        let Remembered { new, refused, .. } = node.state.revoke_stamps(stamp, &wire_values(values));
        remembered.new += new;
        remembered.refused += refused;
    }
    let text = terminated_by_stamps(node, arguments, &stamps, signal);
    let asked = format!("{} stamps", remembered.new + remembered.refused);
    Ok(told(&text, &asked, remembered, node.state.revoke_limits().max))
}

/// Terminates the tasks that carry the stamps, if that is asked for; replies in Celery's words.
fn terminated_by_stamps(node: &Node, arguments: &Arguments, stamps: &[(String, Json)], signal: i32) -> String {
    let shown = python(&Json::Object(stamps.to_vec()));
    if !arguments.truth("terminate") {
        return format!("headers {shown} flagged as revoked, but not terminated");
    }
    let mut terminated: Vec<(&str, BTreeSet<String>)> = Vec::new();
    for run in node.state.runs(&[Phase::Active]) {
        for (stamp, values) in stamps {
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
        return format!("headers {shown} were not terminated");
    }
    // Python's answer shows the type of its dictionary.
    let entries: Vec<_> =
        terminated.iter().map(|(stamp, values)| format!("{}: {{{}}}", quoted(stamp), joined(values))).collect();
    format!("headers defaultdict(<class 'set'>, {{{}}}) revoked", entries.join(", "))
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
