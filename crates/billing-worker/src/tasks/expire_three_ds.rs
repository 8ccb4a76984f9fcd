//! Customers who never came back from the bank's page.

use billing::store::payments;
use billing::tasks::ExpireThreeDs;
use celeriac::{Context, TaskResult};

use crate::desk::Desk;

const CHUNK: i64 = 200;

/// Answers how many payments were ended.
pub(crate) async fn expire_three_ds(_: ExpireThreeDs, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut total = 0;
    loop {
        let expired = {
            let mut conn = desk.services.db.conn().await?;
            payments::expire_three_ds(&mut conn, desk.now(), CHUNK).await?
        };
        total += expired.len();
        if expired.is_empty() {
            return Ok(total);
        }
    }
}
