//! Every asynchronous thing the system does, on one page: the contract between who sends and who executes.
//!
//! Arguments are ids only, for operators see them in their dashboards. A task is a function of the rows' state, never
//! of "I was called": each may be delivered any number of times.

use celeriac::backend::StoredResult;
use celeriac::protocol::ResultMeta;
use celeriac::{App, Task};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{PaymentId, ReceiptId, ReconciliationId, RefundId};

/// What a customer waits for: first payments, and the answers of the bank's page. Workers keep places for it.
pub const PAYMENTS: &str = "payments";
/// Renewals, which nobody waits for.
pub const RENEWALS: &str = "renewals";
/// Questions to the gateway: what became of a payment. Slow whenever the gateway is.
pub const LOOKUPS: &str = "lookups";
/// The timetable: it finds work in the rows and hands it on, and never waits for the gateway.
pub const TIMETABLE: &str = "billing";
/// Where all of it is.
pub const QUEUES: [&str; 4] = [PAYMENTS, RENEWALS, LOOKUPS, TIMETABLE];

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
    queue = "renewals",
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

/// Asks the gateway what became of a payment in doubt, or of one whose 3-D Secure page was not answered, if a look at it
/// is due. When the next one is, its row says: so it is not tried again as a task.
#[derive(Debug, Clone, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(
    name = "billing.resolve_payment",
    queue = "lookups",
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

/// Takes the money of a payment that is only held, or lets it go. When it is tried again, its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(
    name = "billing.end_hold",
    queue = "lookups",
    acks_late,
    ignore_result,
    autoretry,
    max_retries = 10,
    retry_backoff = "1s",
    retry_backoff_max = "10m",
    soft_time_limit = "4m",
    time_limit = "5m"
)]
pub struct EndHold {
    pub payment_id: PaymentId,
}

/// Gives money back, or asks the gateway what became of a refund in doubt, if either is due. When the next step is, its row
/// says: so it is not tried again as a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(
    name = "billing.refund_payment",
    queue = "lookups",
    acks_late,
    autoretry,
    max_retries = 10,
    retry_backoff = "1s",
    retry_backoff_max = "10m",
    soft_time_limit = "4m",
    time_limit = "5m"
)]
pub struct RefundPayment {
    pub refund_id: RefundId,
}

/// Has the cash register asked for a receipt alone. When it is asked again, its row says: so it is not tried again as a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(
    name = "billing.send_receipt",
    queue = "lookups",
    acks_late,
    ignore_result,
    autoretry,
    max_retries = 10,
    retry_backoff = "1s",
    retry_backoff_max = "10m",
    soft_time_limit = "4m",
    time_limit = "5m"
)]
pub struct SendReceipt {
    pub receipt_id: ReceiptId,
}

// Tasks of the timetable do not expire: whether they had, the clocks of two machines would say, and one that is wrong would
// stop all billing. Those that pile up while no worker runs find nothing to do.

/// Opens the renewals that are due.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.open_renewals", queue = "billing", acks_late, ignore_result)]
pub struct OpenRenewals {}

/// Tells subscribers beforehand: of a renewal, of a card that expires, of another price.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.announce", queue = "billing", acks_late, ignore_result)]
pub struct Announce {}

/// Wakes workers for payments whose message was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.republish_stranded", queue = "billing", acks_late, ignore_result)]
pub struct RepublishStranded {}

/// Has payments in doubt resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.resolve_unknown", queue = "billing", acks_late, ignore_result)]
pub struct ResolveUnknown {}

/// Wakes workers for refunds that nobody turns to, and has those in doubt looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.resume_refunds", queue = "billing", acks_late, ignore_result)]
pub struct ResumeRefunds {}

/// Tells of receipts that were not made, and wakes workers for those that the cash register is to be asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.watch_receipts", queue = "billing", acks_late, ignore_result)]
pub struct WatchReceipts {}

/// Ends payments whose 3-D Secure page was never answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.expire_three_ds", queue = "billing", acks_late, ignore_result)]
pub struct ExpireThreeDs {}

/// Has the money of payments that is only held taken, or let go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.end_holds", queue = "billing", acks_late, ignore_result)]
pub struct EndHolds {}

/// Lets notifications of the gateway have the effect that they could not have when they came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.settle_notifications", queue = "billing", acks_late, ignore_result)]
pub struct SettleNotifications {}

