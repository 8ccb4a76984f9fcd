//! Celery's built-in tasks (`celery/app/builtins.py`), which every worker knows.

use std::sync::Arc;

use chrono::TimeDelta;

use super::registry::{BodyFuture, Registered};
use super::run::Run;
use super::unlock;
use crate::app::UNLOCK;
use crate::canvas::{Canvas, Signature};
use crate::protocol::json::elements;
use crate::protocol::{Json, JsonError, RawJson};
use crate::result::Published;
use crate::task::{Failure, TaskError, TaskOptions};

pub(super) type Answer = Result<RawJson, TaskError>;

/// All of them.
pub(super) fn all() -> Vec<Registered> {
    vec![
        builtin("celery.map", |run| Box::pin(map(run, wrapped))),
        builtin("celery.starmap", |run| Box::pin(map(run, |item| Ok(item.clone())))),
        builtin("celery.accumulate", |run| Box::pin(async move { accumulate(&run) })),
        builtin("celery.chunks", |run| Box::pin(async move { publish(&run, chunks(&run)?, Vec::new()).await })),
        builtin("celery.group", |run| Box::pin(group(run))),
        builtin("celery.chord", |run| Box::pin(chord(run))),
        Registered::new(UNLOCK, unlock::OPTIONS, Box::new(|run| Box::pin(unlock::chord_unlock(run)))),
        builtin("celery.backend_cleanup", |run| Box::pin(backend_cleanup(run))),
    ]
}

fn builtin(name: &str, body: fn(Arc<Run>) -> BodyFuture) -> Registered {
    Registered::new(name, TaskOptions::DEFAULT, Box::new(body))
}

/// Runs the body of a task for each item, one after the other, as a part of this task.
async fn map(run: Arc<Run>, args: fn(&RawJson) -> Result<RawJson, JsonError>) -> Answer {
    let name = signature(&run)?.task;
    let task = run.shared().registry.get(&name);
    let task = Arc::clone(task.ok_or_else(|| TaskError::Fail(Failure::celery("NotRegistered", [name])))?);
    let mut results = vec![b'['];
    for item in items(&run)? {
        let args = args(&item).map_err(|error| wrong(&error.to_string()))?;
        if elements(&args).is_none() {
            return Err(wrong("argument after * must be an iterable"));
        }
        if results.len() > 1 {
            results.push(b',');
        }
        let result = task.run(run.part(&task, args)).await?;
        results.extend_from_slice(result.as_bytes());
    }
    results.push(b']');
    RawJson::parse(results).map_err(|error| wrong(&error.to_string()))
}

/// An item as the only argument.
fn wrapped(item: &RawJson) -> Result<RawJson, JsonError> {
    RawJson::parse([b"[", item.as_bytes(), b"]"].concat())
}

/// All its arguments, or one of them: what a task answers that was replaced with a group.
fn accumulate(run: &Run) -> Answer {
    let index = match run.request.kwargs.to_tree().get("index") {
        None | Some(Json::Null) => return Ok(run.request.args.clone()),
        Some(Json::Int(index)) => *index,
        Some(_) => return Err(wrong("index must be an integer")),
    };
    let args = elements(&run.request.args).unwrap_or_default();
    // A negative index counts from the end.
    let place = if index < 0 { index + args.len() as i128 } else { index };
    let found = usize::try_from(place).ok().and_then(|place| args.into_iter().nth(place));
    found.ok_or_else(|| TaskError::Fail(Failure::builtin("IndexError", "tuple index out of range")))
}

fn chunks(run: &Run) -> Result<Canvas, TaskError> {
    let size = match argument(run, 2, "n").map(|size| size.to_tree()) {
        Some(Json::Int(size)) => usize::try_from(size).ok(),
        _ => None,
    };
    let size = size.ok_or_else(|| wrong("n must be a positive integer"))?;
    Ok(Canvas::chunks_of(&signature(run)?, &items(run)?.iter().map(RawJson::to_tree).collect::<Vec<_>>(), size))
}

async fn group(run: Arc<Run>) -> Answer {
    let tasks = tree(&run, 0, "tasks").unwrap_or(Json::List(Vec::new()));
    let mut group = Signature::new("celery.group").kwarg("tasks", tasks);
    group.subtask_type = Some("group".to_owned());
    if let Some(id) = tree(&run, 2, "group_id") {
        group.set_option("task_id", id);
    }
    let canvas = Canvas::from_json(&group.to_json()).map_err(|error| wrong(&error.to_string()))?;
    publish(&run, canvas, partial(tree(&run, 3, "partial_args"))).await
}

async fn chord(run: Arc<Run>) -> Answer {
    let mut chord = Signature::new("celery.chord")
        .kwarg("header", tree(&run, 0, "header").unwrap_or(Json::List(Vec::new())))
        .kwarg("body", tree(&run, 1, "body").unwrap_or(Json::Null));
    chord.subtask_type = Some("chord".to_owned());
    let canvas = Canvas::from_json(&chord.to_json()).map_err(|error| wrong(&error.to_string()))?;
    publish(&run, canvas, partial(tree(&run, 2, "partial_args"))).await
}

/// Deletes the results that have expired. What is not deleted today is deleted tomorrow.
async fn backend_cleanup(run: Arc<Run>) -> Answer {
    let backend = run.app().backend();
    if let Some(expires) = backend.expires().and_then(|expires| TimeDelta::from_std(expires).ok())
        && let Some(older_than) = crate::clock::now().checked_sub_signed(expires)
    {
        let deleted = backend.cleanup(older_than).await;
        let deleted = deleted.map_err(|error| TaskError::Fail(Failure::from_error(&error)))?;
        tracing::info!(deleted, "expired results deleted");
    }
    Ok(RawJson::NULL)
}

/// Answers where the result will be, as Celery stores a result.
async fn publish(run: &Run, canvas: Canvas, arguments: Vec<Json>) -> Answer {
    let published = run.app().publish_with(canvas, &arguments).await;
    let published: Published = published.map_err(|error| TaskError::Fail(Failure::from_error(&error)))?;
    let mut text = Vec::new();
    published.tuple().write(&mut text);
    RawJson::parse(text).map_err(|error| wrong(&error.to_string()))
}

fn partial(arguments: Option<Json>) -> Vec<Json> {
    match arguments {
        Some(Json::List(arguments)) => arguments,
        _ => Vec::new(),
    }
}

fn signature(run: &Run) -> Result<Signature, TaskError> {
    let json = tree(run, 0, "task").ok_or_else(|| wrong("missing 1 required positional argument: 'task'"))?;
    Signature::from_json(&json).map_err(|error| wrong(&error.to_string()))
}

fn items(run: &Run) -> Result<Vec<RawJson>, TaskError> {
    argument(run, 1, "it").as_ref().and_then(elements).ok_or_else(|| wrong("'it' must be a list"))
}

pub(super) fn tree(run: &Run, place: usize, name: &str) -> Option<Json> {
    argument(run, place, name).map(|argument| argument.to_tree())
}

/// An argument that may be given by its place or by its name.
pub(super) fn argument(run: &Run, place: usize, name: &str) -> Option<RawJson> {
    let named = crate::protocol::json::entries(&run.request.kwargs)?.into_iter().find(|(key, _)| key == name);
    named.map(|(_, value)| value).or_else(|| elements(&run.request.args)?.into_iter().nth(place))
}

pub(super) fn wrong(message: &str) -> TaskError {
    TaskError::Fail(Failure::builtin("TypeError", message))
}
