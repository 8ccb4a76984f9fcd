//! The inbox is an outbox too: notifications that had no effect when they came, because the process that took them died or
//! the database was away, have it now.

use billing::store::notifications::{self, NoticeKey, Rules};
use billing::tasks::SettleNotifications;
use billing::wake;
use celeriac::{Context, TaskResult};

use crate::desk::Desk;
use crate::figures;

const CHUNK: i64 = 100;

/// Returns how many had their effect.
pub(crate) async fn settle_notifications(_: SettleNotifications, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut total = 0;
    loop {
        let due = {
            let mut conn = desk.services.db.conn().await?;
            notifications::pending(&mut conn, desk.now(), CHUNK).await?
        };
        for key in &due {
            total += usize::from(settle(key, &cx).await?);
        }
        if due.len() < CHUNK as usize {
            return Ok(total);
        }
    }
}

/// Returns whether it had its effect. One that cannot have it keeps no other from it.
async fn settle(key: &NoticeKey, cx: &Context<Desk>) -> TaskResult<bool> {
    let desk = cx.state();
    let rules = Rules { terminal: desk.terminal, patience: desk.resolve.first_look, zone: desk.services.time_zone };
    let acted = {
        let mut conn = desk.services.db.conn().await?;
        match notifications::act(&mut conn, key, rules, &desk.services.cipher, desk.now()).await {
            Ok(acted) if acted.effect.is_some() => acted,
            Ok(_) => {
                notifications::put_off(&mut conn, key, desk.now()).await?;
                return Ok(false);
            }
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => {
                tracing::error!(notification = %key, %error, "a notification has no effect yet");
                notifications::put_off(&mut conn, key, desk.now()).await?;
                return Ok(false);
            }
        }
    };
    desk.tell_news();
    if let Some(effect) = acted.effect {
        figures::notified(key.kind, effect);
    }
    acted.tell(key);
    wake::after_notification(cx.app(), &acted, desk.now()).await;
    Ok(true)
}
