//! A payment as others see it.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::load::Locked;
use crate::account::AccountStatus;
use crate::bill::{BillKind, BillStatus, TrialRefusal};
use crate::models::{AccountRow, BillRow, PaymentRow};
use crate::payment::identity::{Identity, Terminal};
use crate::payment::{CardMask, Decline, Instrument, PaymentState};
use crate::resolve::Sent;
use crate::schema::{account, bill, payment};
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
    /// It is to begin a trial.
    pub is_trial: bool,
    /// Why none began although the card is good.
    pub trial_refused: Option<TrialRefusal>,
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
    /// When it came to its end.
    pub finished_at: Option<DateTime<Utc>>,
    pub card: Option<CardMask>,
    /// The day on which the account's paid time ends.
    pub expires_on: Option<NaiveDate>,
    /// The account's next period is charged without the customer.
    pub renews: bool,
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

impl PaymentView {
    /// What must come back from the gateway with this payment.
    #[must_use]
    pub const fn identity(&self, terminal: Terminal) -> Identity {
        Identity {
            payment_id: self.id,
            account_id: self.account_id,
            invoice_no: self.invoice_no,
            amount: self.amount,
            currency: self.currency,
            terminal,
        }
    }

    pub(in crate::store) fn of(rows: &Locked) -> Self {
        Self::from_rows(&rows.account, &rows.bill, &rows.payment)
    }

    pub(in crate::store) fn from_rows(account: &AccountRow, bill: &BillRow, payment: &PaymentRow) -> Self {
        let attempt = payment.machine(bill);
        let three_ds = attempt.three_ds.filter(|_| payment.state == PaymentState::AwaitingThreeDs);
        Self {
            id: payment.id,
            bill_id: bill.id,
            account_id: account.id,
            tariff_id: bill.tariff_id,
            kind: bill.kind,
            bill_status: bill.status,
            account_status: account.status,
            is_trial: bill.trial_days.is_some(),
            trial_refused: bill.trial_refused.filter(|_| good(payment.state)),
            state: payment.state,
            instrument: payment.instrument,
            amount: payment.amount,
            currency: payment.currency,
            three_ds: three_ds.zip(payment.transaction_id).map(|(asked, md)| ThreeDsView {
                acs_url: asked.acs_url,
                pa_req: asked.pa_req,
                md,
                expires_at: asked.expires_at,
            }),
            decline: attempt.decline,
            info: attempt.info,
            transaction_id: payment.transaction_id,
            invoice_no: payment.invoice_no,
            request_id: payment.request_id.clone(),
            sent: sent(payment),
            posts: payment.posts,
            look_again_at: payment.look_again_at,
            finished_at: payment.finished_at,
            card: attempt.card,
            expires_on: account.expiration_dt,
            renews: account.machine().renews(),
            created_at: payment.created_at,
            updated_at: payment.updated_at,
        }
    }
}

/// Whether it is the attempt whose card was found good, of those that a bill may have.
const fn good(state: PaymentState) -> bool {
    use PaymentState as S;
    matches!(state, S::Authorized | S::Verified | S::Voided | S::SucceededDuplicate)
}

/// What the rules of resolving need to know of a row.
pub(super) fn sent(payment: &PaymentRow) -> Option<Sent> {
    let (first_at, last_at) = payment.first_sent_at.zip(payment.last_sent_at)?;
    Some(Sent { first_at, last_at, absent_at: payment.absent_at })
}

/// Whose payment it is; `None`: there is no such payment.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn account_of(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Option<AccountId>, StoreError> {
    let account = payment::table.inner_join(bill::table).filter(payment::id.eq(id)).select(bill::account_id);
    Ok(account.first(conn).await.optional()?)
}

/// One payment.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn get(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Option<PaymentView>, StoreError> {
    let rows = account::table
        .inner_join(bill::table.inner_join(payment::table))
        .filter(payment::id.eq(id))
        .select((AccountRow::as_select(), BillRow::as_select(), PaymentRow::as_select()))
        .first(conn)
        .await
        .optional()?;
    Ok(rows.map(|(account, bill, payment)| PaymentView::from_rows(&account, &bill, &payment)))
}

/// What the gateway passed on to the customers of those of these payments that were refused.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn said_of_refusals(
    conn: &mut AsyncPgConnection,
    ids: &[PaymentId],
) -> Result<Vec<(PaymentId, String)>, StoreError> {
    let said = payment::table.filter(payment::id.eq_any(ids)).filter(payment::cardholder_message.is_not_null());
    let said = said.select((payment::id, payment::cardholder_message.assume_not_null()));
    Ok(said.load(conn).await?)
}
