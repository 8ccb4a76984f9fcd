//! A chain, a group or a chord as a whole, from what its tasks say of their root and of who sent them.

use std::collections::{HashMap, HashSet};

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use celeriac::clock::unix_seconds;
use celeriac::protocol::State as TaskState;

use super::Shared;
use crate::guard::Asked;
use crate::memory::Kept;
use crate::page::{Problem, Section, Shell, Viewer, html, problem_page};
use crate::show::{Pill, counted, duration, encoded, number, shortened};
use crate::{Core, find};

/// Tasks of a workflow that are drawn.
const MAX_TREE: usize = 200;
/// Tasks that are listed as waited for.
const MAX_WAITS: usize = 20;

#[derive(Template)]
#[template(path = "canvas.html", blocks = ["live"])]
struct Page {
    shell: Shell,
    root: String,
    workflow: Workflow,
}

/// The tasks that one task began.
pub(crate) struct Workflow {
    pub(crate) href: String,
    /// Where it stands, in a sentence.
    pub(crate) stands: String,
    pub(crate) states: Vec<(Pill, String)>,
    pub(crate) waits: Vec<Wait>,
    /// What nobody has sent yet, in its order: ids and names.
    pub(crate) unsent: Vec<(String, String)>,
    pub(crate) branches: Vec<Branch>,
    pub(crate) not_drawn: usize,
    failed: usize,
    open: usize,
}

pub(crate) struct Branch {
    pub(crate) depth: usize,
    pub(crate) name: String,
    pub(crate) short: String,
    pub(crate) id: String,
    pub(crate) href: Option<String>,
    pub(crate) state: Option<Pill>,
    /// How many of those that it sent have ended, where it sent several.
    pub(crate) says: Option<String>,
}

/// A task that has not ended.
pub(crate) struct Wait {
    pub(crate) name: String,
    pub(crate) short: String,
    pub(crate) id: String,
    pub(crate) href: String,
    pub(crate) state: Pill,
    pub(crate) says: String,
}

