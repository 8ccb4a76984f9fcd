//! What is done once more because somebody of the staff asks for it: a notification of the gateway has its effect again, the cash
//! register is asked again for receipts that are missing. Neither does anything twice: what is known already changes nothing,
//! and a receipt that was made is not missing.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{By, Entry, StoreError, audit};
use crate::macros::text_enum;
use crate::payment::PaymentState;
use crate::receipt::Known;
use crate::schema::{payment, staff_errand};
use crate::staff::StaffId;
use crate::store::notifications::{self, Kept, NoticeKey};
use crate::store::receipts;
use crate::{PaymentId, ReceiptId};

text_enum! {
    /// What is done again.
    pub enum ErrandKind {
        /// A notification has its effect.
        Notification = "notification",
        /// The register is asked for what is missing of a payment.
        Receipts = "receipts",
    }
}

/// Who wants something done again, of what they have seen.
#[derive(Debug, Clone)]
pub struct Errand {
    /// Of the form: the same form does it once.
    pub id: Uuid,
    /// Of what was shown.
    pub digest: String,
    pub reason: String,
    pub staff_id: StaffId,
    pub by: By,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrandDone<T> {
    Now(T),
    /// This form did it before.
    Before,
    /// It is another by now; nothing was done.
    Changed,
}

/// A notification, and where the payment it is of stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenNotification {
    pub kept: Kept,
    pub payment: Option<PaymentState>,
    pub digest: String,
}

/// A notification as it is now; `None`: it is not kept any more.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn see_notification(
    conn: &mut AsyncPgConnection,
    key: &NoticeKey,
) -> Result<Option<SeenNotification>, StoreError> {
    let Some(kept) = notifications::one(conn, key).await? else { return Ok(None) };
    let state = match kept.payment_id {
        Some(id) => Some(payment::table.find(id).select(payment::state).first(conn).await?),
        None => None,
    };
    let digest = digest(&format!("{key} {:?} {state:?}", kept.effect));
    Ok(Some(SeenNotification { kept, payment: state, digest }))
}

/// Has a notification its effect again: the workers take it as if it had just come. After this send
/// [`SettleNotifications`](crate::tasks::SettleNotifications). `None`: it is not kept any more.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn notification_again(
    conn: &mut AsyncPgConnection,
    key: &NoticeKey,
    errand: &Errand,
    now: DateTime<Utc>,
) -> Result<Option<ErrandDone<()>>, StoreError> {
    conn.transaction(async |conn| {
        let target = notifications::name(key);
        if !is_first(conn, ErrandKind::Notification, &target, errand, now).await? {
            return Ok(Some(ErrandDone::Before));
        }
        let Some(seen) = see_notification(conn, key).await? else { return Ok(None) };
        if seen.digest != errand.digest {
            forget(conn, errand.id).await?;
            return Ok(Some(ErrandDone::Changed));
        }
        notifications::take_again(conn, key, now).await?;
        let before = json!({
            "effect": seen.kept.effect.map(crate::notification::NoticeEffect::as_str),
            "payment": seen.payment.map(PaymentState::as_str),
        });
        let entry = Entry::new("notification_again").target("notification", &target).reason(&errand.reason);
        audit(conn, &errand.by, &entry.before(before).after(json!({ "effect": null })), now).await?;
        Ok(Some(ErrandDone::Now(())))
    })
    .await
}

/// The receipts of a payment that are missing, and a digest of them.
///
/// # Errors
/// [`StoreError`].
pub async fn see_missing(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    now: DateTime<Utc>,
) -> Result<(Vec<Known>, String), StoreError> {
    let known = receipts::of_payment(conn, id).await?;
    let missing: Vec<_> = known.into_iter().filter(|known| known.is_missing(now)).collect();
    let ids: Vec<ReceiptId> = missing.iter().map(|known| known.id).collect();
    let digest = digest(&format!("{id} {ids:?}"));
    Ok((missing, digest))
}

/// Has the register asked for everything that is missing of a payment. After this send
/// [`SendReceipt`](crate::tasks::SendReceipt) for each.
///
/// # Errors
/// [`StoreError`].
pub async fn receipts_again(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    errand: &Errand,
    now: DateTime<Utc>,
) -> Result<ErrandDone<Vec<ReceiptId>>, StoreError> {
    conn.transaction(async |conn| {
        let target = id.to_string();
        if !is_first(conn, ErrandKind::Receipts, &target, errand, now).await? {
            return Ok(ErrandDone::Before);
        }
        let (missing, seen) = see_missing(conn, id, now).await?;
        if seen != errand.digest {
            forget(conn, errand.id).await?;
            return Ok(ErrandDone::Changed);
        }
        let ordered = receipts::order_missing(conn, id, &errand.by.name, now).await?;
        let ids = |ids: Vec<ReceiptId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let before = json!({ "missing": ids(missing.iter().map(|known| known.id).collect()) });
        let after = json!({ "ordered": ids(ordered.clone()) });
        let entry = Entry::new("receipts_again").target("payment", &target).reason(&errand.reason);
        audit(conn, &errand.by, &entry.before(before).after(after), now).await?;
        Ok(ErrandDone::Now(ordered))
    })
    .await
}

/// Whether no form of this id has done anything.
async fn is_first(
    conn: &mut AsyncPgConnection,
    kind: ErrandKind,
    target: &str,
    errand: &Errand,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let inserted = diesel::insert_into(staff_errand::table)
        .values((
            staff_errand::id.eq(errand.id),
            staff_errand::at.eq(now),
            staff_errand::staff_id.eq(errand.staff_id),
            staff_errand::kind.eq(kind),
            staff_errand::target.eq(target),
            staff_errand::reason.eq(&errand.reason),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted > 0)
}

/// The form has done nothing.
async fn forget(conn: &mut AsyncPgConnection, id: Uuid) -> Result<(), StoreError> {
    diesel::delete(staff_errand::table.find(id)).execute(conn).await?;
    Ok(())
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
