//! What notifications are of, and which are there.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::{Kept, NoticeKey};
use crate::bill::BillStatus;
use crate::notification::{Asked, CheckReply, Notice, NoticeEffect, NoticeKind, check as judge};
use crate::payment::PaymentState;
use crate::payment::identity::{Identity, Terminal};
use crate::schema::{account, bill, notification, payment};
use crate::{AccountId, Currency, Kopecks, PaymentId};

/// The attempt that a notification names: by our own number, by our id in what we attached, or by the gateway's number. What
/// is let go or goes back is named by the gateway's number first: ours may have several operations.
pub(super) async fn payment_of(
    conn: &mut AsyncPgConnection,
    kind: NoticeKind,
    notice: &Notice,
) -> Result<Option<PaymentId>, StoreError> {
    let number = match kind {
        NoticeKind::Refund => notice.payment_transaction_id,
        NoticeKind::Recurrent => None,
        _ => notice.transaction_id,
    };
    let by_number_first = matches!(kind, NoticeKind::Refund | NoticeKind::Cancel | NoticeKind::Receipt);
    if by_number_first && let Some(found) = by_transaction(conn, number).await? {
        return Ok(Some(found));
    }
    if let Some(invoice_no) = notice.invoice_id.as_deref().and_then(|text| text.parse::<i64>().ok()) {
        let by_invoice = payment::table.filter(payment::invoice_no.eq(invoice_no)).select(payment::id);
        if let Some(found) = by_invoice.first(conn).await.optional()? {
            return Ok(Some(found));
        }
    }
    let named = notice.ids.as_ref().and_then(|ids| ids.payment_id.as_deref()?.parse::<PaymentId>().ok());
    if let Some(named) = named {
        let by_id = payment::table.find(named).select(payment::id);
        if let Some(found) = by_id.first(conn).await.optional()? {
            return Ok(Some(found));
        }
    }
    if by_number_first { Ok(None) } else { by_transaction(conn, number).await }
}

async fn by_transaction(conn: &mut AsyncPgConnection, number: Option<i64>) -> Result<Option<PaymentId>, StoreError> {
    let Some(number) = number else { return Ok(None) };
    let found = payment::table.filter(payment::transaction_id.eq(number)).select(payment::id);
    Ok(found.first(conn).await.optional()?)
}

type AskedRow = (PaymentId, PaymentState, Kopecks, Currency, i64, BillStatus, AccountId, Option<DateTime<Utc>>);

/// Whether a payment that the gateway asks about may be made. Writes nothing.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn check(
    conn: &mut AsyncPgConnection,
    notice: &Notice,
    terminal: Terminal,
) -> Result<CheckReply, StoreError> {
    let Some(invoice_no) = notice.invoice_id.as_deref().and_then(|text| text.parse::<i64>().ok()) else {
        return Ok(CheckReply::WrongInvoice);
    };
    let found: Option<AskedRow> = account::table
        .inner_join(bill::table.inner_join(payment::table))
        .filter(payment::invoice_no.eq(invoice_no))
        .select((
            payment::id,
            payment::state,
            payment::amount,
            payment::currency,
            payment::invoice_no,
            bill::status,
            account::id,
            account::closed_at,
        ))
        .first(conn)
        .await
        .optional()?;
    let asked = found.map(|(payment_id, state, amount, currency, invoice_no, status, account_id, closed_at)| Asked {
        identity: Identity { payment_id, account_id, invoice_no, amount, currency, terminal },
        state,
        bill: status,
        is_closed: closed_at.is_some(),
    });
    Ok(judge(notice, asked.as_ref()))
}

