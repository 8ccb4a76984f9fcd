//! The days whose revenue is entered are added up for reports, one after the other.

use billing::store::reports;
use billing::tasks::RollUpReports;
use celeriac::{Context, TaskResult};

use crate::desk::Desk;

/// Returns how many days were added up. Any number of these tasks may run at once.
pub(crate) async fn roll_up_reports(_: RollUpReports, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let zone = desk.services.time_zone;
    let mut days = 0;
    loop {
        // Given back after each day: whoever has money to enter goes first.
        let mut conn = desk.services.db.conn().await?;
        let Some(day) = reports::next_day(&mut conn).await? else { return Ok(days) };
        let Some(figures) = reports::roll_up(&mut conn, day, zone, desk.now()).await? else { return Ok(days) };
        tracing::info!(%day, figures, "the figures of a day are added up");
        days += 1;
    }
}
