//! Customers who never came back from the bank's page. Before their payment is given up the gateway is asked, by a
//! `resolve_payment` for each: it may have heard of an answer whose sender wrote nothing down.

use billing::store::payments;
use billing::tasks::ExpireThreeDs;
use celeriac::{Context, TaskResult};

use super::resolve_unknown::{order, room};
use crate::desk::Desk;

/// Returns how many looks were ordered.
pub(crate) async fn expire_three_ds(_: ExpireThreeDs, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let room = room(&cx).await;
    let now = desk.now();
    let overdue = {
        let mut conn = desk.services.db.conn().await?;
        payments::overdue_three_ds(&mut conn, desk.sent_before(now), now, room).await?
    };
    order(&overdue, &cx).await
}
