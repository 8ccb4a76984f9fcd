//! The tables that are cut by time: the months to come are made ahead, those that are kept no longer are dropped. Within the
//! oldest month that is kept, the bodies of calls are wiped in their time.

use billing::store::{events, gateway_calls, notifications};
use billing::tasks::KeepHistory;
use celeriac::{Context, TaskResult};

use crate::desk::Desk;

/// Rows per statement, calls whose bodies are wiped and notifications that are dropped: short enough that nobody waits for it.
const CHUNK: i64 = 1_000;

/// Returns how many partitions were made and dropped.
pub(crate) async fn keep_history(_: KeepHistory, cx: Context<Desk>) -> TaskResult<(i32, i32)> {
    let desk = cx.state();
    let now = desk.now();
    let mut conn = desk.services.db.conn().await?;
    let events = events::keep(&mut conn, now, now - desk.events_kept_for).await?;
    let calls_from = now - desk.gateway_calls_kept_for;
    let calls = gateway_calls::keep(&mut conn, now, calls_from).await?;
    while gateway_calls::wipe_bodies(&mut conn, calls_from, CHUNK).await? >= CHUNK as usize {}
    while notifications::keep(&mut conn, now - desk.notifications_kept_for, CHUNK).await? >= CHUNK as usize {}
    for (of, (made, dropped)) in [("events", events), ("gateway calls", calls)] {
        if (made, dropped) != (0, 0) {
            tracing::info!(of, made, dropped, "months were made ahead, or are kept no longer");
        }
    }
    Ok((events.0 + calls.0, events.1 + calls.1))
}
