//! Which queue a task belongs to, and whether anybody takes tasks from it.

use billing::tasks::PAYMENTS;
use celeriac::{Context, SendError, SendOptions, Task};

use crate::desk::Desk;

/// Older versions sent everything to `payments`. What does not belong there is moved to the queue where it does, so that it
/// takes no place of those who wait for their payment – unless this worker takes no tasks from that queue: then it is done
/// here. Returns whether it was moved.
pub(super) async fn moved<T: Task + Clone>(task: &T, cx: &Context<Desk>) -> Result<bool, SendError> {
    let is_here = cx.request().delivery_info.routing_key == PAYMENTS;
    let Some(queue) = T::OPTIONS.queue.filter(|queue| is_here && *queue != PAYMENTS && cx.state().takes(queue)) else {
        return Ok(false);
    };
    let options = SendOptions::new().task_id(cx.request().id.clone()).queue(queue);
    cx.app().send_with(task.clone(), options).await?;
    Ok(true)
}

/// How many messages wait in a queue; 0 if the broker cannot tell. One that waits where nobody takes tasks from is told aloud.
pub(super) async fn waiting(queue: &'static str, cx: &Context<Desk>) -> u64 {
    match cx.app().broker().queue_depth(queue).await {
        Ok(Some(depth)) if depth.consumers == 0 && depth.messages > 0 => {
            tracing::error!(queue, messages = depth.messages, "no worker takes tasks from this queue (WORKER_QUEUES)");
            depth.messages
        }
        Ok(depth) => depth.map_or(0, |depth| depth.messages),
        Err(error) => {
            tracing::debug!(queue, %error, "its depth is not known");
            0
        }
    }
}
