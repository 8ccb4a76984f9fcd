//! Payments in doubt that are due for a look, and payments whose sender died: each gets a `resolve_payment`.

use billing::store::payments;
use billing::tasks::{ResolvePayment, ResolveUnknown};
use celeriac::{Context, SendOptions, TaskResult};

use super::poison::is_poison;
use crate::desk::Desk;

/// At most so many a time: the rest is found by the next tick, and the gateway is not flooded.
const LIMIT: i64 = 500;

/// Answers how many looks were ordered.
pub(crate) async fn resolve_unknown(_: ResolveUnknown, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let now = desk.now();
    let due = {
        let mut conn = desk.services.db.conn().await?;
        payments::unresolved(&mut conn, desk.sent_before(now), now, LIMIT).await?
    };
    let mut ordered = 0;
    for payment_id in due {
        let task_id = ResolvePayment::task_id(payment_id);
        if !is_poison(cx.app(), &task_id).await {
            cx.app().send_with(ResolvePayment { payment_id }, SendOptions::new().task_id(task_id)).await?;
            ordered += 1;
        }
    }
    Ok(ordered)
}
