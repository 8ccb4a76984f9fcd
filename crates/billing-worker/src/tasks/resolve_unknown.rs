//! Payments in doubt that are due for a look, and payments whose sender died: each gets a `resolve_payment`.

use billing::store::payments::{self, DueLook};
use billing::tasks::{LOOKUPS, ResolvePayment, ResolveUnknown};
use celeriac::{Context, SendOptions, TaskResult};

use super::places::waiting;
use crate::desk::Desk;

/// At most so many a time, and none while so many wait: the rest is found by a later tick, and the queue is not filled
/// with copies of what it has.
const LIMIT: u32 = 500;

/// So many are sent, and then marked as sent, together.
const CHUNK: usize = 50;

/// Returns how many looks were ordered.
pub(crate) async fn resolve_unknown(_: ResolveUnknown, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let room = room(&cx).await;
    let now = desk.now();
    let due = {
        let mut conn = desk.services.db.conn().await?;
        payments::unresolved(&mut conn, desk.sent_before(now), now, room).await?
    };
    order(&due, &cx).await
}

/// How many looks may be ordered now.
pub(super) async fn room(cx: &Context<Desk>) -> i64 {
    let waiting = waiting(LOOKUPS, cx).await;
    let room = u64::from(LIMIT).saturating_sub(waiting);
    if room == 0 {
        tracing::warn!(queue = LOOKUPS, waiting, "looks at payments in doubt wait: none are ordered");
    }
    i64::try_from(room).unwrap_or_default()
}

/// Returns how many were sent. Those that were not, also because this worker died, are found again at once.
pub(super) async fn order(looks: &[DueLook], cx: &Context<Desk>) -> TaskResult<usize> {
    let mut ordered = 0;
    for looks in looks.chunks(CHUNK) {
        let message = |look: &DueLook| {
            let task_id = ResolvePayment::look_id(look.payment_id, look.due_at);
            (ResolvePayment { payment_id: look.payment_id }, SendOptions::new().task_id(task_id))
        };
        let sent = cx.app().send_many(looks.iter().map(message).collect::<Vec<_>>()).await;
        let mut told = Vec::with_capacity(looks.len());
        for (look, sent) in looks.iter().zip(sent) {
            match sent {
                Ok(_) => told.push(look.payment_id),
                Err(error) => tracing::warn!(payment_id = %look.payment_id, %error, "the look was not ordered"),
            }
        }
        let desk = cx.state();
        let mut conn = desk.services.db.conn().await?;
        payments::told(&mut conn, &told, desk.now()).await?;
        ordered += told.len();
    }
    Ok(ordered)
}
