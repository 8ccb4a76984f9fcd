//! Receipts that were not made are told of, once for each payment; those that the cash register is to be asked for get a
//! message.

use billing::store::receipts;
use billing::tasks::{SendReceipt, WatchReceipts};
use celeriac::{Context, SendOptions, TaskResult};

use super::resolve_unknown::room;
use crate::desk::Desk;

/// So many are told of, or sent, by one tick: the rest is found by the next.
const LIMIT: i64 = 200;

/// Returns how many messages were sent.
pub(crate) async fn watch_receipts(_: WatchReceipts, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let told = receipts::tell_missing(&mut *desk.services.db.conn().await?, desk.now(), LIMIT).await?;
    desk.tell_news();
    for payment_id in told {
        tracing::error!(%payment_id, "a receipt was not made within an hour: `billing receipts send` asks for another");
    }
    let room = room(&cx).await.min(LIMIT);
    if room == 0 {
        return Ok(0);
    }
    let now = desk.now();
    let due = {
        let mut conn = desk.services.db.conn().await?;
        receipts::due_orders(&mut conn, now - desk.stranded_after, now, room).await?
    };
    let mut sent = Vec::with_capacity(due.len());
    let mut failed = None;
    for order in due {
        let options = SendOptions::new().task_id(SendReceipt::due_id(order.id, order.due_at));
        if let Err(error) = cx.app().send_with(SendReceipt { receipt_id: order.id }, options).await {
            failed = Some(error);
            break;
        }
        sent.push(order.id);
    }
    receipts::orders_told(&mut *desk.services.db.conn().await?, &sent, desk.now()).await?;
    failed.map_or(Ok(sent.len()), |error| Err(error.into()))
}
