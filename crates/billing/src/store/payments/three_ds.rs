//! The customer's answer to the bank's page.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;

use super::super::StoreError;
use super::PaymentView;
use crate::PaymentId;
use crate::cipher::Cipher;
use crate::payment::PaymentState;

/// The longest PaRes taken, in bytes.
pub const MAX_PA_RES: usize = 64 * 1024;

/// Everything the gateway must be told to finish 3-D Secure.
#[derive(Debug, Clone)]
pub struct PostOrder {
    pub payment_id: PaymentId,
    pub transaction_id: i64,
    pub pa_res: SecretString,
    /// `X-Request-ID`: the same for every sending.
    pub request_id: String,
    /// 1 for the first sending.
    pub resend_no: i32,
}

/// Whether to pass the answer on.
#[derive(Debug, Clone)]
pub enum Begin3ds {
    /// Committed as on its way: send, once, and [`apply`](super::apply) what comes of it.
    Post(PostOrder),
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
    let _ = (conn, id, md, pa_res, cipher, now);
    todo!()
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
    let _ = (conn, id, cipher, now);
    todo!()
}
