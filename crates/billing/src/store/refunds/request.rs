//! A person asks for money to go back.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::super::payments::load::{Locked, lock};
use super::super::{StoreError, events};
use super::{given_back, is_barred, of_payment};
use crate::bill::BillKind;
use crate::models::{NewRefund, RefundRow};
use crate::payment::PaymentState;
use crate::refund::{AccessEffect, REFUND_LIFE, RefundSource, RefundState, RefundWay};
use crate::schema::{refund, refund_limit};
use crate::{Kopecks, PaymentId, RefundId};

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub payment_id: PaymentId,
    /// `None`: all that is left.
    pub amount: Option<Kopecks>,
    /// `None`: as [`AccessEffect::by_default`] has it.
    pub effect: Option<AccessEffect>,
    /// Why; at most [`MAX_REASON`](Self::MAX_REASON) characters, and not empty.
    pub reason: String,
    /// Who asks, and in what role.
    pub who: String,
    pub role: String,
    /// Whose key it is: keys of one client say nothing of those of another.
    pub client: String,
    pub idempotency_key: String,
    pub now: DateTime<Utc>,
}

impl Ask {
    /// The longest reason, in characters.
    pub const MAX_REASON: usize = 500;

    /// What must be the same when a key comes again.
    fn digest(&self) -> Vec<u8> {
        let amount = self.amount.map_or_else(String::new, |amount| amount.get().to_string());
        let effect = self.effect.map_or("", AccessEffect::as_str);
        format!("{}\n{amount}\n{effect}\n{}\n{}\n{}", self.payment_id, self.who, self.role, self.reason).into_bytes()
    }
}

/// What was written down, now or by an earlier call with this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    pub refund: RefundRow,
    pub replayed: bool,
}

/// Why nothing goes back. Nothing was written, and nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    #[error("there is no payment {0}")]
    UnknownPayment(PaymentId),
    #[error("there is no refund {0}")]
    UnknownRefund(RefundId),
    /// The key was used for something else.
    #[error("this idempotency key was used with another content")]
    IdempotencyConflict,
    /// It is not known yet whether the money was taken.
    #[error("payment {0} is in doubt: whether its money was taken is not known yet")]
    InDoubt(PaymentId),
    /// No money was taken.
    #[error("payment {id} is {state}: no money was taken")]
    NotTaken { id: PaymentId, state: PaymentState },
    /// The gateway gives nothing back after a year.
    #[error("payment {0} is older than a year")]
    TooOld(PaymentId),
    /// Nobody owed this money, and it goes back by itself.
    #[error("payment {payment_id} is already being returned by refund {refund_id}")]
    AlreadyBeingReturned { payment_id: PaymentId, refund_id: RefundId },
    /// One at a time.
    #[error("refund {refund_id} of payment {payment_id} is not finished")]
    Unfinished { payment_id: PaymentId, refund_id: RefundId },
    #[error("only {} minor units are left to give back", .left.get())]
    MoreThanLeft { left: Kopecks },
    /// A hold is let go as a whole.
    #[error("the money is only held: it can be let go as a whole")]
    PartOfAHold,
    /// The customer's bank took the money back.
    #[error("payment {0} was charged back")]
    ChargedBack(PaymentId),
    #[error("role `{0}` may not give money back")]
    RoleMayNot(String),
    /// The second person must be another.
    #[error("a refund is approved by another person than the one who asked for it")]
    SamePerson,
    /// The second person's role may not approve so much.
    #[error("role `{role}` may approve up to {} minor units", .up_to.get())]
    ApprovesLess { role: String, up_to: Kopecks },
    /// It waits for nobody.
    #[error("refund {id} is {state}, and waits for no second person")]
    NotWaiting { id: RefundId, state: RefundState },
    /// It was sent, or is over: it cannot be taken back.
    #[error("refund {id} is {state}, and cannot be taken back")]
    NotWithdrawable { id: RefundId, state: RefundState },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for RefundError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The refund by which a payment that nobody owed goes back: always the same, so that there is one.
#[must_use]
pub fn automatic_id(payment_id: PaymentId) -> RefundId {
    RefundId::from(Uuid::new_v5(&payment_id.get(), b"billing.refund"))
}