impl Workflow {
    /// It has more than one task.
    pub(crate) fn is_one(&self) -> bool {
        self.branches.len() > 1
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    pub(crate) fn is_over(&self) -> bool {
        self.open == 0 && self.unsent.is_empty()
    }
}

pub(crate) async fn page(
    State(core): Shared,
    Path(root): Path<String>,
    viewer: Viewer,
    Asked(query): Asked,
) -> Response {
    let workflow = workflow(&core, &root, "").await;
    if workflow.branches.iter().all(|branch| branch.state.is_none()) {
        return problem_page(&core, &viewer, Problem::NotFound);
    }
    let shell = Shell::new(&core, Section::Tasks, &viewer).live(&format!("/canvas/{}", encoded(&root)), &query);
    html(&Page { shell, root, workflow })
}

pub(crate) async fn live(core: &Core, viewer: &Viewer, root: &str) -> Option<String> {
    let workflow = workflow(core, root, "").await;
    let shell = Shell::new(core, Section::Tasks, viewer);
    Page { shell, root: root.to_owned(), workflow }.as_live().render().ok()
}

/// The tasks below `root`, seen from the page of one of them.
pub(crate) async fn workflow(core: &Core, root: &str, here: &str) -> Workflow {
    let (all, count) = find::workflow(core, root, MAX_TREE).await;
    let known: HashMap<&str, &Kept> = all.iter().map(|kept| (kept.task.uuid.as_str(), kept)).collect();
    let page = |id: &str| format!("{}/tasks/{}", core.base, encoded(id));
    let named = |kept: &Kept| kept.task.name.clone().unwrap_or_else(|| "name not heard".to_owned());
    let drawn = order(root, &all).into_iter().map(|(id, depth)| {
        let kept = known.get(id).copied();
        Branch {
            depth,
            name: kept.map_or_else(|| "not heard of, or forgotten".to_owned(), named),
            short: shortened(id),
            id: id.to_owned(),
            href: kept.filter(|_| id != here).map(|_| page(id)),
            state: kept.map(|kept| Pill::of(&kept.task.state)),
            says: progress(id, &all),
        }
    });
    let branches: Vec<Branch> = drawn.collect();
    let now = unix_seconds();
    let open: Vec<&Kept> = all.iter().filter(|kept| !is_ended(&kept.task.state)).collect();
    let waits = open.iter().take(MAX_WAITS).map(|kept| Wait {
        name: named(kept),
        short: shortened(&kept.task.uuid),
        id: kept.task.uuid.clone(),
        href: page(&kept.task.uuid),
        state: Pill::of(&kept.task.state),
        says: waits_for(kept, now),
    });
    let failed = all.iter().filter(|kept| kept.task.state == TaskState::Failure).count();
    let unsent = unsent(&all);
    Workflow {
        href: format!("{}/canvas/{}", core.base, encoded(root)),
        stands: stands(&all, open.len(), failed, unsent.len()),
        unsent,
        states: states(&all),
        waits: waits.collect(),
        not_drawn: count.saturating_sub(all.len()),
        failed,
        open: open.len(),
        branches,
    }
}

/// Each task below the one that sent it. Whoever's sender is not known hangs on the root.
fn order<'a>(root: &'a str, all: &'a [Kept]) -> Vec<(&'a str, usize)> {
    let is_known = |id: &str| all.iter().any(|kept| kept.task.uuid == id);
    let sender = |kept: &'a Kept| -> Option<&'a str> {
        let id = kept.task.uuid.as_str();
        let parent = kept.task.parent_id.as_deref().filter(|parent| *parent != id && is_known(parent));
        (id != root).then(|| parent.unwrap_or(root))
    };
    let mut drawn = HashSet::new();
    let mut order = Vec::with_capacity(all.len() + 1);
    let mut waiting = vec![(root, 0)];
    while let Some((id, depth)) = waiting.pop() {
        if !drawn.insert(id) {
            continue;
        }
        order.push((id, depth));
        let below: Vec<_> =
            all.iter().filter(|kept| sender(kept) == Some(id)).map(|kept| kept.task.uuid.as_str()).collect();
        waiting.extend(below.into_iter().rev().map(|id| (id, depth + 1)));
    }
    order
}

/// Of several that one has sent, how many have ended.
fn progress(id: &str, all: &[Kept]) -> Option<String> {
    let sent: Vec<&Kept> = all.iter().filter(|kept| kept.task.parent_id.as_deref() == Some(id)).collect();
    let ended = sent.iter().filter(|kept| is_ended(&kept.task.state)).count();
    (sent.len() > 1).then(|| format!("{ended} of the {} that it sent have ended", sent.len()))
}

fn waits_for(kept: &Kept, now: f64) -> String {
    let task = &kept.task;
    let since = |at: Option<f64>| at.map_or_else(String::new, |at| format!(" for {}", duration(now - at)));
    match (&task.state, &task.eta) {
        (TaskState::Started, _) => format!("runs{}", since(task.started)),
        (TaskState::Retry, _) => "waits to be tried again".to_owned(),
        (_, Some(eta)) => format!("waits until {eta}"),
        (TaskState::Received, None) => format!("waits for a place in a worker{}", since(task.received)),
        _ => format!("waits in its queue{}", since(task.sent)),
    }
}

/// What its tasks say will be sent after them and nobody has heard of yet. What comes after a task that has failed, or was
/// dropped, is not sent at all.
fn unsent(all: &[Kept]) -> Vec<(String, String)> {
    use TaskState::{Failure, Rejected, Revoked};
    let goes_on = all.iter().filter(|kept| !matches!(kept.task.state, Failure | Revoked | Rejected));
    let mut seen: HashSet<&str> = all.iter().map(|kept| kept.task.uuid.as_str()).collect();
    let mut unsent = Vec::new();
    for (id, name) in goes_on.flat_map(|kept| &kept.task.follows) {
        if seen.insert(id) {
            unsent.push((id.clone(), name.clone()));
        }
    }
    unsent
}

