//! `celery.chord_unlock`: looks whether all parts of a chord are there, and sends its body (`celery/app/builtins.py`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::builtins::{Answer, argument, tree, wrong};
use super::run::Run;
use super::workflow::Ending;
use crate::backend::{ChordPart, CompleteChord};
use crate::canvas::Signature;
use crate::protocol::{Json, RawJson, ResultMeta, ResultTuple};
use crate::result::{leaves, write_group};
use crate::task::{Failure, TaskError, TaskOptions};

/// `result_chord_retry_interval`
const INTERVAL: Duration = Duration::from_secs(1);
/// The first of the pauses before that; each is twice as long as the one before. Celery has none of these.
const SHORTEST: Duration = Duration::from_millis(100);
/// How many results are asked for at once.
const AT_ONCE: usize = 32;

/// A worker that dies while it sends the body must not leave the chord as it is, so another one does it again.
pub(super) const OPTIONS: TaskOptions = TaskOptions {
    acks_late: true,
    ignore_result: true,
    max_retries: None,
    default_retry_delay: INTERVAL,
    ..TaskOptions::DEFAULT
};

pub(super) async fn chord_unlock(run: Arc<Run>) -> Answer {
    let group_id = tree(&run, 0, "group_id").and_then(|id| id.as_str().map(str::to_owned));
    let group_id = group_id.ok_or_else(|| wrong("missing 1 required positional argument: 'group_id'"))?;
    let body = tree(&run, 1, "callback").ok_or_else(|| wrong("missing 1 required positional argument: 'callback'"))?;
    let body = Signature::from_json(&body).map_err(|error| wrong(&error.to_string()))?;
    let header = header(&run, group_id)?;
    let ending = Ending::of(&run);
    match parts(&run, &header).await {
        Ok(Some(parts)) => {
            let chord = CompleteChord { parts, group: Some(write_group(&header)) };
            ending.unlock(&header.id, chord, &body).await;
        }
        Ok(None) => return again(&run, &ending, &body, Failure::celery("Retry", Vec::<String>::new())).await,
        Err(cause) => return again(&run, &ending, &body, cause).await,
    }
    Ok(RawJson::NULL)
}

/// The group of the results that are waited for.
fn header(run: &Run, id: String) -> Result<ResultTuple, TaskError> {
    let Some(Json::List(results)) = tree(run, 4, "result") else { return Err(wrong("'result' must be a list")) };
    let results: Option<_> = results.iter().map(ResultTuple::from_json).collect();
    let children = results.ok_or_else(|| wrong("'result' must be a list of results"))?;
    Ok(ResultTuple { id, parent: None, children: Some(children) })
}

/// All parts; `None` while one is missing.
async fn parts(run: &Run, header: &ResultTuple) -> Result<Option<Vec<String>>, Failure> {
    let backend = run.app().backend();
    let mut ids = Vec::new();
    leaves(header, &mut ids);
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    let mut stored = stream::iter(ids).map(async |id| backend.get(&id).await).buffered(AT_ONCE);
    let mut parts = Vec::new();
    while let Some(meta) = stored.try_next().await.map_err(|error| Failure::from_error(&error))? {
        let Some(meta) = meta else { return Ok(None) };
        let ResultMeta { task_id, state, result, .. } =
            ResultMeta::from_json(&meta).map_err(|error| Failure::from_error(&error))?;
        if !state.is_ready() {
            return Ok(None);
        }
        let part = ChordPart { group_id: header.id.clone(), task_id, group_index: None, state, result };
        parts.push(part.to_json());
    }
    Ok(Some(parts))
}

/// Looks again later, unless it was said how often.
async fn again(run: &Run, ending: &Ending<'_>, body: &Signature, cause: Failure) -> Answer {
    let retries = run.request.retries;
    let most = match tree(run, 3, "max_retries") {
        Some(Json::Int(most)) => Some(most),
        _ => None,
    };
    if most.is_some_and(|most| i128::from(retries) >= most) {
        ending.give_up(body, format!("chord_unlock could not be retried: {}", cause.repr())).await;
        return Err(TaskError::Fail(cause));
    }
    let said = argument(run, 2, "interval").and_then(|interval| interval.to_tree().as_f64());
    let interval = said.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let usual = SHORTEST.saturating_mul(2_u32.saturating_pow(retries)).min(INTERVAL);
    Err(TaskError::retry_in(interval.unwrap_or(usual), cause))
}