/// Writes a refund down, unless this key did it before. After this returns send
/// [`RefundPayment`](crate::tasks::RefundPayment) for it, if it does not wait for a second person.
///
/// # Errors
/// [`RefundError`].
pub async fn request(conn: &mut AsyncPgConnection, ask: &Ask) -> Result<Requested, RefundError> {
    conn.transaction(async |conn| {
        let locked = lock(conn, ask.payment_id).await?.ok_or(RefundError::UnknownPayment(ask.payment_id))?;
        if let Some(refund) = asked_before(conn, ask).await? {
            return Ok(Requested { refund, replayed: true });
        }
        let before = of_payment(conn, ask.payment_id).await?;
        let way = may_go_back(conn, &locked, &before, ask.now).await?;
        let (amount, left) = amount(&locked, &before, ask.amount, way)?;
        let needs_approval = needs_approval(conn, &before, amount, &ask.role).await?;
        let is_present = given_back::is_of_present_period(&locked);
        let effect = ask.effect.unwrap_or_else(|| AccessEffect::by_default(amount == left, is_present));
        let money = (amount, locked.payment.currency);
        let id = RefundId::new();
        let new = NewRefund {
            way,
            effect,
            requested_by: Some(ask.who.clone()),
            role: Some(ask.role.clone()),
            needs_approval,
            client: Some(ask.client.clone()),
            idempotency_key: Some(ask.idempotency_key.clone()),
            digest: Some(ask.digest()),
            ..NewRefund::requested(id, RefundSource::Ours, ask.payment_id, money, ask.reason.clone(), ask.now)
        };
        // The key may have come with another payment meanwhile, under another lock.
        let written = diesel::insert_into(refund::table)
            .values(new)
            .on_conflict((refund::client, refund::idempotency_key))
            .do_nothing()
            .returning(RefundRow::as_returning())
            .get_result(conn)
            .await
            .optional()?;
        let refund: RefundRow = written.ok_or(RefundError::IdempotencyConflict)?;
        let moved = given_back::moved(&locked, &refund, None).with("by", &*ask.who);
        events::append(conn, vec![moved], ask.now).await?;
        Ok(Requested { refund, replayed: false })
    })
    .await
}

async fn asked_before(conn: &mut AsyncPgConnection, ask: &Ask) -> Result<Option<RefundRow>, RefundError> {
    let row: Option<RefundRow> = refund::table
        .filter(refund::client.eq(&ask.client).and(refund::idempotency_key.eq(&ask.idempotency_key)))
        .select(RefundRow::as_select())
        .first(conn)
        .await
        .optional()?;
    match row {
        Some(row) if row.digest != Some(ask.digest()) => Err(RefundError::IdempotencyConflict),
        row => Ok(row),
    }
}

/// Whether and how money of this payment may go back now.
async fn may_go_back(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    before: &[RefundRow],
    now: DateTime<Utc>,
) -> Result<RefundWay, RefundError> {
    let payment = &locked.payment;
    let (payment_id, state) = (payment.id, payment.state);
    let way = match state {
        PaymentState::Succeeded | PaymentState::SucceededDuplicate => RefundWay::Refund,
        PaymentState::Authorized if locked.bill.kind != BillKind::Verification => RefundWay::Void,
        PaymentState::Sending | PaymentState::PostingThreeDs | PaymentState::Unknown => {
            return Err(RefundError::InDoubt(payment_id));
        }
        _ => return Err(RefundError::NotTaken { id: payment_id, state }),
    };
    if is_barred(conn, payment_id).await? {
        return Err(RefundError::ChargedBack(payment_id));
    }
    if payment.first_sent_at.unwrap_or(payment.created_at) + REFUND_LIFE <= now {
        return Err(RefundError::TooOld(payment_id));
    }
    match before.iter().find(|refund| refund.state.is_unfinished()) {
        Some(RefundRow { id, source: RefundSource::Automatic, .. }) => {
            Err(RefundError::AlreadyBeingReturned { payment_id, refund_id: *id })
        }
        Some(RefundRow { id, .. }) => Err(RefundError::Unfinished { payment_id, refund_id: *id }),
        None => Ok(way),
    }
}

/// How much goes back, of what is left.
fn amount(
    locked: &Locked,
    before: &[RefundRow],
    asked: Option<Kopecks>,
    way: RefundWay,
) -> Result<(Kopecks, Kopecks), RefundError> {
    let left = given_back::left(&locked.payment, before);
    let amount = asked.unwrap_or(left);
    if amount > left || Kopecks::billable(amount.get()).is_err() {
        return Err(RefundError::MoreThanLeft { left });
    }
    if way == RefundWay::Void && amount != left {
        return Err(RefundError::PartOfAHold);
    }
    Ok((amount, left))
}

/// All that was asked for of one payment counts: a limit is not passed by asking twice.
async fn needs_approval(
    conn: &mut AsyncPgConnection,
    before: &[RefundRow],
    amount: Kopecks,
    role: &str,
) -> Result<bool, RefundError> {
    let alone: Option<Kopecks> =
        refund_limit::table.find(role).select(refund_limit::alone).first(conn).await.optional()?;
    let alone = alone.ok_or_else(|| RefundError::RoleMayNot(role.to_owned()))?;
    let ours =
        before.iter().filter(|refund| refund.source == RefundSource::Ours && refund.state != RefundState::Failed);
    let asked: i64 = ours.map(|refund| refund.amount.get()).sum();
    Ok(asked + amount.get() > alone.get())
}
