//! The contract page: a renamed task or field is a break on the wire.

use std::fmt::Write as _;

use billing::tasks::{
    Announce, ChargePayment, ChargeRenewal, CompleteThreeDs, EndHold, EndHolds, ExpireThreeDs, OpenRenewals,
    PaymentReceipt, RecognizeRevenue, Reconcile, ReconcileDays, RefundPayment, RepublishStranded, ResolvePayment,
    ResolveUnknown, ResumeRefunds, RollUpReports, RunBulks, SendReceipt, SettleNotifications, WatchReceipts,
    WipeTraces,
};
use billing::{PaymentId, RefundId};
use celeriac::Task;

use crate::support::{minutes, noon};

fn line<T: Task>(page: &mut String) {
    let options = T::OPTIONS;
    let queue = options.queue.unwrap_or("celery");
    let (late, retries) = (options.acks_late, options.max_retries);
    writeln!(page, "{}({}) on {queue}, acks late: {late}, retries: {retries:?}", T::NAME, T::FIELDS.join(", "))
        .unwrap();
}

#[test]
fn names_fields_and_queues_are_as_agreed() {
    let mut page = String::new();
    line::<ChargePayment>(&mut page);
    line::<CompleteThreeDs>(&mut page);
    line::<ChargeRenewal>(&mut page);
    line::<ResolvePayment>(&mut page);
    line::<EndHold>(&mut page);
    line::<RefundPayment>(&mut page);
    line::<OpenRenewals>(&mut page);
    line::<RepublishStranded>(&mut page);
    line::<ResolveUnknown>(&mut page);
    line::<ResumeRefunds>(&mut page);
    line::<ExpireThreeDs>(&mut page);
    line::<EndHolds>(&mut page);
    line::<SettleNotifications>(&mut page);
    line::<WipeTraces>(&mut page);
    line::<Announce>(&mut page);
    line::<ReconcileDays>(&mut page);
    line::<Reconcile>(&mut page);
    line::<RecognizeRevenue>(&mut page);
    line::<SendReceipt>(&mut page);
    line::<WatchReceipts>(&mut page);
    line::<RollUpReports>(&mut page);
    line::<RunBulks>(&mut page);
    insta::assert_snapshot!(page, @r"
    billing.charge_payment(payment_id) on payments, acks late: true, retries: Some(10)
    billing.complete_three_ds(payment_id) on payments, acks late: true, retries: Some(10)
    billing.charge_renewal(payment_id) on renewals, acks late: true, retries: Some(10)
    billing.resolve_payment(payment_id) on lookups, acks late: true, retries: Some(10)
    billing.end_hold(payment_id) on lookups, acks late: true, retries: Some(10)
    billing.refund_payment(refund_id) on lookups, acks late: true, retries: Some(10)
    billing.open_renewals() on billing, acks late: true, retries: Some(3)
    billing.republish_stranded() on billing, acks late: true, retries: Some(3)
    billing.resolve_unknown() on billing, acks late: true, retries: Some(3)
    billing.resume_refunds() on billing, acks late: true, retries: Some(3)
    billing.expire_three_ds() on billing, acks late: true, retries: Some(3)
    billing.end_holds() on billing, acks late: true, retries: Some(3)
    billing.settle_notifications() on billing, acks late: true, retries: Some(3)
    billing.wipe_traces() on billing, acks late: true, retries: Some(3)
    billing.announce() on billing, acks late: true, retries: Some(3)
    billing.reconcile_days() on billing, acks late: true, retries: Some(3)
    billing.reconcile(reconciliation_id) on lookups, acks late: true, retries: Some(3)
    billing.recognize_revenue() on billing, acks late: true, retries: Some(3)
    billing.send_receipt(receipt_id) on lookups, acks late: true, retries: Some(10)
    billing.watch_receipts() on billing, acks late: true, retries: Some(3)
    billing.roll_up_reports() on billing, acks late: true, retries: Some(3)
    billing.run_bulks() on billing, acks late: true, retries: Some(3)
    ");
}

#[test]
fn the_task_that_charges_a_payment_has_its_id() {
    let payment: PaymentId = "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee".parse().unwrap();
    assert_eq!(ChargePayment::task_id(payment), payment.to_string());
    assert_eq!(ChargeRenewal::task_id(payment), payment.to_string());
    // Always the same: a second message about the same thing is the same task.
    assert_eq!(CompleteThreeDs::task_id(payment), "c3b3367a-3b7d-5e4c-bf44-3c4d7088dd6b");
    assert_eq!(ResolvePayment::task_id(payment), "a4e1a71d-84dd-54e7-ad43-2e11d971ca21");
}

#[test]
fn each_look_at_a_payment_is_a_task_of_its_own() {
    let (payment, due) = (PaymentId::new(), noon());
    let look = |due_at| ResolvePayment::look_id(payment, due_at);
    assert_eq!(look(due), look(due), "a second message about the same look is the same task");
    assert_ne!(look(due), look(due + minutes(1)));
    assert_ne!(look(due), ResolvePayment::task_id(payment));
    assert_ne!(look(due), ResolvePayment::look_id(PaymentId::new(), due));
}

#[test]
fn each_step_of_a_refund_is_a_task_of_its_own() {
    let (refund, due) = (RefundId::new(), noon());
    assert_eq!(RefundPayment::task_id(refund), refund.to_string());
    let look = |due_at| RefundPayment::look_id(refund, due_at);
    assert_eq!(look(due), look(due));
    assert_ne!(look(due), look(due + minutes(1)));
    assert_ne!(look(due), RefundPayment::task_id(refund));
}

#[test]
fn the_timetable_does_not_stop_because_of_a_clock_that_is_wrong() {
    // Whether a message has expired, the clocks of two machines say.
    let expires = [
        EndHolds::OPTIONS.expires,
        OpenRenewals::OPTIONS.expires,
        RepublishStranded::OPTIONS.expires,
        ResolveUnknown::OPTIONS.expires,
        ResumeRefunds::OPTIONS.expires,
        ExpireThreeDs::OPTIONS.expires,
        SettleNotifications::OPTIONS.expires,
        WipeTraces::OPTIONS.expires,
        ReconcileDays::OPTIONS.expires,
        WatchReceipts::OPTIONS.expires,
    ];
    assert_eq!(expires, [None; 10]);
}

#[test]
fn a_receipt_is_two_fields() {
    let payment_id: PaymentId = "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee".parse().unwrap();
    let receipt = PaymentReceipt { payment_id, status: "succeeded".into() };
    let json = serde_json::to_string(&receipt).unwrap();
    insta::assert_snapshot!(json, @r#"{"payment_id":"0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee","status":"succeeded"}"#);
}
