//! A payment as others see it.

use chrono::{DateTime, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;

use super::super::StoreError;
use crate::account::AccountStatus;
use crate::bill::{BillKind, BillStatus};
use crate::payment::{CardMask, Decline, Instrument, PaymentState};
use crate::resolve::Sent;
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};

/// A payment with what belongs to it of its bill and account. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentView {
    pub id: PaymentId,
    pub bill_id: BillId,
    pub account_id: AccountId,
    pub tariff_id: TariffId,
    pub kind: BillKind,
    pub bill_status: BillStatus,
    pub account_status: AccountStatus,
    pub state: PaymentState,
    pub instrument: Instrument,
    pub amount: Kopecks,
    pub currency: Currency,
    /// Present while the customer is on the bank's page.
    pub three_ds: Option<ThreeDsView>,
    pub decline: Option<Decline>,
    /// The last remark: a gateway message, or why nothing came. For operators, not for customers.
    pub info: Option<String>,
    /// The gateway's number.
    pub transaction_id: Option<i64>,
    /// Our number of the attempt at the gateway (`InvoiceId`).
    pub invoice_no: i64,
    /// The `X-Request-ID` of the charge.
    pub request_id: String,
    /// When it was sent; `None`: never, as far as anybody knows.
    pub sent: Option<Sent>,
    /// How many times the 3-D Secure answer was passed on.
    pub posts: i32,
    pub look_again_at: Option<DateTime<Utc>>,
    pub card: Option<CardMask>,
    /// The day on which the account's paid time ends.
    pub expires_on: Option<NaiveDate>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What the customer's browser posts to the bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreeDsView {
    pub acs_url: String,
    pub pa_req: String,
    /// The field `MD`: the gateway's transaction.
    pub md: i64,
    pub expires_at: DateTime<Utc>,
}

/// One payment.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn get(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Option<PaymentView>, StoreError> {
    let _ = (conn, id);
    todo!()
}
