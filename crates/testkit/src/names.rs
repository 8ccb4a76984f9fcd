//! Names of what a test makes on a shared server, and the removal of what killed tests left there.

use std::path::Path;

use uuid::Uuid;

const PREFIX: &str = "test_";

/// A name nobody else has; it tells which process made it: `test_<pid>_<random>`.
pub(crate) fn unique() -> String {
    format!("{PREFIX}{}_{}", std::process::id(), Uuid::new_v4().simple())
}

/// Whether [`unique`] made this name in a process that has ended without removing the thing.
pub(crate) fn is_orphan(name: &str) -> bool {
    let Some((pid, _)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else { return false };
    pid.bytes().all(|byte| byte.is_ascii_digit()) && !Path::new("/proc").join(pid).exists()
}

/// Runs to its end on a thread of its own: a `Drop` can neither wait for a future nor count on the test's runtime.
///
/// If the process ends first, the next one finds an orphan.
pub(crate) fn detached<F>(work: F)
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(work));
        if let Err(error) = result {
            tracing::warn!(error = format!("{error:#}"), "a test's leftovers could not be removed");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_made_is_an_orphan() {
        assert!(!is_orphan(&unique()), "this process lives");
        assert!(is_orphan("test_4194305_0123"), "above the largest pid of Linux");
        for foreign in ["postgres", "/", "test_", "test_x_1", "celery"] {
            assert!(!is_orphan(foreign), "{foreign}");
        }
    }
}
