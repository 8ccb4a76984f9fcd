use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;

use super::BillRow;
use crate::bill::BillKind;
use crate::decline::DeclineGroup;
use crate::payment::{CardMask, Decline, Instrument, Payment, PaymentState, ThreeDs};
use crate::schema::payment;
use crate::{BillId, Currency, Kopecks, PaymentId};

/// A row of `payment`: one attempt to collect a bill.
#[derive(Debug, Clone, Queryable, Selectable, Identifiable)]
#[diesel(table_name = payment, check_for_backend(Pg))]
pub struct PaymentRow {
    pub id: PaymentId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub is_success: Option<bool>,
    pub bill_id: BillId,
    pub info: Option<String>,
    pub transaction_id: Option<i64>,
    pub state: PaymentState,
    pub instrument: Instrument,
    pub amount: Kopecks,
    pub currency: Currency,
    pub request_id: String,
    pub invoice_no: i64,
    pub idempotency_key: Option<String>,
    pub request_digest: Option<Vec<u8>>,
    pub sends: i32,
    pub first_sent_at: Option<DateTime<Utc>>,
    pub last_sent_at: Option<DateTime<Utc>>,
    pub posts: i32,
    pub acs_url: Option<String>,
    pub pa_req: Option<String>,
    pub three_ds_expires_at: Option<DateTime<Utc>>,
    pub reason_code: Option<i32>,
    pub decline_group: Option<DeclineGroup>,
    pub reason: Option<String>,
    pub cardholder_message: Option<String>,
    pub retry_after: Option<DateTime<Utc>>,
    pub look_again_at: Option<DateTime<Utc>>,
    pub absent_at: Option<DateTime<Utc>>,
    pub woken_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub card: Option<CardMask>,
}

impl PaymentRow {
    /// The machine's state, as far as this row and that of its bill tell.
    #[must_use]
    pub fn machine(&self, bill: &BillRow) -> Payment {
        Payment {
            id: self.id,
            bill_id: self.bill_id,
            state: self.state,
            instrument: self.instrument,
            amount: self.amount,
            currency: self.currency,
            owed: bill.status.is_open(),
            verifies: bill.kind == BillKind::Verification,
            trial_refused: bill.trial_refused,
            transaction_id: self.transaction_id,
            sends: self.sends,
            first_sent_at: self.first_sent_at,
            last_sent_at: self.last_sent_at,
            posts: self.posts,
            three_ds: self.three_ds(),
            decline: self.decline(),
            look_again_at: self.look_again_at,
            absent_at: self.absent_at,
            card: self.card.clone(),
            info: self.info.clone(),
            finished_at: self.finished_at,
        }
    }

    fn three_ds(&self) -> Option<ThreeDs> {
        Some(ThreeDs {
            acs_url: self.acs_url.clone()?,
            pa_req: self.pa_req.clone()?,
            expires_at: self.three_ds_expires_at?,
        })
    }

    fn decline(&self) -> Option<Decline> {
        Some(Decline {
            code: self.reason_code?,
            group: self.decline_group?,
            reason: self.reason.clone()?,
            message: self.cardholder_message.clone()?,
            retry_after: self.retry_after,
        })
    }
}

/// An attempt to be started.
#[derive(Debug, Insertable)]
#[diesel(table_name = payment)]
pub(crate) struct NewPaymentRow {
    pub(crate) id: PaymentId,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) bill_id: BillId,
    pub(crate) state: PaymentState,
    pub(crate) is_success: Option<bool>,
    pub(crate) instrument: Instrument,
    pub(crate) amount: Kopecks,
    pub(crate) currency: Currency,
    pub(crate) request_id: String,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) request_digest: Option<Vec<u8>>,
    pub(crate) transaction_id: Option<i64>,
    pub(crate) info: Option<String>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    pub(crate) woken_at: DateTime<Utc>,
}

impl NewPaymentRow {
    /// A fresh attempt. Its request id is the same for every sending; its invoice number comes from the database.
    pub(crate) fn created(
        bill_id: BillId,
        instrument: Instrument,
        amount: Kopecks,
        currency: Currency,
        now: DateTime<Utc>,
    ) -> Self {
        let id = PaymentId::new();
        Self {
            id,
            created_at: now,
            updated_at: now,
            bill_id,
            state: PaymentState::Created,
            is_success: None,
            instrument,
            amount,
            currency,
            request_id: format!("charge:{id}"),
            idempotency_key: None,
            request_digest: None,
            transaction_id: None,
            info: None,
            finished_at: None,
            woken_at: now,
        }
    }
}

/// What the machine may change of a row.
#[derive(Debug, AsChangeset)]
#[diesel(table_name = payment, treat_none_as_null = true)]
pub(crate) struct PaymentChange {
    updated_at: DateTime<Utc>,
    is_success: Option<bool>,
    info: Option<String>,
    transaction_id: Option<i64>,
    state: PaymentState,
    sends: i32,
    first_sent_at: Option<DateTime<Utc>>,
    last_sent_at: Option<DateTime<Utc>>,
    posts: i32,
    acs_url: Option<String>,
    pa_req: Option<String>,
    three_ds_expires_at: Option<DateTime<Utc>>,
    reason_code: Option<i32>,
    decline_group: Option<DeclineGroup>,
    reason: Option<String>,
    cardholder_message: Option<String>,
    retry_after: Option<DateTime<Utc>>,
    look_again_at: Option<DateTime<Utc>>,
    absent_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    card: Option<CardMask>,
}

impl PaymentChange {
    pub(crate) fn new(payment: &Payment, now: DateTime<Utc>) -> Self {
        let (three_ds, decline) = (payment.three_ds.clone(), payment.decline.clone());
        let (acs_url, pa_req, three_ds_expires_at) =
            three_ds.map_or((None, None, None), |t| (Some(t.acs_url), Some(t.pa_req), Some(t.expires_at)));
        let (reason_code, decline_group, reason, cardholder_message, retry_after) = decline
            .map_or((None, None, None, None, None), |d| {
                (Some(d.code), Some(d.group), Some(d.reason), Some(d.message), d.retry_after)
            });
        Self {
            updated_at: now,
            is_success: payment.state.verdict(),
            info: payment.info.clone(),
            transaction_id: payment.transaction_id,
            state: payment.state,
            sends: payment.sends,
            first_sent_at: payment.first_sent_at,
            last_sent_at: payment.last_sent_at,
            posts: payment.posts,
            acs_url,
            pa_req,
            three_ds_expires_at,
            reason_code,
            decline_group,
            reason,
            cardholder_message,
            retry_after,
            look_again_at: payment.look_again_at,
            absent_at: payment.absent_at,
            finished_at: payment.finished_at,
            card: payment.card.clone(),
        }
    }
}
