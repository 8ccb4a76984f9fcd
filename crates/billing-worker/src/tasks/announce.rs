//! Subscribers are told beforehand: of a renewal, of a card that expires, of another price. In chunks, in constant memory.

use billing::store::announcements;
use billing::tasks::Announce;
use celeriac::{Context, TaskResult};

use crate::desk::Desk;

/// Accounts per transaction: short enough that nobody waits for its locks.
const CHUNK: i64 = 200;

/// Returns how many accounts were told something. Any number of these may run at once.
pub(crate) async fn announce(_: Announce, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut total = 0;
    loop {
        let told = {
            let (mut conn, now) = (desk.services.db.conn().await?, desk.now());
            announcements::renewals(&mut conn, desk.renewal_notice, now, CHUNK).await?
                + announcements::cards(&mut conn, now, CHUNK).await?
                + announcements::prices(&mut conn, desk.price_change_notice, now, CHUNK).await?
        };
        desk.tell_news();
        if told == 0 {
            return Ok(total);
        }
        total += told;
    }
}
