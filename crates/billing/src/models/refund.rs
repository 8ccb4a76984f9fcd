use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;

use crate::refund::{AccessEffect, Refund, RefundSource, RefundState, RefundWay};
use crate::schema::refund;
use crate::{Currency, Kopecks, PaymentId, RefundId};

/// A row of `refund`: money on its way back to a customer.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Identifiable)]
#[diesel(table_name = refund, check_for_backend(Pg))]
pub struct RefundRow {
    pub id: RefundId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub payment_id: PaymentId,
    pub amount: Kopecks,
    pub currency: Currency,
    pub state: RefundState,
    pub source: RefundSource,
    pub way: RefundWay,
    pub effect: AccessEffect,
    /// Why, in the words of who asked.
    pub reason: String,
    /// Who asked, and as what; `None`: nobody here.
    pub requested_by: Option<String>,
    pub role: Option<String>,
    pub needs_approval: bool,
    pub approved_by: Option<String>,
    pub approved_at: Option<DateTime<Utc>>,
    pub client: Option<String>,
    pub idempotency_key: Option<String>,
    pub digest: Option<Vec<u8>>,
    /// `X-Request-ID`: the same for every sending.
    pub request_id: String,
    /// The gateway's number of the refund; not that of the payment.
    pub gateway_tx_id: Option<i64>,
    pub sends: i32,
    pub first_sent_at: Option<DateTime<Utc>>,
    pub last_sent_at: Option<DateTime<Utc>>,
    pub look_again_at: Option<DateTime<Utc>>,
    /// Looks in a row that taught nothing.
    pub looks: i32,
    pub absent_at: Option<DateTime<Utc>>,
    pub woken_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub info: Option<String>,
}

impl RefundRow {
    /// The machine's state.
    #[must_use]
    pub fn machine(&self) -> Refund {
        Refund {
            id: self.id,
            state: self.state,
            amount: self.amount,
            waits_for_approval: self.waits_for_approval(),
            gateway_tx_id: self.gateway_tx_id,
            sends: self.sends,
            first_sent_at: self.first_sent_at,
            last_sent_at: self.last_sent_at,
            look_again_at: self.look_again_at,
            absent_at: self.absent_at,
            finished_at: self.finished_at,
            info: self.info.clone(),
        }
    }

    /// Whether a second person must speak before it is sent.
    #[must_use]
    pub fn waits_for_approval(&self) -> bool {
        self.state == RefundState::Requested && self.needs_approval && self.approved_by.is_none()
    }
}

/// A refund to be written down.
#[derive(Debug, Insertable)]
#[diesel(table_name = refund)]
pub(crate) struct NewRefund {
    pub(crate) id: RefundId,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) woken_at: DateTime<Utc>,
    pub(crate) payment_id: PaymentId,
    pub(crate) amount: Kopecks,
    pub(crate) currency: Currency,
    pub(crate) state: RefundState,
    pub(crate) source: RefundSource,
    pub(crate) way: RefundWay,
    pub(crate) effect: AccessEffect,
    pub(crate) reason: String,
    pub(crate) requested_by: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) needs_approval: bool,
    pub(crate) client: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) digest: Option<Vec<u8>>,
    pub(crate) request_id: String,
    pub(crate) gateway_tx_id: Option<i64>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
}

impl NewRefund {
    /// One that is to be sent. Its request id is the same for every sending.
    pub(crate) fn requested(
        id: RefundId,
        source: RefundSource,
        payment_id: PaymentId,
        (amount, currency): (Kopecks, Currency),
        reason: String,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            created_at: now,
            updated_at: now,
            woken_at: now,
            payment_id,
            amount,
            currency,
            state: RefundState::Requested,
            source,
            way: RefundWay::Refund,
            effect: AccessEffect::Keep,
            reason,
            requested_by: None,
            role: None,
            needs_approval: false,
            client: None,
            idempotency_key: None,
            digest: None,
            request_id: format!("refund:{id}"),
            gateway_tx_id: None,
            finished_at: None,
        }
    }

    /// One that was made elsewhere.
    pub(crate) fn external(
        payment_id: PaymentId,
        money: (Kopecks, Currency),
        gateway_tx_id: Option<i64>,
        effect: AccessEffect,
        now: DateTime<Utc>,
    ) -> Self {
        let reason = "made in the gateway's cabinet".to_owned();
        Self {
            state: RefundState::Succeeded,
            effect,
            gateway_tx_id,
            finished_at: Some(now),
            ..Self::requested(RefundId::new(), RefundSource::External, payment_id, money, reason, now)
        }
    }
}

/// What the machine may change of a row.
#[derive(Debug, AsChangeset)]
#[diesel(table_name = refund, treat_none_as_null = true)]
pub(crate) struct RefundChange {
    updated_at: DateTime<Utc>,
    state: RefundState,
    gateway_tx_id: Option<i64>,
    sends: i32,
    first_sent_at: Option<DateTime<Utc>>,
    last_sent_at: Option<DateTime<Utc>>,
    look_again_at: Option<DateTime<Utc>>,
    absent_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    info: Option<String>,
}

impl RefundChange {
    pub(crate) fn new(next: &Refund, now: DateTime<Utc>) -> Self {
        Self {
            updated_at: now,
            state: next.state,
            gateway_tx_id: next.gateway_tx_id,
            sends: next.sends,
            first_sent_at: next.first_sent_at,
            last_sent_at: next.last_sent_at,
            look_again_at: next.look_again_at,
            absent_at: next.absent_at,
            finished_at: next.finished_at,
            info: next.info.clone(),
        }
    }
}
