//! Every asynchronous thing the system does, on one page: the contract between who sends and who executes.
//!
//! Arguments are ids only, for operators see them in their dashboards. A task is a function of the rows' state, never
//! of "I was called": each may be delivered any number of times.

use celeriac::Task;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::PaymentId;

/// Sends a new payment to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(
    name = "billing.charge_payment",
    queue = "payments",
    acks_late,
    autoretry,
    max_retries = 10,
    retry_backoff = "1s",
    retry_backoff_max = "10m",
    soft_time_limit = "4m",
    time_limit = "5m"
)]
pub struct ChargePayment {
    pub payment_id: PaymentId,
}

/// Passes the customer's answer to the bank's page on to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(
    name = "billing.complete_three_ds",
    queue = "payments",
    acks_late,
    autoretry,
    max_retries = 10,
    retry_backoff = "1s",
    retry_backoff_max = "10m",
    soft_time_limit = "4m",
    time_limit = "5m"
)]
pub struct CompleteThreeDs {
    pub payment_id: PaymentId,
}

/// Charges a renewal by the kept token.
#[derive(Debug, Clone, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(
    name = "billing.charge_renewal",
    queue = "payments",
    acks_late,
    autoretry,
    max_retries = 10,
    retry_backoff = "1s",
    retry_backoff_max = "10m",
    soft_time_limit = "4m",
    time_limit = "5m"
)]
pub struct ChargeRenewal {
    pub payment_id: PaymentId,
}

/// Asks the gateway what became of a payment in doubt.
#[derive(Debug, Clone, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(
    name = "billing.resolve_payment",
    queue = "payments",
    acks_late,
    autoretry,
    max_retries = 10,
    retry_backoff = "1s",
    retry_backoff_max = "10m",
    soft_time_limit = "4m",
    time_limit = "5m"
)]
pub struct ResolvePayment {
    pub payment_id: PaymentId,
}

/// Opens the renewals that are due.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.open_renewals", queue = "billing", acks_late, expires = "5m", ignore_result)]
pub struct OpenRenewals {}

/// Wakes workers for payments whose message was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.republish_stranded", queue = "billing", acks_late, expires = "5m", ignore_result)]
pub struct RepublishStranded {}

/// Has payments in doubt resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.resolve_unknown", queue = "billing", acks_late, expires = "5m", ignore_result)]
pub struct ResolveUnknown {}

/// Ends payments whose 3-D Secure page was never answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.expire_three_ds", queue = "billing", acks_late, expires = "5m", ignore_result)]
pub struct ExpireThreeDs {}

/// Takes the money of payments that is only held, or lets it go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.end_holds", queue = "billing", acks_late, expires = "5m", ignore_result)]
pub struct EndHolds {}

/// The result of the four tasks about one payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentReceipt {
    pub payment_id: PaymentId,
    /// A [`PaymentState`](crate::payment::PaymentState) as text.
    pub status: String,
}

/// A payment is charged by one task, and that task has the payment's id: who waits for the payment watches
/// `celery-task-meta-<payment id>`. The other tasks' ids follow from it too, so that a second message of the same
/// thing is the same task.
fn derived(payment_id: PaymentId, kind: &str) -> String {
    Uuid::new_v5(&payment_id.get(), kind.as_bytes()).to_string()
}

impl ChargePayment {
    #[must_use]
    pub fn task_id(payment_id: PaymentId) -> String {
        payment_id.to_string()
    }
}

impl ChargeRenewal {
    #[must_use]
    pub fn task_id(payment_id: PaymentId) -> String {
        payment_id.to_string()
    }
}

impl CompleteThreeDs {
    #[must_use]
    pub fn task_id(payment_id: PaymentId) -> String {
        derived(payment_id, "billing.complete_three_ds")
    }
}

impl ResolvePayment {
    #[must_use]
    pub fn task_id(payment_id: PaymentId) -> String {
        derived(payment_id, "billing.resolve_payment")
    }
}
