//! Celery's keys, which are the names of the pub/sub channels too.

/// The names of results and groups, behind a prefix of one's own.
pub(super) struct Keys {
    task: String,
    group: String,
}

impl Keys {
    /// `global_keyprefix` (`celery/backends/base.py`, `_add_global_keyprefix`).
    pub(super) fn new(prefix: &str) -> Self {
        let separator = if prefix.is_empty() || prefix.ends_with([':', '_', '-', '.']) { "" } else { "_" };
        let under = |name: &str| format!("{prefix}{separator}{name}");
        Self { task: under("celery-task-meta-"), group: under("celery-taskset-meta-") }
    }

    pub(super) fn task(&self, id: &str) -> String {
        [&self.task, id].concat()
    }

    /// What belongs to a group; the group itself without a suffix.
    pub(super) fn group(&self, id: &str, suffix: &str) -> String {
        [&self.group, id, suffix].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_in_front_of_all_keys_as_celery_puts_it_there() {
        for (prefix, task) in [
            ("", "celery-task-meta-a"),
            ("shop", "shop_celery-task-meta-a"),
            ("shop:", "shop:celery-task-meta-a"),
            ("shop.", "shop.celery-task-meta-a"),
        ] {
            let keys = Keys::new(prefix);
            assert_eq!(keys.task("a"), task);
            assert_eq!(keys.group("a", ".j"), task.replace("task", "taskset") + ".j");
        }
    }
}
