//! The customer's answer to the bank's page.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use secrecy::SecretString;

use super::super::circuits::{self, Admitted, Watch};
use super::super::gateway_calls::{self, CallId};
use super::super::{StoreError, events};
use super::PaymentView;
use super::load::{Locked, lock, lock_known};
use super::send::{LEFT_ALONE, put_off};
use super::story::{self, Standing};
use crate::PaymentId;
use crate::bill::PaymentType;
use crate::breaker::Circuit;
use crate::cipher::{Cipher, CipherError, Place};
use crate::models::BillChange;
use crate::payment::{Payment, PaymentState};

/// The longest PaRes taken, in bytes.
pub const MAX_PA_RES: usize = 64 * 1024;

/// Everything the gateway must be told to finish 3-D Secure.
#[derive(Debug, Clone)]
pub struct PostOrder {
    pub payment_id: PaymentId,
    /// The payment, to compare what comes back with.
    pub payment: Box<PaymentView>,
    pub transaction_id: i64,
    pub pa_res: SecretString,
    /// `X-Request-ID`: the same for every sending.
    pub request_id: String,
    pub first_sent_at: DateTime<Utc>,
    /// 1 for the first sending.
    pub resend_no: i32,
    /// The request that is about to leave.
    pub call: CallId,
    /// What its response tells the circuits.
    pub watch: Watch,
}

/// Whether to pass the answer on.
#[derive(Debug, Clone)]
pub enum Begin3ds {
    /// Committed as on its way: send, once, and [`apply`](super::apply) what comes of it.
    Post(PostOrder),
    /// The answer is not passed on any more. If the gateway has not heard of it otherwise, [`apply`](super::apply)
    /// [`Outcome::NeverAuthenticated`](crate::payment::Outcome::NeverAuthenticated).
    GiveUp {
        payment: Box<PaymentView>,
        why: String,
    },
    NotNow(PaymentState),
}

/// Why the answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("there is no payment {0}")]
    UnknownPayment(PaymentId),
    /// Answered already, or nothing was asked: the present payment tells.
    #[error("the payment is {}, it does not wait for 3-D Secure", .0.state)]
    NotAwaiting(Box<PaymentView>),
    /// `MD` names another transaction.
    #[error("MD is not the transaction of this payment")]
    WrongTransaction,
    /// The time to answer is over.
    #[error("the time to answer is over")]
    Expired,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for SubmitError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Takes the answer: `awaiting_3ds` → `posting_3ds`; only the first one counts. After this returns send
/// [`CompleteThreeDs`](crate::tasks::CompleteThreeDs).
///
/// # Errors
/// [`SubmitError`].
pub async fn submit_pa_res(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    md: i64,
    pa_res: SecretString,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<PaymentView, SubmitError> {
    conn.transaction(async |conn| {
        let mut locked = lock(conn, id).await?.ok_or(SubmitError::UnknownPayment(id))?;
        if locked.payment.transaction_id.is_some_and(|transaction| transaction != md) {
            return Err(SubmitError::WrongTransaction);
        }
        let Ok(answered) = locked.attempt().answer_three_ds() else {
            return Err(SubmitError::NotAwaiting(Box::new(PaymentView::of(&locked))));
        };
        if answered.three_ds.as_ref().is_none_or(|asked| asked.expires_at <= now) {
            return Err(SubmitError::Expired);
        }
        let stood = Standing::of(&locked);
        locked.save_payment(conn, &answered, now).await?;
        let change = BillChange {
            updated_at: now,
            status: locked.bill.status,
            paid_at: locked.bill.paid_at,
            card_cryptogram_packet: None,
            pa_res: Some(cipher.seal(Place::PaRes(locked.bill.id), &pa_res)),
            payment_type: PaymentType::Post3ds,
        };
        locked.write_bill(conn, change).await?;
        events::append(conn, story::moves(stood, &locked), now).await?;
        Ok(PaymentView::of(&locked))
    })
    .await
}

/// An answer that could not be passed on for so long is not passed on any more: its customer has gone, and would be
/// surprised by the charge. (As a cryptogram, which is not sent after that time either.)
const PA_RES_LIVES: TimeDelta = TimeDelta::minutes(30);

fn is_too_old(locked: &Locked, now: DateTime<Utc>) -> bool {
    // While an answer waits its bill is not written; and none is taken after the page has run out.
    let came_at = locked.bill.updated_at;
    let came_by = locked.payment.three_ds_expires_at.unwrap_or(came_at).min(came_at);
    now - came_by > PA_RES_LIVES
}

/// Marks the answer as being passed on.
///
/// # Errors
/// [`StoreError`].
pub async fn begin_posting(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Begin3ds, StoreError> {
    conn.transaction(async |conn| {
        let mut locked = lock_known(conn, id).await?;
        let posting = match locked.attempt().begin_posting(now) {
            Ok(posting) if !locked.is_put_off(now) => posting,
            _ => return Ok(Begin3ds::NotNow(locked.payment.state)),
        };
        if locked.account.closed_at.is_some() {
            let why = "the account was closed before the answer of the bank's page was passed on".to_owned();
            return Ok(Begin3ds::GiveUp { payment: Box::new(PaymentView::of(&locked)), why });
        }
        if is_too_old(&locked, now) {
            let why = "the answer of the bank's page is too old: the customer must pay anew".to_owned();
            return Ok(Begin3ds::GiveUp { payment: Box::new(PaymentView::of(&locked)), why });
        }
        let watch = match circuits::admit(conn, &[Circuit::Gateway], None, now).await? {
            Admitted::Send(watch) => watch,
            Admitted::Wait(until) => {
                put_off(conn, &mut locked, LEFT_ALONE.to_owned(), until, now).await?;
                return Ok(Begin3ds::NotNow(locked.payment.state));
            }
        };
        let order = match post_order(conn, &locked, &posting, cipher, now).await {
            Err(StoreError::Cipher(error)) => {
                let why = format!("the answer of the bank's page cannot be opened ({error}): ENCRYPTION_KEYS?");
                return Ok(Begin3ds::GiveUp { payment: Box::new(PaymentView::of(&locked)), why });
            }
            order => order?,
        };
        locked.save_payment(conn, &posting, now).await?;
        Ok(Begin3ds::Post(PostOrder { watch, ..order }))
    })
    .await
}

/// The order, and its call begun. A [`StoreError::Cipher`] leaves nothing written.
pub(super) async fn post_order(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    posting: &Payment,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<PostOrder, StoreError> {
    let missing = || StoreError::Cipher(CipherError::DoesNotOpen);
    let sealed = locked.bill.pa_res.as_deref().ok_or_else(missing)?;
    let transaction_id = posting.transaction_id.ok_or_else(missing)?;
    let pa_res = cipher.open(Place::PaRes(locked.bill.id), sealed)?;
    let first_sent_at = posting.first_sent_at.ok_or_else(missing)?;
    let request_id = format!("post3ds:{}", posting.id);
    let call = gateway_calls::begin(conn, posting.id, "/payments/cards/post3ds", Some(&request_id), now).await?;
    Ok(PostOrder {
        payment_id: posting.id,
        payment: Box::new(PaymentView::of(locked)),
        transaction_id,
        pa_res,
        request_id,
        first_sent_at,
        resend_no: posting.posts,
        call,
        watch: Watch::UNASKED,
    })
}
