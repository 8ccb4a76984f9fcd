//! Each of the last closed days is compared with the gateway's list once a day, and a run that was left in the middle goes on.

use billing::store::reconciliation;
use billing::tasks::{Reconcile, ReconcileDays};
use celeriac::{Context, TaskResult};

use crate::desk::Desk;

/// Returns how many runs were begun.
pub(crate) async fn reconcile_days(_: ReconcileDays, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let (opened, due) = {
        let mut conn = desk.services.db.conn().await?;
        let opened = reconciliation::open_daily(&mut conn, desk.now()).await?;
        (opened, reconciliation::due(&mut conn, desk.now()).await?)
    };
    if let Some(reconciliation_id) = due {
        cx.app().send(Reconcile { reconciliation_id }).await?;
    }
    Ok(opened)
}
