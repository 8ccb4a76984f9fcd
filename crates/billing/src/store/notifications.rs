//! The inbox: what the gateway tells by itself is written down first, in a transaction of its own, and has its effect
//! after, in another. The same body told again is the same row; and what it says goes the way of a response, which takes
//! every piece of news once. So there is one effect, in whatever order and however often it is told, also when the row was
//! cleaned away meanwhile.
//!
//! The rows are the outbox too: one that has no effect yet is found by the timetable ([`pending`]).

mod effect;
mod find;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::SecretString;
use uuid::Uuid;

pub use self::effect::{Acted, Rules, act};
pub(in crate::store) use self::find::retry_after;
pub use self::find::{check, name, of_payment, of_payments, one, pending};
use super::StoreError;
use crate::PaymentId;
use crate::cipher::{Cipher, Place};
use crate::notification::{Notice, NoticeEffect, NoticeKind};
use crate::schema::notification;

/// Which notification it is: its kind, the gateway's id of what it tells of, and its body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NoticeKey {
    pub kind: NoticeKind,
    /// At most 100 characters.
    pub gateway_id: String,
    pub body_sha256: [u8; 32],
}

impl NoticeKey {
    /// Where its token is kept.
    pub(in crate::store) fn place(&self) -> Place {
        let name = [self.kind.as_str().as_bytes(), &[0], self.gateway_id.as_bytes(), &[0], &self.body_sha256].concat();
        Place::Notification(Uuid::new_v5(&Uuid::NAMESPACE_OID, &name))
    }
}

impl fmt::Display for NoticeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.gateway_id)
    }
}

/// A notification that has come.
#[derive(Debug, Clone)]
pub struct Received {
    pub key: NoticeKey,
    pub notice: Notice,
    /// For later charges of the card. Sealed, and kept until the notification has its effect.
    pub token: Option<SecretString>,
}

/// One that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub kind: NoticeKind,
    pub gateway_id: String,
    pub received_at: DateTime<Utc>,
    pub notice: Notice,
    /// `None`: nothing has come of it yet.
    pub effect: Option<NoticeEffect>,
    pub payment_id: Option<PaymentId>,
}

/// How long the effect of what was just received is left to who received it.
const RECEIVERS_OWN: TimeDelta = TimeDelta::seconds(30);

/// Writes it down. Returns whether it is to have an effect yet: not if it had it, when it was told before.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn receive(
    conn: &mut AsyncPgConnection,
    received: &Received,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let Received { key, notice, token } = received;
    let told = serde_json::to_value(notice.clone().storable()).unwrap_or_default();
    let written = diesel::insert_into(notification::table)
        .values((
            notification::kind.eq(key.kind),
            notification::gateway_id.eq(&key.gateway_id),
            notification::body_sha256.eq(&key.body_sha256[..]),
            notification::received_at.eq(now),
            notification::told.eq(without_nulls(told)),
            notification::transaction_id.eq(notice.transaction_id),
            notification::token.eq(token.as_ref().map(|token| cipher.seal(key.place(), token))),
            notification::try_at.eq(now + RECEIVERS_OWN),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if written > 0 {
        return Ok(true);
    }
    let row = row(key).select(notification::effect);
    let effect: Option<Option<NoticeEffect>> = row.first(conn).await.optional()?;
    Ok(effect.flatten().is_none())
}

/// Has it its effect again, as if it had just come. Its token is gone: what it would keep is kept already.
pub(in crate::store) async fn take_again(
    conn: &mut AsyncPgConnection,
    key: &NoticeKey,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::update(row(key))
        .set((
            notification::effect.eq(None::<NoticeEffect>),
            notification::effected_at.eq(None::<DateTime<Utc>>),
            notification::tries.eq(0),
            notification::try_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

fn without_nulls(json: serde_json::Value) -> serde_json::Value {
    match json {
        serde_json::Value::Object(fields) => {
            let there = fields.into_iter().filter(|(_, value)| !value.is_null());
            there.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        other => other,
    }
}

/// Its effect failed: it is tried again later, ever more seldom.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn put_off(conn: &mut AsyncPgConnection, key: &NoticeKey, now: DateTime<Utc>) -> Result<(), StoreError> {
    let tries: Option<i32> = row(key).select(notification::tries).first(conn).await.optional()?;
    let tries = tries.unwrap_or_default().saturating_add(1);
    let wait = FIRST_PAUSE * (1 << tries.clamp(0, 10));
    diesel::update(row(key).filter(notification::effect.is_null()))
        .set((notification::tries.eq(tries), notification::try_at.eq(now + wait.min(LONGEST_PAUSE))))
        .execute(conn)
        .await?;
    Ok(())
}

const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(15);
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Drops what has had its effect and was received before this time, but for receipts: at most `limit` rows. Returns how many.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn keep(conn: &mut AsyncPgConnection, keep_from: DateTime<Utc>, limit: i64) -> Result<usize, StoreError> {
    use diesel::sql_types::{BigInt, Timestamptz};
    const DROP: &str = "delete from notification where ctid = any (array(
        select ctid from notification
        where effect is not null and kind <> 'receipt' and received_at < $1 order by received_at limit $2))";
    Ok(diesel::sql_query(DROP).bind::<Timestamptz, _>(keep_from).bind::<BigInt, _>(limit).execute(conn).await?)
}

/// The row of a notification.
#[diesel::dsl::auto_type(no_type_alias)]
fn row<'a>(key: &'a NoticeKey) -> _ {
    let (kind, gateway_id, body): (NoticeKind, &'a str, &'a [u8]) =
        (key.kind, key.gateway_id.as_str(), key.body_sha256.as_slice());
    notification::table
        .filter(notification::kind.eq(kind))
        .filter(notification::gateway_id.eq(gateway_id))
        .filter(notification::body_sha256.eq(body))
}