fn stands(all: &[Kept], open: usize, failed: usize, unsent: usize) -> String {
    let ended = all.len() - open;
    let told = format!("{} of {} ended", number(ended as u64), counted(all.len() as u64, "task", "tasks"));
    if unsent > 0 {
        let failed = if failed > 0 { format!(", {} failed", number(failed as u64)) } else { String::new() };
        return format!(
            "Goes on{failed}: {told}, {} to go and {} not sent yet.",
            number(open as u64),
            number(unsent as u64)
        );
    }
    match (open, failed) {
        (0, 0) => format!("Done: {told}."),
        (0, failed) => format!("Ended, {} failed: {told}.", number(failed as u64)),
        (open, 0) => format!("Goes on: {told}, {} to go.", number(open as u64)),
        (open, failed) => format!("Goes on, {} failed: {told}, {} to go.", number(failed as u64), number(open as u64)),
    }
}

fn states(all: &[Kept]) -> Vec<(Pill, String)> {
    let mut counts: Vec<(&TaskState, u64)> = Vec::new();
    for kept in all {
        match counts.iter_mut().find(|(state, _)| **state == kept.task.state) {
            Some((_, count)) => *count += 1,
            None => counts.push((&kept.task.state, 1)),
        }
    }
    counts.into_iter().map(|(state, count)| (Pill::of(state), number(count))).collect()
}

fn is_ended(state: &TaskState) -> bool {
    use TaskState::{Failure, Ignored, Rejected, Revoked, Success};
    matches!(state, Success | Failure | Revoked | Ignored | Rejected)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn kept(id: &str, parent: Option<&str>, state: TaskState) -> Kept {
        let mut kept = Kept::new(&Arc::from(id), 1.0);
        (kept.task.parent_id, kept.task.state) = (parent.map(str::to_owned), state);
        kept
    }

    #[test]
    fn each_task_stands_below_the_one_that_sent_it_and_a_circle_ends() {
        use TaskState::{Started, Success};
        let all = [
            kept("root", None, Success),
            kept("a", Some("root"), Success),
            kept("b", Some("root"), Started),
            kept("a1", Some("a"), Success),
            kept("lost", Some("forgotten"), Success),
            kept("x", Some("y"), Success),
            kept("y", Some("x"), Success),
            kept("self", Some("self"), Success),
        ];
        let order = order("root", &all);
        assert_eq!(order, [("root", 0), ("a", 1), ("a1", 2), ("b", 1), ("lost", 1), ("self", 1)]);
        assert_eq!(progress("root", &all).as_deref(), Some("1 of the 2 that it sent have ended"));
        assert_eq!(stands(&all, 1, 0, 0), "Goes on: 7 of 8 tasks ended, 1 to go.");
        assert_eq!(stands(&all, 1, 0, 2), "Goes on: 7 of 8 tasks ended, 1 to go and 2 not sent yet.");
        assert_eq!(stands(&all[..1], 0, 0, 0), "Done: 1 of 1 task ended.");
        assert_eq!(stands(&all[..2], 0, 1, 0), "Ended, 1 failed: 2 of 2 tasks ended.");
    }

    #[test]
    fn what_follows_is_told_once_until_it_is_heard_of_and_not_at_all_after_a_failure() {
        use TaskState::{Failure, Started, Success};
        let with = |id: &str, state: TaskState, follows: &[&str]| {
            let mut kept = kept(id, None, state);
            kept.task.follows = follows.iter().map(|id| ((*id).to_owned(), format!("t.{id}"))).collect();
            kept
        };
        let ids = |all: &[Kept]| unsent(all).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        let header = [with("a", Success, &["body"]), with("b", Started, &["body"])];
        assert_eq!(unsent(&header), [("body".to_owned(), "t.body".to_owned())]);
        let chain = [with("a", Success, &["b", "c"]), with("b", Started, &["c"])];
        assert_eq!(ids(&chain), ["c"]);
        assert!(ids(&[with("a", Failure, &["b"])]).is_empty());
    }
}
