//! The revenue of the days that are over is entered into the ledger, one day after the other.

use billing::period::start_of_day;
use billing::store::journal::{self, AFTER_MIDNIGHT};
use billing::tasks::RecognizeRevenue;
use celeriac::{Context, TaskResult};
use chrono::Days;

use crate::desk::Desk;

/// Returns how many days were entered. Those that were missed, as while no worker ran, are caught up on; any number of these
/// tasks may run at once.
pub(crate) async fn recognize_revenue(_: RecognizeRevenue, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let zone = desk.services.time_zone;
    let mut days = 0;
    loop {
        let now = desk.now();
        // Given back after each day: whoever has money to enter goes first.
        let mut conn = desk.services.db.conn().await?;
        let Some(day) = journal::next_revenue_day(&mut conn).await? else { return Ok(days) };
        if now < start_of_day(day + Days::new(1), zone)? + AFTER_MIDNIGHT {
            return Ok(days);
        }
        let Some(entries) = journal::recognize(&mut conn, day, zone, now).await? else { return Ok(days) };
        tracing::info!(%day, entries, "the revenue of a day is entered");
        days += 1;
    }
}
