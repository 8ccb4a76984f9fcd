//! A task as operators see it (`celery/worker/request.py`, `Request.info`).

use super::json;
use crate::context::Request;
use crate::protocol::repr::REDACTED;
use crate::protocol::{Json, RawJson, format_time, repr};
use crate::worker::{Phase, Registered, Run};

/// The task; with `safe` its arguments are text.
pub(super) fn of(run: &Run, safe: bool) -> Json {
    let request = &run.request;
    let begun = run.begun();
    let (args, kwargs) = arguments(&run.task, request);
    let (args, kwargs) = if safe { (text(&args, repr::args), text(&kwargs, repr::kwargs)) } else { (args, kwargs) };
    let delivery = &request.delivery_info;
    json::object([
        ("id", request.id.as_str().into()),
        ("name", request.name().into()),
        ("args", args),
        ("kwargs", kwargs),
        ("type", request.task.as_str().into()),
        ("hostname", (&*request.hostname).into()),
        ("time_start", begun.map_or(Json::Null, |begun| Json::from(begun.time.timestamp_micros() as f64 / 1e6))),
        ("acknowledged", (begun.is_some() && !run.task.options.acks_late).into()),
        (
            "delivery_info",
            json::object([
                ("exchange", delivery.exchange.as_str().into()),
                ("routing_key", delivery.routing_key.as_str().into()),
                ("priority", u32::from(delivery.priority).into()),
                ("redelivered", delivery.redelivered.into()),
            ]),
        ),
        // All bodies run in this process.
        ("worker_pid", json::optional(begun.map(|_| run.shared().pid))),
    ])
}

/// A task that waits for its time.
pub(super) fn scheduled(run: &Run) -> Json {
    json::object([
        ("eta", json::optional(run.request.eta.as_ref().map(format_time))),
        // That of Celery's timer, not the message's.
        ("priority", 6_u32.into()),
        ("request", of(run, false)),
    ])
}

/// Where it stands, in Celery's words. A task that waits for its rate limit is in none of its sets.
pub(super) fn state(phase: Phase) -> &'static str {
    match phase {
        Phase::Active => "active",
        Phase::Reserved => "reserved",
        Phase::Scheduled => "scheduled",
        Phase::Limited | Phase::Ended => "ready",
    }
}

/// The arguments, those hidden that the task or the sender of the message hides.
fn arguments(task: &Registered, request: &Request) -> (Json, Json) {
    let (args, kwargs) = (&request.args, &request.kwargs);
    let (shown_args, shown_kwargs) = (request.argsrepr.as_deref(), request.kwargsrepr.as_deref());
    if task.redacted.is_empty() {
        return (repr::visible(shown_args, args), repr::visible(shown_kwargs, kwargs));
    }
    let args = if shown_args == Some(&repr::redacted_args(args, task.fields, task.redacted)) {
        redacted_args(task, args)
    } else {
        repr::visible(shown_args, args)
    };
    let kwargs = if shown_kwargs == Some(&repr::redacted(kwargs, task.redacted)) {
        redacted_kwargs(task, kwargs)
    } else {
        repr::visible(shown_kwargs, kwargs)
    };
    (args, kwargs)
}

fn redacted_args(task: &Registered, args: &RawJson) -> Json {
    let mut args = args.to_tree();
    if let Json::List(args) = &mut args {
        let hidden = task.fields.iter().map(|field| task.redacted.contains(field));
        for (argument, _) in args.iter_mut().zip(hidden).filter(|(_, hidden)| *hidden) {
            *argument = REDACTED.into();
        }
    }
    args
}

fn redacted_kwargs(task: &Registered, kwargs: &RawJson) -> Json {
    let mut kwargs = kwargs.to_tree();
    if let Json::Object(kwargs) = &mut kwargs {
        for (_, argument) in kwargs.iter_mut().filter(|(name, _)| task.redacted.contains(&name.as_str())) {
            *argument = REDACTED.into();
        }
    }
    kwargs
}

/// Arguments as text; what stands for hidden ones is text already.
fn text(arguments: &Json, repr: fn(&RawJson) -> String) -> Json {
    match arguments {
        Json::Str(text) => text.as_str().into(),
        arguments => repr(&raw(arguments)).into(),
    }
}

fn raw(value: &Json) -> RawJson {
    let mut text = Vec::new();
    value.write(&mut text);
    // It was read from a message, so it is not nested too deeply.
    RawJson::parse(text).unwrap_or(RawJson::NULL)
}
