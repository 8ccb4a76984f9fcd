//! Who waits for which task, without I/O.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use tokio::sync::{mpsc, oneshot};

use super::channel;
use crate::backend::Change;

/// A version that no row has: of a task without one.
const NO_ROW: i64 = -1;

pub(super) enum Command {
    Watch { task_id: String, watcher: Watcher },
    Unwatch { task_id: String, token: u64 },
}

pub(super) struct Watcher {
    pub(super) token: u64,
    pub(super) changes: mpsc::Sender<Change>,
    /// Told once nothing can be missed any more; taken then.
    pub(super) confirmed: Option<oneshot::Sender<()>>,
}

/// The tasks somebody waits for.
#[derive(Default)]
pub(super) struct Watchers {
    tasks: BTreeMap<String, Watched>,
    /// Task ids by the name of the channel.
    channels: HashMap<String, String>,
    /// The task that was looked at last.
    looked_at: String,
}

struct Watched {
    watchers: Vec<Watcher>,
    /// The version that was told last.
    version: i64,
}

impl Watchers {
    /// Answers the task that was touched.
    pub(super) fn apply(&mut self, command: Command) -> String {
        match command {
            Command::Watch { task_id, watcher } => {
                let watched = self.tasks.entry(task_id.clone()).or_insert_with(|| {
                    self.channels.insert(channel::name(&task_id), task_id.clone());
                    Watched { watchers: Vec::new(), version: NO_ROW }
                });
                watched.watchers.push(watcher);
                task_id
            }
            Command::Unwatch { task_id, token } => {
                if let Some(watched) = self.tasks.get_mut(&task_id) {
                    watched.watchers.retain(|watcher| watcher.token != token);
                    if watched.watchers.is_empty() {
                        self.tasks.remove(&task_id);
                        self.channels.remove(&channel::name(&task_id));
                    }
                }
                task_id
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(super) fn contains(&self, task_id: &str) -> bool {
        self.tasks.contains_key(task_id)
    }

    pub(super) fn task_ids(&self) -> impl Iterator<Item = &str> {
        self.tasks.keys().map(String::as_str)
    }

    /// A task with the version that was told last.
    pub(super) fn seen(&self, task_id: &str) -> Option<(String, i64)> {
        self.tasks.get(task_id).map(|watched| (task_id.to_owned(), watched.version))
    }

    /// The tasks whose turn it is to be looked at, with the versions that were told last.
    pub(super) fn next_turn(&mut self, at_most: usize) -> Vec<(String, i64)> {
        let after = (Bound::Excluded(self.looked_at.as_str()), Bound::Unbounded);
        let until = (Bound::Unbounded, Bound::Included(self.looked_at.as_str()));
        let in_turn = self.tasks.range::<str, _>(after).chain(self.tasks.range::<str, _>(until));
        let turn: Vec<_> = in_turn.take(at_most).map(|(id, watched)| (id.clone(), watched.version)).collect();
        if let Some((last, _)) = turn.last() {
            self.looked_at.clone_from(last);
        }
        turn
    }

    /// The task whose channel this is.
    pub(super) fn task_of(&self, channel: &str) -> Option<&str> {
        self.channels.get(channel).map(String::as_str)
    }

    /// Changes of this task arrive from now on, and its row has this version, if there is one. New watchers learn that
    /// they miss nothing; older ones, on a new connection, that they may have.
    pub(super) fn confirm(&mut self, task_id: &str, new: Option<Option<i64>>) {
        let Some(watched) = self.tasks.get_mut(task_id) else { return };
        if let Some(version) = new {
            watched.version = version.unwrap_or(NO_ROW);
        }
        watched.watchers.retain_mut(|watcher| match watcher.confirmed.take() {
            Some(confirmed) => confirmed.send(()).is_ok(),
            None => new.is_none() || watcher.changes.try_send(Change::Resubscribed).is_ok(),
        });
    }

    /// Tells a change to whoever waits for the task, unless it is told already.
    pub(super) fn tell(&mut self, task_id: &str, version: i64, change: &Change) {
        let Some(watched) = self.tasks.get_mut(task_id) else { return };
        if watched.version != version {
            watched.version = version;
            // A watcher whose channel is full is cut off: it reads again when it sees the end.
            watched.watchers.retain(|watcher| watcher.changes.try_send(change.clone()).is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Waiting(mpsc::Receiver<Change>, oneshot::Receiver<()>);

    fn watch(watchers: &mut Watchers, task_id: &str, token: u64) -> Waiting {
        let (changes, receiver) = mpsc::channel(2);
        let (confirmed, confirmation) = oneshot::channel();
        let watcher = Watcher { token, changes, confirmed: Some(confirmed) };
        watchers.apply(Command::Watch { task_id: task_id.to_owned(), watcher });
        Waiting(receiver, confirmation)
    }

    fn stored(meta: &str) -> Change {
        Change::Stored(meta.to_owned())
    }

    #[test]
    fn a_version_is_told_once_however_it_is_learnt_of() {
        let mut watchers = Watchers::default();
        let mut waiting = watch(&mut watchers, "a", 0);
        watchers.confirm("a", Some(Some(5)));
        assert!(waiting.1.try_recv().is_ok());
        for (version, meta) in [(5, "known before"), (6, "new"), (6, "new again"), (7, "newer")] {
            watchers.tell("a", version, &stored(meta));
        }
        assert_eq!(waiting.0.try_recv(), Ok(stored("new")));
        assert_eq!(waiting.0.try_recv(), Ok(stored("newer")));
        assert!(waiting.0.try_recv().is_err());
    }

    #[test]
    fn a_new_connection_is_told_to_old_watchers_and_not_to_new_ones() {
        let mut watchers = Watchers::default();
        let mut old = watch(&mut watchers, "a", 0);
        watchers.confirm("a", Some(None));
        let mut new = watch(&mut watchers, "a", 1);
        watchers.confirm("a", None);
        assert!(old.0.try_recv().is_err() && new.1.try_recv().is_ok());
        let mut newest = watch(&mut watchers, "a", 2);
        watchers.confirm("a", Some(None));
        assert_eq!([old.0.try_recv(), new.0.try_recv()], [Ok(Change::Resubscribed), Ok(Change::Resubscribed)]);
        assert!(newest.0.try_recv().is_err() && newest.1.try_recv().is_ok());
    }

    #[test]
    fn a_watcher_that_falls_behind_or_leaves_is_forgotten_alone() {
        let mut watchers = Watchers::default();
        let (mut slow, mut quick) = (watch(&mut watchers, "a", 0), watch(&mut watchers, "a", 1));
        watchers.confirm("a", Some(None));
        for version in 0..3 {
            watchers.tell("a", version, &stored("x"));
            assert!(quick.0.try_recv().is_ok());
        }
        assert!(slow.0.try_recv().is_ok() && slow.0.try_recv().is_ok());
        assert_eq!(slow.0.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        watchers.apply(Command::Unwatch { task_id: "a".to_owned(), token: 0 });
        assert_eq!(watchers.task_of(&channel::name("a")), Some("a"));
        watchers.apply(Command::Unwatch { task_id: "a".to_owned(), token: 1 });
        assert!(watchers.is_empty() && watchers.task_of(&channel::name("a")).is_none());
    }

    #[test]
    fn every_task_has_its_turn() {
        let mut watchers = Watchers::default();
        let _waiting: Vec<_> = ["a", "b", "c", "d", "e"].map(|task| watch(&mut watchers, task, 0)).into();
        let mut turn = || watchers.next_turn(2).into_iter().map(|(id, _)| id).collect::<String>();
        assert_eq!([turn(), turn(), turn(), turn(), turn()], ["ab", "cd", "ea", "bc", "de"]);
        watchers.apply(Command::Unwatch { task_id: "a".to_owned(), token: 0 });
        assert_eq!(watchers.next_turn(9).len(), 4);
    }
}
