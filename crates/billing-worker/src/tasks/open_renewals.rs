//! The time of some accounts has come: one bill and one charge for each, in chunks, in constant memory. That of
//! others has run out: they are closed.

use billing::store::{StoreError, accounts, renewals};
use billing::tasks::{ChargeRenewal, OpenRenewals};
use celeriac::{Context, SendOptions, TaskResult};

use crate::desk::Desk;

/// Accounts per transaction: short enough that nobody waits for its locks.
const CHUNK: i64 = 200;

/// Returns how many renewals were opened. Any number of these may run at once.
pub(crate) async fn open_renewals(_: OpenRenewals, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut total = 0;
    loop {
        let opened = {
            let mut conn = desk.services.db.conn().await?;
            renewals::open_due(&mut conn, desk.now(), CHUNK).await?
        };
        desk.tell_news();
        total += opened.payments.len();
        let mut renewals = Vec::with_capacity(opened.payments.len());
        for &payment_id in &opened.payments {
            renewals
                .push((ChargeRenewal { payment_id }, SendOptions::new().task_id(ChargeRenewal::task_id(payment_id))));
        }
        for (payment_id, sent) in opened.payments.iter().zip(cx.app().send_many(renewals).await) {
            if let Err(error) = sent {
                tracing::warn!(%payment_id, %error, "the renewal is open, its message is left to the timetable");
            }
        }
        if opened.accounts < CHUNK as usize {
            break;
        }
    }
    close_run_out(desk).await?;
    Ok(total)
}

/// Ends what has run out: grace that is over, paid time of who cancelled.
async fn close_run_out(desk: &Desk) -> Result<(), StoreError> {
    loop {
        let closed = {
            let mut conn = desk.services.db.conn().await?;
            accounts::close_run_out(&mut conn, desk.now(), CHUNK).await?
        };
        desk.tell_news();
        for account_id in &closed {
            tracing::info!(%account_id, "access ended");
        }
        if closed.len() < CHUNK as usize {
            return Ok(());
        }
    }
}
