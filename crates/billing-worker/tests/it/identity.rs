//! What the gateway has under our numbers may be another's.

use billing::bill::BillStatus;
use billing::payment::PaymentState;
use serde_json::json;

use crate::world::{MONTH, PAYS, World};

/// A database restored to before a payment: its row is gone, and its invoice number is given out again.
async fn restored_to_before(world: &World, payment: &billing::store::payments::PaymentView) {
    let bill = payment.bill_id;
    world.sql(&format!("delete from payment where id = '{}'", payment.id)).await;
    world.sql(&format!("delete from bill where id = '{bill}'")).await;
    // What cannot be taken from the ledger is not in it there.
    let entered = format!(
        "do $$ begin
            alter table journal_entry disable trigger user;
            alter table journal_line disable trigger user;
            delete from journal_line where entry_id in (select id from journal_entry where payment_id = '{0}');
            delete from journal_entry where payment_id = '{0}';
            delete from deferral where payment_id = '{0}';
            alter table journal_entry enable trigger user;
            alter table journal_line enable trigger user;
        end $$",
        payment.id
    );
    world.sql(&entered).await;
    let back = format!("select setval('payment_invoice_no_seq', {}, false)", payment.invoice_no);
    world.sql(&back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_of_another_customer_under_the_same_invoice_number_gives_no_access_and_waits_for_a_person() {
    let world = World::with(&["--resolve-look-only", "30m"]).await;
    let first = world.pays(PAYS).await;
    let first = world.ends_as(first.id, PaymentState::Succeeded).await;
    restored_to_before(&world, &first).await;

    let second = world.created(PAYS, MONTH).await;
    assert_eq!(second.invoice_no, first.invoice_no, "the sequence has gone back");
    world.fault(second.account_id, json!({ "fault": "drop_before" })).await;
    world.charge(second.id).await;
    let orphan = testkit::eventually(crate::world::SOON, || async {
        world.tick(billing::tasks::ResolveUnknown {}).await;
        world.orphans(second.id).await.pop().ok_or("no orphan yet")
    })
    .await;
    assert_eq!(Some(orphan.transaction_id), first.transaction_id);
    assert_eq!(orphan.account_id, Some(first.account_id.to_string()));
    let doubted = world.payment(second.id).await;
    assert_eq!((doubted.state, doubted.transaction_id), (PaymentState::Unknown, None));
    assert!(!world.has_access(second.account_id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_whose_invoice_number_is_another_payments_is_repeated_and_ends_by_its_own_answer() {
    let world = World::start().await;
    let first = world.pays(PAYS).await;
    let first = world.ends_as(first.id, PaymentState::Succeeded).await;
    restored_to_before(&world, &first).await;

    let second = world.created(PAYS, MONTH).await;
    world.fault(second.account_id, json!({ "fault": "drop_before" })).await;
    world.charge(second.id).await;
    let paid = world.is_resolved_as(second.id, PaymentState::Succeeded).await;
    assert_ne!(paid.transaction_id, first.transaction_id);
    world.assert_charged(second.account_id, 1).await;
    assert_eq!(world.orphans(second.id).await.len(), 1, "told once, however often it was met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_test_mode_on_a_live_terminal_gives_no_access_and_makes_room() {
    let world = World::with(&["--cloudpayments-terminal", "live"]).await;
    let payment = world.pays(PAYS).await;
    let tested = world.ends_as(payment.id, PaymentState::Rejected).await;
    assert_eq!(tested.bill_status, BillStatus::NotPaid, "no money was taken: another try is safe");
    assert!(!world.has_access(payment.account_id).await);
    let [orphan] = &world.orphans(payment.id).await[..] else { panic!("no orphan") };
    assert_eq!((orphan.test_mode, orphan.invoice_id.clone()), (Some(true), Some(payment.invoice_no.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_payment_in_test_mode_on_a_live_terminal_gives_no_access_either() {
    let world = World::with(&["--cloudpayments-terminal", "live"]).await;
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    world.is_resolved_as(payment.id, PaymentState::Rejected).await;
    assert!(!world.has_access(payment.account_id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_currency_without_decimals_is_charged_in_whole_units() {
    let world = World::start().await;
    // The Belarusian rouble of before 2016, which the gateway still lists, had no decimals.
    world.sql("update tariff set currency = 'BYR', amount = 500").await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let [entry] = &world.ledger(payment.invoice_no).await[..] else { panic!("not charged once") };
    assert_eq!((entry["amount"].to_string().as_str(), entry["currency"].as_str()), ("500", Some("BYR")));
}
