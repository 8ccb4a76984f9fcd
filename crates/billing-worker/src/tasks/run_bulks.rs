//! What the staff do to all rows of a list, row by row.

use billing::store::staff::{self, Bulk, BulkStep};
use billing::tasks::{RefundPayment, RunBulks};
use celeriac::{Context, SendOptions, TaskResult};
use chrono::TimeDelta;

use crate::desk::Desk;

/// Whoever goes through one holds it so long from its last row on: then another may go on with it.
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// Returns how many rows came to their end. Any number of these tasks may run at once: each action is gone through by one.
pub(crate) async fn run_bulks(_: RunBulks, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut total = 0;
    loop {
        let taken = {
            let mut conn = desk.services.db.conn().await?;
            staff::take_bulk(&mut conn, LEASE, desk.now()).await?
        };
        let Some(bulk) = taken else { return Ok(total) };
        total += go_through(&bulk, &cx).await?;
    }
}

async fn go_through(bulk: &Bulk, cx: &Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut rows = 0;
    loop {
        // Given back after each row: whoever has money to enter goes first.
        let step = {
            let mut conn = desk.services.db.conn().await?;
            staff::bulk_step(&mut conn, bulk, LEASE, desk.now()).await?
        };
        desk.tell_news();
        match step {
            BulkStep::Went { refund, .. } => {
                rows += 1;
                let Some(refund_id) = refund else { continue };
                let options = SendOptions::new().task_id(RefundPayment::task_id(refund_id));
                if let Err(error) = cx.app().send_with(RefundPayment { refund_id }, options).await {
                    tracing::warn!(%refund_id, %error, "the refund is left to the timetable");
                }
            }
            BulkStep::Over => {
                tracing::info!(bulk = %bulk.id, rows, "an action of the staff on many rows is over");
                return Ok(rows);
            }
            BulkStep::Halted => return Ok(rows),
        }
    }
}
