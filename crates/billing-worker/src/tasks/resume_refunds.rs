//! Rows are the outbox: a refund whose message was lost, whose sender died, or that is due for a look gets a message.

use billing::store::refunds;
use billing::tasks::{RefundPayment, ResumeRefunds};
use celeriac::{Context, SendOptions, TaskResult};

use super::resolve_unknown::room;
use crate::desk::Desk;

/// Returns how many messages were sent.
pub(crate) async fn resume_refunds(_: ResumeRefunds, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    // They share the queue of the looks, which is not filled with copies of what it has.
    let room = room(&cx).await;
    if room == 0 {
        return Ok(0);
    }
    let now = desk.now();
    let due = {
        let mut conn = desk.services.db.conn().await?;
        refunds::due(&mut conn, now - desk.stranded_after, desk.sent_before(now), now, room).await?
    };
    let mut sent = Vec::with_capacity(due.len());
    let mut failed = None;
    for refund in due {
        let options = SendOptions::new().task_id(RefundPayment::look_id(refund.id, refund.due_at));
        if let Err(error) = cx.app().send_with(RefundPayment { refund_id: refund.id }, options).await {
            failed = Some(error);
            break;
        }
        sent.push(refund.id);
    }
    let mut conn = desk.services.db.conn().await?;
    refunds::told(&mut conn, &sent, desk.now()).await?;
    failed.map_or(Ok(sent.len()), |error| Err(error.into()))
}
