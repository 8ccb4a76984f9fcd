//! Money that somebody of the staff gives back: shown first, then done exactly so. What may go back, and who may give it, is
//! said in [`refunds`](crate::store::refunds).

use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{By, Entry, StoreError, audit};
use crate::models::RefundRow;
use crate::refund::RefundState;
use crate::store::refunds::{self, Ask, RefundError};
use crate::{Kopecks, RefundId};

/// What asking for a refund would write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundPreview {
    pub refund: RefundRow,
    /// What went back of the payment so far.
    pub given_back: Kopecks,
    /// Of all that was shown.
    pub digest: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundAsked {
    Now(RefundRow),
    /// This form did it before.
    Before(RefundRow),
    /// Something else would be done than was shown; nothing was.
    Changed(Box<RefundPreview>),
}

/// Ends a transaction whose work is taken back.
enum TakenBack {
    Shown(Box<RefundPreview>),
    Failed(RefundError),
}

impl From<diesel::result::Error> for TakenBack {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<RefundError> for TakenBack {
    fn from(error: RefundError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for TakenBack {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Shows what would be asked for. Changes nothing.
///
/// # Errors
/// [`RefundError`].
pub async fn preview_refund(conn: &mut AsyncPgConnection, ask: &Ask) -> Result<RefundPreview, RefundError> {
    let tried = conn
        .transaction::<(), TakenBack, _>(async |conn| {
            let given_back = refunds::sum_of_payment(conn, ask.payment_id).await?;
            let refund = refunds::request(conn, ask).await?.refund;
            Err(TakenBack::Shown(Box::new(shown(refund, given_back))))
        })
        .await;
    match tried {
        Err(TakenBack::Shown(preview)) => Ok(*preview),
        Err(TakenBack::Failed(error)) => Err(error),
        Ok(()) => unreachable!("it is always taken back"),
    }
}

/// Asks for it if that is what was shown, with a line in the audit log. After this send
/// [`RefundPayment`](crate::tasks::RefundPayment) for it, if it does not wait for a second person.
///
/// # Errors
/// [`RefundError`].
pub async fn ask_refund(
    conn: &mut AsyncPgConnection,
    ask: &Ask,
    digest: &str,
    by: &By,
) -> Result<RefundAsked, RefundError> {
    let asked = conn
        .transaction::<RefundAsked, TakenBack, _>(async |conn| {
            let given_back = refunds::sum_of_payment(conn, ask.payment_id).await?;
            let asked = refunds::request(conn, ask).await?;
            if asked.replayed {
                return Ok(RefundAsked::Before(asked.refund));
            }
            let preview = shown(asked.refund, given_back);
            if preview.digest != digest {
                return Err(TakenBack::Shown(Box::new(preview)));
            }
            let refund = preview.refund;
            let payment = ask.payment_id.to_string();
            let after = json!({
                "refund": refund.id.to_string(),
                "amount": refund.amount.get(),
                "currency": refund.currency.as_str(),
                "access": refund.effect.as_str(),
                "needs_second_person": refund.needs_approval,
            });
            let before = json!({ "given_back": given_back.get() });
            let entry =
                Entry::new("refund").target("payment", &payment).reason(&ask.reason).before(before).after(after);
            audit(conn, by, &entry, ask.now).await?;
            Ok(RefundAsked::Now(refund))
        })
        .await;
    match asked {
        Ok(asked) => Ok(asked),
        Err(TakenBack::Shown(preview)) => Ok(RefundAsked::Changed(preview)),
        Err(TakenBack::Failed(error)) => Err(error),
    }
}

fn shown(refund: RefundRow, given_back: Kopecks) -> RefundPreview {
    let all = (refund.payment_id, refund.amount, refund.currency, refund.way, refund.effect, refund.needs_approval);
    let digest = Sha256::digest(format!("{all:?} {given_back:?}").as_bytes());
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    RefundPreview { refund, given_back, digest }
}

/// The second person says yes. After this send [`RefundPayment`](crate::tasks::RefundPayment) for it.
///
/// # Errors
/// [`RefundError`].
pub async fn approve_refund(
    conn: &mut AsyncPgConnection,
    id: RefundId,
    by: &By,
    now: DateTime<Utc>,
) -> Result<RefundRow, RefundError> {
    conn.transaction(async |conn| {
        let row = refunds::approve(conn, id, &by.name, &by.role, now).await?;
        audit(conn, by, &Entry::new("refund_approved").target("refund", &id.to_string()), now).await?;
        Ok(row)
    })
    .await
}

/// It is taken back before it was sent.
///
/// # Errors
/// [`RefundError`].
pub async fn withdraw_refund(
    conn: &mut AsyncPgConnection,
    id: RefundId,
    by: &By,
    now: DateTime<Utc>,
) -> Result<RefundState, RefundError> {
    conn.transaction(async |conn| {
        let row = refunds::withdraw(conn, id, &by.name, now).await?;
        audit(conn, by, &Entry::new("refund_withdrawn").target("refund", &id.to_string()), now).await?;
        Ok(row.state)
    })
    .await
}
