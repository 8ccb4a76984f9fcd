//! Stores results: together as long as the backend takes them, and apart those that it refuses.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Settlement, Stored, failed_after_all};
use crate::backend::{BackendError, ResultBackend, StoredResult};
use crate::protocol::ResultMeta;
use crate::task::Failure;
use crate::worker::awaited::Backoff;
use crate::worker::hooks::tell_unstored;
use crate::worker::live::stored;
use crate::worker::shared::Shared;

/// What the backend refuses now it may take soon, if it was full or somebody mends its permissions.
const AGAIN: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// So many times in a row a connection may end over the same question.
const FATAL: u32 = 3;
/// A server that closes the connection does so within this; one that says nothing is away.
const PROMPT: Duration = Duration::from_secs(1);

/// Finds out whose fault it is that a question has no answer. If the backend answers others meanwhile, it is that of the
/// question: some limits end the connection (`proto-max-bulk-len` of Redis).
#[derive(Default)]
pub(in crate::worker) struct Blame {
    fatal: u32,
}

impl Blame {
    /// A question that was asked then had no answer.
    pub(in crate::worker) async fn falls_on_the_question(
        &mut self,
        backend: &dyn ResultBackend,
        asked: Instant,
    ) -> bool {
        // A write that changes nothing: a server that only reads is of no use.
        let is_prompt = asked.elapsed() < PROMPT;
        let is_there = is_prompt && backend.forget(&Uuid::new_v4().to_string()).await.is_ok();
        self.fatal = if is_there { self.fatal + 1 } else { 0 };
        self.fatal >= FATAL
    }
}

/// Stores the results of many, however long the backend cannot be reached: their messages stay unacknowledged meanwhile.
pub(super) async fn together(shared: &Shared, mut batch: Vec<Settlement>) -> Stored {
    let results: Vec<_> = batch.iter_mut().filter_map(|settlement| settlement.store.take()).collect();
    let mut refused = Vec::new();
    // From the last on, so that the others keep their places.
    for index in refused_of(shared, &results).await.into_iter().rev() {
        let mut settlement = batch.swap_remove(index);
        settlement.store = results.get(index).cloned();
        refused.push(settlement);
    }
    batch.iter_mut().for_each(|settlement| drop(settlement.done.take()));
    Stored { settlements: batch, refused }
}

/// Stores results and returns which of them the backend refuses, in their order. One of many is to blame: the others must
/// not suffer for it.
async fn refused_of(shared: &Shared, results: &[StoredResult]) -> Vec<usize> {
    let mut refused = Vec::new();
    let mut parts = vec![(0, results.len())];
    while let Some((start, end)) = parts.pop() {
        let Err(_) = store(shared, &results[start..end]).await else { continue };
        if end - start == 1 {
            refused.push(start);
        } else {
            let middle = usize::midpoint(start, end);
            parts.extend([(middle, end), (start, middle)]);
        }
    }
    refused
}

/// Stores the result of one task that was refused among others. If that cannot be, the task has failed.
pub(super) async fn alone(shared: Arc<Shared>, mut settlement: Settlement) -> Settlement {
    if let Some(result) = settlement.store.take()
        && let Err(error) = store_one(&shared, &result).await
        && let Some(failure) = store_failure(&shared, &result, &error).await
    {
        if let Some(run) = &settlement.run {
            tell_unstored(&shared.hooks, &run.request, &failure);
        }
        settlement.events = settlement.events.into_iter().map(|event| failed_after_all(event, &failure)).collect();
    }
    settlement.done = None;
    settlement
}

/// Stores one result, however long the backend cannot be reached.
///
/// # Errors
/// The backend does not take it.
pub(in crate::worker) async fn store_one(shared: &Shared, result: &StoredResult) -> Result<(), BackendError> {
    // That does not pass.
    shared.app.check_result(result)?;
    let one = std::slice::from_ref(result);
    for pause in AGAIN {
        if store(shared, one).await.is_ok() {
            return Ok(());
        }
        sleep(pause).await;
    }
    store(shared, one).await
}

/// Stores in place of a result which the backend does not take that the task has failed, and why. Answers that failure;
/// `None` if the state was not the last one, and is left out.
pub(in crate::worker) async fn store_failure(
    shared: &Shared,
    result: &StoredResult,
    error: &BackendError,
) -> Option<Failure> {
    let task_id = &result.task_id;
    if !result.is_final {
        tracing::warn!(task_id, %error, "a state is left out: the result backend refuses it");
        return None;
    }
    tracing::error!(task_id, %error, "the result backend refuses the result: the task has failed");
    let failure = Failure::from_error(error);
    let meta = ResultMeta::failure(task_id.clone(), &failure, crate::clock::now());
    let meta = match ResultMeta::from_json(&result.meta) {
        Ok(ResultMeta { group_id, parent_id, .. }) => ResultMeta { group_id, parent_id, ..meta },
        Err(_) => meta,
    };
    // A store that is full has room again a moment after it has refused what is large.
    if let Err(error) = store_one(shared, &stored(&meta)).await {
        tracing::error!(task_id, %error, "nothing can be stored of the task");
    }
    Some(failure)
}

/// Stores results, however long the backend cannot be reached.
///
/// # Errors
/// It does not take one of them.
async fn store(shared: &Shared, results: &[StoredResult]) -> Result<(), BackendError> {
    if results.is_empty() {
        return Ok(());
    }
    results.iter().try_for_each(|result| shared.app.check_result(result))?;
    let backend = shared.app.backend();
    let mut backoff = Backoff::new(&shared.vitals.backend);
    let mut blame = Blame::default();
    loop {
        let asked = Instant::now();
        let error = match backend.store(results).await {
            Ok(()) => {
                backoff.over();
                return Ok(());
            }
            Err(error @ BackendError::Refused { .. }) => return Err(error),
            Err(error) => error,
        };
        if blame.falls_on_the_question(&**backend, asked).await {
            return Err(error);
        }
        // What is known of these tasks so far is not to wait too.
        shared.events.flush();
        backoff.wait(&error).await;
    }
}