/// Makes room for the months to come in the tables that are cut by time, and drops what is kept no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.keep_history", queue = "billing", acks_late, ignore_result)]
pub struct KeepHistory {}

/// Enters the revenue of the days that are over into the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.recognize_revenue", queue = "billing", acks_late, ignore_result)]
pub struct RecognizeRevenue {}

/// Adds up the days whose revenue is entered, for reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.roll_up_reports", queue = "billing", acks_late, ignore_result)]
pub struct RollUpReports {}

/// Goes through actions of the staff on many rows that were agreed to, until each has its end. Where they stand is in their rows,
/// so nothing is lost by a worker that dies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.run_bulks", queue = "billing", acks_late, ignore_result)]
pub struct RunBulks {}

/// Forgets the persons behind accounts that were closed long enough ago.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.wipe_traces", queue = "billing", acks_late, ignore_result)]
pub struct WipeTraces {}

/// Has the last closed days compared with the gateway's list, and runs that were left in the middle gone on with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(name = "billing.reconcile_days", queue = "billing", acks_late, ignore_result)]
pub struct ReconcileDays {}

/// Goes on with a run, for a while; then with what is due after it. Where it stands is in its row, so nothing is lost by a
/// worker that dies: it is not tried again as a task.
#[derive(Debug, Clone, PartialEq, Eq, Task, Serialize, Deserialize)]
#[task(
    name = "billing.reconcile",
    queue = "lookups",
    acks_late,
    ignore_result,
    soft_time_limit = "8m",
    time_limit = "9m"
)]
pub struct Reconcile {
    pub reconciliation_id: ReconciliationId,
}

/// The result of the four tasks about one payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentReceipt {
    pub payment_id: PaymentId,
    /// A [`PaymentState`](crate::payment::PaymentState) as text.
    pub status: String,
}

/// The result of [`RefundPayment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundReceipt {
    pub refund_id: RefundId,
    /// A [`RefundState`](crate::refund::RefundState) as text.
    pub status: String,
}

impl PaymentReceipt {
    /// Tells those who watch the payment that it stands here, whatever brought it there: a look, or a notification.
    pub async fn announce(&self, app: &App, now: DateTime<Utc>) {
        let task_id = ResolvePayment::task_id(self.payment_id);
        let Ok(meta) = ResultMeta::success(task_id.clone(), self, now) else { return };
        let told = StoredResult { task_id, meta: meta.to_json(), is_final: true };
        if let Err(error) = app.backend().store(&[told]).await {
            tracing::debug!(payment_id = %self.payment_id, %error, "who watches it sees it a little later");
        }
    }
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
    /// Under this id the end of a payment in doubt is told to those who watch it. It is the id of no message: each look has
    /// one of its own, for a worker that dies with one look says nothing about the next.
    #[must_use]
    pub fn task_id(payment_id: PaymentId) -> String {
        derived(payment_id, "billing.resolve_payment")
    }

    /// The id of the look that is due then. Of one payment no two are due at the same time.
    #[must_use]
    pub fn look_id(payment_id: PaymentId, due_at: DateTime<Utc>) -> String {
        derived(payment_id, &format!("billing.resolve_payment {}", due_at.timestamp_micros()))
    }
}

impl SendReceipt {
    /// The id of the first message about an order to the register.
    #[must_use]
    pub fn task_id(receipt_id: ReceiptId) -> String {
        receipt_id.to_string()
    }

    /// The id of the message about what is due since then.
    #[must_use]
    pub fn due_id(receipt_id: ReceiptId, due_at: DateTime<Utc>) -> String {
        let step = format!("billing.send_receipt {}", due_at.timestamp_micros());
        Uuid::new_v5(&receipt_id.get(), step.as_bytes()).to_string()
    }
}

impl RefundPayment {
    /// The id of the first message about a refund.
    #[must_use]
    pub fn task_id(refund_id: RefundId) -> String {
        refund_id.to_string()
    }

    /// The id of the step that is due then: a worker that dies with one says nothing about the next.
    #[must_use]
    pub fn look_id(refund_id: RefundId, due_at: DateTime<Utc>) -> String {
        let step = format!("billing.refund_payment {}", due_at.timestamp_micros());
        Uuid::new_v5(&refund_id.get(), step.as_bytes()).to_string()
    }
}
