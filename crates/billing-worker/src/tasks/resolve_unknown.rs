//! Payments in doubt that are due for a look, and payments whose sender died: each gets a `resolve_payment`.

use billing::store::payments;
use billing::tasks::{ResolvePayment, ResolveUnknown};
use celeriac::{Context, SendOptions, TaskResult};

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
    for &payment_id in &due {
        let options = SendOptions::new().task_id(ResolvePayment::task_id(payment_id));
        cx.app().send_with(ResolvePayment { payment_id }, options).await?;
    }
    Ok(due.len())
}
