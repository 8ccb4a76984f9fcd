//! The contract page: a renamed task or field is a break on the wire.

use std::fmt::Write as _;

use billing::PaymentId;
use billing::tasks::{
    ChargePayment, ChargeRenewal, CompleteThreeDs, ExpireThreeDs, OpenRenewals, PaymentReceipt, RepublishStranded,
    ResolvePayment, ResolveUnknown,
};
use celeriac::Task;

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
    line::<OpenRenewals>(&mut page);
    line::<RepublishStranded>(&mut page);
    line::<ResolveUnknown>(&mut page);
    line::<ExpireThreeDs>(&mut page);
    insta::assert_snapshot!(page);
}

#[test]
fn the_task_that_charges_a_payment_has_its_id() {
    let payment: PaymentId = "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee".parse().unwrap();
    assert_eq!(ChargePayment::task_id(payment), payment.to_string());
    assert_eq!(ChargeRenewal::task_id(payment), payment.to_string());
    let derived = [CompleteThreeDs::task_id(payment), ResolvePayment::task_id(payment)];
    assert_eq!(derived, [CompleteThreeDs::task_id(payment), ResolvePayment::task_id(payment)], "the same every time");
    let mut all = vec![payment.to_string(), derived[0].clone(), derived[1].clone()];
    all.dedup();
    assert_eq!(all.len(), 3);
    insta::assert_snapshot!(derived.join(" "));
}

#[test]
fn a_receipt_is_two_fields() {
    let payment_id: PaymentId = "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee".parse().unwrap();
    let receipt = PaymentReceipt { payment_id, status: "succeeded".into() };
    insta::assert_snapshot!(serde_json::to_string(&receipt).unwrap());
}
