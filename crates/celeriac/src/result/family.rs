//! What comes before a task in its workflow, and what it has sent.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::{AsyncResult, GetError, Published, error_of};
use crate::app::App;
use crate::protocol::{RawJson, ResultMeta, ResultTuple};

impl AsyncResult {
    pub(super) fn of(tuple: ResultTuple, app: App) -> Self {
        let ResultTuple { id, parent, .. } = tuple;
        Self { parent: parent.map(Arc::from), ..Self::new(id, app) }
    }
}

impl<R: 'static> AsyncResult<R> {
    pub(super) fn tuple(&self) -> ResultTuple {
        ResultTuple { parent: self.parent.as_deref().cloned().map(Box::new), ..ResultTuple::task(&self.id) }
    }

    /// The result of the step before, where this is a step of a workflow that was published, or read, with it: for the
    /// body of a chord its header.
    #[must_use]
    pub fn parent(&self) -> Option<Published> {
        self.parent.as_deref().map(|parent| Published::new(parent.clone(), &self.app))
    }

    /// The results of the tasks and groups that the task has sent; known when it has ended.
    ///
    /// # Errors
    /// The backend cannot be asked, or what is stored cannot be read.
    pub async fn children(&self) -> Result<Vec<Published>, GetError> {
        let children = self.meta().await?.and_then(|meta| meta.children).unwrap_or_default();
        Ok(children.into_iter().map(|child| Published::new(child, &self.app)).collect())
    }

    /// Waits for the task, for the tasks that it has sent, for those that these have sent, and so on; answers each with
    /// its value, those that were sent first in front (Celery's `collect`).
    ///
    /// # Errors
    /// See [`GetError`]: of the first that fails.
    pub async fn collect(&self, timeout: Duration) -> Result<Vec<(AsyncResult, RawJson)>, GetError> {
        let deadline = Instant::now() + timeout;
        let mut collected = Vec::new();
        // A task that was retried is its own child.
        let mut seen = HashSet::new();
        let mut waiting = VecDeque::from([self.clone().typed::<()>()]);
        while let Some(result) = waiting.pop_front() {
            if !seen.insert(result.id.clone()) {
                continue;
            }
            result.get(deadline.saturating_duration_since(Instant::now())).await?;
            let Some(meta) = result.meta().await? else { continue };
            for child in meta.children.into_iter().flatten() {
                let mut ids = Vec::new();
                leaves(&child, &mut ids);
                waiting.extend(ids.into_iter().map(|id| AsyncResult::new(id.to_owned(), self.app.clone())));
            }
            collected.push((result, meta.result));
        }
        Ok(collected)
    }

    /// The tasks before it in its workflow, those of groups too.
    pub(super) fn ancestors(&self) -> Vec<&str> {
        let mut ids = Vec::new();
        steps_before(self.parent.as_deref()).for_each(|step| leaves(step, &mut ids));
        ids
    }

    /// Waits for the end of the task.
    pub(super) async fn decided(&self) -> Result<ResultMeta, GetError> {
        if self.ignored {
            // A failure may be stored nevertheless.
            let stored = self.meta().await?.filter(|meta| meta.state.is_ready());
            return stored.ok_or_else(|| GetError::Ignored { id: self.id.clone() });
        }
        unless_broken(self.ended(), self.parent.as_deref(), &self.app).await
    }
}

/// Waits for the end of something, or for a failure of what comes before it: it will never begin then. A worker that sees
/// a step fail fails all that follow, but of one that is revoked nobody tells them.
///
/// The tasks of a group are not watched: the body of their chord fails with them.
pub(super) async fn unless_broken<T>(
    end: impl Future<Output = Result<T, GetError>>,
    parent: Option<&ResultTuple>,
    app: &App,
) -> Result<T, GetError> {
    let steps = steps_before(parent).filter(|step| step.children.is_none());
    let steps: Vec<AsyncResult> = steps.map(|step| AsyncResult::new(step.id.clone(), app.clone())).collect();
    if steps.is_empty() {
        return end.await;
    }
    tokio::select! {
        biased;
        end = end => end,
        error = Box::pin(first_failure(&steps)) => Err(error),
    }
}

/// Nearest first.
fn steps_before(parent: Option<&ResultTuple>) -> impl Iterator<Item = &ResultTuple> {
    std::iter::successors(parent, |step| step.parent.as_deref())
}

/// Waits for the first that fails; for ever if none does.
async fn first_failure(results: &[AsyncResult]) -> GetError {
    let mut ends: FuturesUnordered<_> = results.iter().map(AsyncResult::ended).collect();
    while let Some(end) = ends.next().await {
        match end.map(|meta| error_of(&meta)) {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return error,
        }
    }
    std::future::pending().await
}

/// The ids of the tasks that a result is made of.
pub(crate) fn leaves<'a>(tuple: &'a ResultTuple, ids: &mut Vec<&'a str>) {
    match &tuple.children {
        None => ids.push(&tuple.id),
        Some(children) => children.iter().for_each(|child| leaves(child, ids)),
    }
}
