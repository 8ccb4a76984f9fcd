//! Persons who asked to be forgotten, and whose accounts have been closed for long enough: their addresses and what was shown
//! of their cards are wiped, in chunks. Bills and payments stay.

use billing::store::closing;
use billing::tasks::WipeTraces;
use celeriac::{Context, TaskResult};

use crate::desk::Desk;

/// Accounts per transaction: short enough that nobody waits for its locks.
const CHUNK: i64 = 200;

/// Returns how many were forgotten. Any number of these may run at once.
pub(crate) async fn wipe_traces(_: WipeTraces, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut total = 0;
    loop {
        let wiped = {
            let mut conn = desk.services.db.conn().await?;
            closing::wipe_traces(&mut conn, desk.now(), desk.personal_traces_kept, CHUNK).await?
        };
        for account_id in &wiped {
            tracing::info!(%account_id, "its personal traces are wiped");
        }
        total += wiped.len();
        if wiped.len() < CHUNK as usize {
            return Ok(total);
        }
    }
}
