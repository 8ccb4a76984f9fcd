//! The tables that are cut by time: the months to come are made ahead, those that are kept no longer are dropped.

use billing::store::{events, gateway_calls};
use billing::tasks::KeepHistory;
use celeriac::{Context, TaskResult};

use crate::desk::Desk;

/// Returns how many partitions were made and dropped.
pub(crate) async fn keep_history(_: KeepHistory, cx: Context<Desk>) -> TaskResult<(i32, i32)> {
    let desk = cx.state();
    let now = desk.now();
    let mut conn = desk.services.db.conn().await?;
    let events = events::keep(&mut conn, now, now - desk.events_kept_for).await?;
    let calls = gateway_calls::keep(&mut conn, now, now - desk.gateway_calls_kept_for).await?;
    for (of, (made, dropped)) in [("events", events), ("gateway calls", calls)] {
        if (made, dropped) != (0, 0) {
            tracing::info!(of, made, dropped, "months were made ahead, or are kept no longer");
        }
    }
    Ok((events.0 + calls.0, events.1 + calls.1))
}