/// Notifications without an effect that are due for one, the longest first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn pending(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<NoticeKey>, StoreError> {
    let due = notification::table.filter(notification::effect.is_null()).filter(notification::try_at.le(now));
    let found: Vec<(NoticeKind, String, Vec<u8>)> = due
        .order(notification::try_at)
        .limit(limit)
        .select((notification::kind, notification::gateway_id, notification::body_sha256))
        .load(conn)
        .await?;
    let key = |(kind, gateway_id, body): (_, _, Vec<u8>)| {
        // The column holds 32 bytes, by its constraint.
        let body_sha256 = body.try_into().ok()?;
        Some(NoticeKey { kind, gateway_id, body_sha256 })
    };
    Ok(found.into_iter().filter_map(key).collect())
}

/// When the gateway allows another try of what it declined under this number, if it has told.
pub(in crate::store) async fn retry_after(
    conn: &mut AsyncPgConnection,
    transaction_id: i64,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let told: Vec<serde_json::Value> = notification::table
        .filter(notification::transaction_id.eq(transaction_id))
        .filter(notification::kind.eq(NoticeKind::Fail))
        .select(notification::told)
        .limit(MOST_BODIES)
        .load(conn)
        .await?;
    let notices = told.into_iter().filter_map(|told| serde_json::from_value::<Notice>(told).ok());
    Ok(notices.filter_map(|notice| notice.retry_after).max())
}

/// One refusal is told in one body, or in a few.
const MOST_BODIES: i64 = 10;

type KeptRow = (NoticeKind, String, DateTime<Utc>, serde_json::Value, Option<NoticeEffect>, Option<PaymentId>);

/// What the gateway has told of an attempt, receipts included, from the first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn of_payment(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Vec<Kept>, StoreError> {
    let of = notification::table.filter(notification::payment_id.eq(id));
    let rows: Vec<KeptRow> =
        of.order((notification::received_at, notification::kind)).select(kept_columns()).load(conn).await?;
    Ok(rows.into_iter().map(kept).collect())
}

/// Likewise, of several attempts.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn of_payments(conn: &mut AsyncPgConnection, ids: &[PaymentId]) -> Result<Vec<Kept>, StoreError> {
    let of = notification::table.filter(notification::payment_id.eq_any(ids));
    let rows: Vec<KeptRow> =
        of.order((notification::received_at, notification::kind)).select(kept_columns()).load(conn).await?;
    Ok(rows.into_iter().map(kept).collect())
}

/// One notification; `None`: it is not kept, or not any more.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn one(conn: &mut AsyncPgConnection, key: &NoticeKey) -> Result<Option<Kept>, StoreError> {
    let row: Option<KeptRow> = super::row(key).select(kept_columns()).first(conn).await.optional()?;
    Ok(row.map(kept))
}

/// How a notification is named in addresses and in the audit log: `pay~<its body's digest in hexadecimal>~12`.
#[must_use]
pub fn name(key: &NoticeKey) -> String {
    let digest: String = key.body_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}~{digest}~{}", key.kind, key.gateway_id)
}

impl NoticeKey {
    /// The one of this [`name`].
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '~');
        let kind = parts.next()?.parse().ok()?;
        let digest = parts.next()?.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digest.chunks(2).map(byte).collect();
        Some(Self { kind, body_sha256: bytes?.try_into().ok()?, gateway_id: parts.next()?.to_owned() })
    }
}

#[diesel::dsl::auto_type(no_type_alias)]
fn kept_columns() -> _ {
    (
        notification::kind,
        notification::gateway_id,
        notification::received_at,
        notification::told,
        notification::effect,
        notification::payment_id,
    )
}

fn kept((kind, gateway_id, received_at, told, effect, payment_id): KeptRow) -> Kept {
    let notice = serde_json::from_value(told).unwrap_or_default();
    Kept { kind, gateway_id, received_at, notice, effect, payment_id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_found_by_its_name() {
        let key = NoticeKey { kind: NoticeKind::Pay, gateway_id: "a~b".to_owned(), body_sha256: [7; 32] };
        assert_eq!(NoticeKey::named(&name(&key)), Some(key));
        for text in ["", "pay", "pay~00~1", "call~00~1", "pay~zz~1"] {
            assert_eq!(NoticeKey::named(text), None, "{text}");
        }
    }
}
