//! Where tasks are found: in the history if there is one, in memory otherwise, and also while the history does not answer.

use crate::Core;
use crate::history::Trouble;
use crate::memory::{Direction, Filter, Kept, Page};

/// A page of tasks.
pub(crate) struct Found {
    pub(crate) page: Page,
    /// Why this is only what memory has.
    pub(crate) trouble: Option<String>,
}

pub(crate) async fn page(core: &Core, filter: &Filter, direction: &Direction, limit: usize) -> Found {
    let trouble = match &core.history {
        None => None,
        Some(history) => match history.page(filter, direction, limit).await {
            Ok(page) => return Found { page, trouble: None },
            Err(trouble) => Some(trouble.to_string()),
        },
    };
    Found { page: core.picture.read().tasks.page(filter, direction, limit), trouble }
}

/// A task as it is now. Memory knows it first.
pub(crate) async fn task(core: &Core, id: &str) -> Option<Kept> {
    let remembered = core.picture.read().tasks.get(id).cloned();
    match (remembered, &core.history) {
        (None, Some(history)) => history.task(id).await.inspect_err(silent).ok().flatten(),
        (remembered, _) => remembered,
    }
}

/// The tasks of a workflow in the order in which they were heard of, at most so many; and how many there are.
pub(crate) async fn workflow(core: &Core, root: &str, limit: usize) -> (Vec<Kept>, usize) {
    let (now, count) = {
        let picture = core.picture.read();
        let (now, count) = picture.tasks.of_workflow(root, limit);
        (now.into_iter().cloned().collect::<Vec<_>>(), count)
    };
    let Some(history) = &core.history else { return (now, count) };
    let Ok((mut all, kept)) = history.of_workflow(root, limit).await.inspect_err(silent) else {
        return (now, count);
    };
    // What memory has is newer.
    let mut new = 0;
    for task in now {
        match all.iter_mut().find(|kept| kept.task.uuid == task.task.uuid) {
            Some(kept) => *kept = task,
            None => {
                new += 1;
                all.push(task);
            }
        }
    }
    all.truncate(limit);
    (all, (kept + new).max(count))
}

fn silent(error: &Trouble) {
    tracing::warn!(%error, "the history of the dashboard does not answer");
}
