//! Messages that kill their workers are not sent again and again.

use celeriac::App;

/// Whether a worker has parked the task because it killed its workers: nobody sends it again before an operator has
/// requeued it, or its result is forgotten, after a day. A result backend that does not know is no reason to strand it.
pub(super) async fn is_poison(app: &App, task_id: &str) -> bool {
    let stored = app.result::<()>(task_id).meta().await.ok().flatten();
    let failure = stored.and_then(|meta| meta.exception_info());
    let is_poison = failure.is_some_and(|failure| failure.exc_type == "WorkerLostError");
    if is_poison {
        tracing::error!(
            task_id,
            "not sent again: it has killed its workers and is parked (billing parked, billing requeue)"
        );
    }
    is_poison
}
