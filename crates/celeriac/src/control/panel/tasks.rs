//! What the worker knows and holds: `active`, `reserved`, `scheduled`, `query_task`, `registered`.

use std::sync::Arc;

use super::arguments::Arguments;
use super::{Answer, Node, info, json};
use crate::protocol::{Json, repr};
use crate::worker::{Phase, Registered, Run};

pub(super) fn active(node: &Node, arguments: &Arguments) -> Answer {
    let safe = arguments.truth("safe");
    listed(node, Phase::Active, |run| info::of(run, safe))
}

pub(super) fn reserved(node: &Node, _: &Arguments) -> Answer {
    listed(node, Phase::Reserved, |run| info::of(run, false))
}

pub(super) fn scheduled(node: &Node, _: &Arguments) -> Answer {
    listed(node, Phase::Scheduled, info::scheduled)
}

fn listed(node: &Node, phase: Phase, show: impl Fn(&Run) -> Json) -> Answer {
    let runs = node.state.runs(&[phase]);
    Ok(json::list(runs.iter().map(|run: &Arc<Run>| show(run)))).into()
}

/// Those of the tasks that are here, with where they stand.
pub(super) fn query_task(node: &Node, arguments: &Arguments) -> Answer {
    let found = node.state.find_all(&arguments.texts("ids").into_iter().collect());
    let shown = found.iter().map(|run| {
        let told = Json::List(vec![info::state(run.phase()).into(), info::of(run, false)]);
        (run.request.id.clone(), told)
    });
    Ok(json::object(shown)).into()
}

/// `DEFAULT_TASK_INFO_ITEMS`
const DEFAULT_ITEMS: [&str; 3] = ["exchange", "routing_key", "rate_limit"];

/// The names of the tasks, each with what it has of some attributes: `proj.add [rate_limit=10/m]`.
pub(super) fn registered(node: &Node, arguments: &Arguments) -> Answer {
    let mut items = arguments.texts("taskinfoitems");
    if items.is_empty() {
        items = DEFAULT_ITEMS.map(str::to_owned).into();
    }
    let builtins = arguments.truth("builtins");
    let mut tasks: Vec<_> = node.registry.tasks().collect();
    tasks.retain(|task| builtins || !task.name.starts_with("celery."));
    tasks.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(json::list(tasks.into_iter().map(|task| described(task, &items)))).into()
}

fn described(task: &Registered, items: &[String]) -> String {
    let fields: Vec<_> = items.iter().filter_map(|item| Some(format!("{item}={}", attribute(task, item)?))).collect();
    if fields.is_empty() { task.name.clone() } else { format!("{} [{}]", task.name, fields.join(" ")) }
}

/// An attribute of Celery's `Task`, as Python prints it; `None` if it has none.
fn attribute(task: &Registered, name: &str) -> Option<String> {
    if let Some(told) = task.told(name) {
        return told;
    }
    let options = &task.options;
    let limits = task.limits();
    let flag = |value: bool| Some(if value { "True" } else { "False" }.to_owned());
    let seconds = |value: Option<std::time::Duration>| value.map(python_seconds);
    match name {
        "name" => Some(task.name.clone()),
        "rate_limit" => task.rate_limit().map(|limit| limit.to_string()),
        "queue" => options.queue.map(str::to_owned),
        "priority" => options.priority.map(|priority| priority.to_string()),
        "max_retries" => options.max_retries.map(|count| count.to_string()),
        "default_retry_delay" => Some(python_seconds(options.default_retry_delay)),
        "retry_backoff" => seconds(options.retry_backoff),
        "retry_backoff_max" => Some(python_seconds(options.retry_backoff_max)),
        "retry_jitter" => flag(options.retry_jitter),
        "time_limit" => seconds(limits.hard),
        "soft_time_limit" => seconds(limits.soft),
        "expires" => seconds(options.expires),
        "acks_late" => flag(options.acks_late),
        "acks_on_failure_or_timeout" => flag(options.acks_on_failure_or_timeout),
        "acks_on_failure" => flag(options.acknowledges_failure()),
        "acks_on_timeout" => flag(options.acknowledges_timeout()),
        // Celery has None where nothing is said.
        "reject_on_worker_lost" => options.reject_on_worker_lost.then(|| "True".to_owned()),
        "ignore_result" => flag(options.ignore_result),
        "store_errors_even_if_ignored" => flag(options.store_errors_even_if_ignored),
        "track_started" => flag(options.track_started),
        "send_events" | "typing" => flag(true),
        "serializer" => Some("json".to_owned()),
        _ => None,
    }
}

/// Whole seconds as an integer.
fn python_seconds(duration: std::time::Duration) -> String {
    if duration.subsec_nanos() == 0 { duration.as_secs().to_string() } else { repr::float(duration.as_secs_f64()) }
}
