//! The time of some accounts has come: one bill and one charge for each, in chunks, in constant memory, and no more than the
//! workers can be expected to get through soon. Access of others has run out: they are closed.

use billing::store::{StoreError, accounts, renewals};
use billing::tasks::{ChargeRenewal, OpenRenewals, RENEWALS};
use celeriac::{Context, SendOptions, TaskResult};

use super::places::waiting;
use crate::desk::Desk;
use crate::figures;

/// Accounts per transaction: short enough that nobody waits for its locks.
const CHUNK: u32 = 200;

/// While so many messages wait in the queue no more renewals are opened; a later tick does. It is more than the gateway can
/// charge in a minute, and little to the broker. What is not open can still be cancelled, moved and paid otherwise without
/// having to be taken back.
pub(super) const MOST_WAITING: u32 = 10_000;

/// Returns how many renewals were opened. Any number of these may run at once.
pub(crate) async fn open_renewals(_: OpenRenewals, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut total = 0;
    'due: loop {
        let mut room = room(&cx).await;
        if room == 0 {
            break;
        }
        while room > 0 {
            let limit = CHUNK.min(room);
            let (opened, all) = open(&cx, limit).await?;
            total += opened;
            if all {
                break 'due;
            }
            room -= limit;
        }
    }
    close_run_out(desk).await?;
    Ok(total)
}

/// How many messages more may wait in the queue of renewals.
pub(super) async fn room(cx: &Context<Desk>) -> u32 {
    let waiting = waiting(RENEWALS, cx).await;
    let room = MOST_WAITING.saturating_sub(u32::try_from(waiting).unwrap_or(u32::MAX));
    if room == 0 {
        tracing::warn!(
            queue = RENEWALS,
            waiting,
            "renewals wait to be charged: no more are opened until there are fewer"
        );
    }
    room
}

/// Opens one chunk and tells the workers of it, after its commit. Returns how many renewals that are, and whether these were
/// all that are due.
async fn open(cx: &Context<Desk>, limit: u32) -> TaskResult<(usize, bool)> {
    let desk = cx.state();
    let opened = {
        let mut conn = desk.services.db.conn().await?;
        renewals::open_due(&mut conn, desk.now(), limit.into()).await?
    };
    desk.tell_news();
    figures::planned(opened.payments.len());
    let mut renewals = Vec::with_capacity(opened.payments.len());
    for &payment_id in &opened.payments {
        renewals.push((ChargeRenewal { payment_id }, SendOptions::new().task_id(ChargeRenewal::task_id(payment_id))));
    }
    for (payment_id, sent) in opened.payments.iter().zip(cx.app().send_many(renewals).await) {
        if let Err(error) = sent {
            tracing::warn!(%payment_id, %error, "the renewal is open, its message is left to the timetable");
        }
    }
    Ok((opened.payments.len(), opened.accounts < limit as usize))
}

/// Ends what has run out: grace that is over, paid time of who cancelled.
async fn close_run_out(desk: &Desk) -> Result<(), StoreError> {
    loop {
        let closed = {
            let mut conn = desk.services.db.conn().await?;
            accounts::close_run_out(&mut conn, desk.now(), CHUNK.into()).await?
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
