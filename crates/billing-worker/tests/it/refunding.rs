//! Money goes back through a gateway that does what gateways do: once, whatever becomes of the response.

use billing::bill::BillStatus;
use billing::models::RefundRow;
use billing::payment::PaymentState;
use billing::refund::{RefundSource, RefundState};
use billing::store::payments::PaymentView;
use billing::store::refunds::{self, Ask, BeginRefund};
use billing::tasks::{RefundPayment, ResumeRefunds};
use billing::{Kopecks, PaymentId, RefundId, clock};
use celeriac::SendOptions;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{MONTH, PAYS, SOON, World};

const REFUND: &str = "/payments/refund";

impl World {
    async fn paid(&self) -> PaymentView {
        let payment = self.pays(PAYS).await;
        self.ends_as(payment.id, PaymentState::Succeeded).await
    }

    /// Written down, and no worker told.
    pub(crate) async fn asks(&self, payment_id: PaymentId, kopecks: Option<i64>) -> RefundRow {
        let ask = Ask {
            payment_id,
            amount: kopecks.map(Kopecks::new),
            effect: None,
            reason: "the film did not start".into(),
            who: "anna".into(),
            role: "accountant".into(),
            client: "panel".into(),
            idempotency_key: PaymentId::new().to_string(),
            now: clock::now(),
        };
        let mut conn = self.services.db.conn().await.unwrap();
        refunds::request(&mut conn, &ask).await.unwrap().refund
    }

    pub(crate) async fn sends(&self, refund_id: RefundId) {
        let options = SendOptions::new().task_id(RefundPayment::task_id(refund_id));
        self.services.app.send_with(RefundPayment { refund_id }, options).await.unwrap();
    }

    pub(crate) async fn refund_of(&self, id: RefundId) -> RefundRow {
        let mut conn = self.services.db.conn().await.unwrap();
        refunds::get(&mut conn, id).await.unwrap().unwrap()
    }

    /// The timetable has it turned to until it is in this state.
    pub(crate) async fn refund_ends_as(&self, id: RefundId, state: RefundState) -> RefundRow {
        testkit::eventually(SOON, || async {
            self.tick(ResumeRefunds {}).await;
            let refund = self.refund_of(id).await;
            if refund.state == state { Ok(refund) } else { Err(refund) }
        })
        .await
    }

    /// The refunds that the gateway has made of a payment, in hundredths of its unit.
    async fn given_back(&self, payment: &PaymentView) -> Vec<Value> {
        let all = self.ledger(payment.invoice_no).await;
        all.into_iter().filter(|entry| entry["type"] == "Refund").collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_made_once_and_ends_what_it_paid_for() {
    let world = World::start().await;
    let payment = world.paid().await;
    let refund = world.asks(payment.id, None).await;
    for _ in 0..3 {
        world.sends(refund.id).await;
    }
    let done = world.refund_ends_as(refund.id, RefundState::Succeeded).await;
    let made = world.given_back(&payment).await;
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(done.gateway_tx_id, made[0]["id"].as_i64());
    assert_eq!(world.payment(payment.id).await.bill_status, BillStatus::Refunded);
    assert!(!world.has_access(payment.account_id).await);
}

/// C17, and every other way to lose a response: the identical request goes out again, and gives nothing back twice.
#[tokio::test(flavor = "multi_thread")]
async fn c17_a_response_that_is_lost_gives_back_once() {
    let world = World::start().await;
    let mut lost = Vec::new();
    for fault in ["drop_after", "error_500_after", "garbage_after", "refusal_after", "drop_before", "error_500_before"]
    {
        let payment = world.paid().await;
        world.order(json!({ "match": { "path": REFUND }, "fault": fault })).await;
        let refund = world.asks(payment.id, Some(10_000)).await;
        world.sends(refund.id).await;
        testkit::eventually(SOON, || async {
            if world.faults_left().await == 0 { Ok(()) } else { Err("not sent yet") }
        })
        .await;
        lost.push((fault, payment, refund));
    }
    for (fault, payment, refund) in lost {
        world.refund_ends_as(refund.id, RefundState::Succeeded).await;
        let made = world.given_back(&payment).await;
        assert_eq!(made.len(), 1, "{fault}: {made:?}");
        assert_eq!(world.payment(payment.id).await.bill_status, BillStatus::PartiallyRefunded, "{fault}");
        let distinct = format!(
            "(select distinct request_id from gateway_call where payment_id = '{}' and path = '{REFUND}') r",
            payment.id
        );
        assert_eq!(world.count(&distinct).await, 1, "{fault}: never under another request id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_puts_off_is_sent_again_and_what_it_does_not_understand_is_told() {
    let world = World::start().await;
    let payment = world.paid().await;
    world.order(json!({ "match": { "path": REFUND }, "fault": "http_429" })).await;
    let refund = world.asks(payment.id, Some(10_000)).await;
    world.sends(refund.id).await;
    let put_off = testkit::eventually(SOON, || async {
        let refund = world.refund_of(refund.id).await;
        if refund.look_again_at.is_some() { Ok(refund) } else { Err(refund) }
    })
    .await;
    assert_eq!((put_off.state, put_off.sends), (RefundState::Requested, 0), "it was provably not processed");
    world.sql("update refund set look_again_at = null").await;
    world.refund_ends_as(refund.id, RefundState::Succeeded).await;
    assert_eq!(world.given_back(&payment).await.len(), 1);

    world.order(json!({ "match": { "path": REFUND }, "fault": "invalid_before" })).await;
    let refund = world.asks(payment.id, Some(10_000)).await;
    world.sends(refund.id).await;
    let failed = world.refund_ends_as(refund.id, RefundState::Failed).await;
    assert!(failed.info.is_some());
    let told = format!("event where kind = 'needs_attention' and payment_id = '{}'", payment.id);
    assert_eq!(world.count(&told).await, 1);
    assert_eq!(world.given_back(&payment).await.len(), 1);
}

/// After fifty minutes the gateway may have forgotten the request id: it is only looked for, and found by its own number.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_doubt_is_looked_for_and_never_sent_again() {
    let world = World::start().await;
    let (made, never) = (world.paid().await, world.paid().await);
    for payment in [&made, &never] {
        let refund = world.asks(payment.id, Some(10_000)).await;
        let begun = {
            let mut conn = world.services.db.conn().await.unwrap();
            refunds::begin(&mut conn, refund.id, clock::now() - TimeDelta::hours(1), clock::now()).await.unwrap()
        };
        assert!(matches!(begun, BeginRefund::Send(_)));
        // Its worker died two hours ago: after the request had arrived, or before it left.
        if payment.id == made.id {
            world.refund_as_ours(payment.transaction_id.unwrap(), 100, &refund).await;
        }
        let long_ago = "first_sent_at = now() - interval '2 hours', last_sent_at = now() - interval '2 hours'";
        world.sql(&format!("update refund set {long_ago} where id = '{}'", refund.id)).await;
    }
    let row = world.only_refund_of(&made).await;
    let found = world.refund_ends_as(row.id, RefundState::Succeeded).await;
    assert_eq!(found.gateway_tx_id, world.given_back(&made).await[0]["id"].as_i64());
    let row = world.only_refund_of(&never).await;
    testkit::eventually(SOON, || async {
        world.tick(ResumeRefunds {}).await;
        let refund = world.refund_of(row.id).await;
        if refund.absent_at.is_some() { Ok(()) } else { Err(refund) }
    })
    .await;
    world
        .sql(
            "update refund set look_again_at = now(), absent_at = now() - interval '11 minutes' where state = 'unknown'",
        )
        .await;
    let failed = world.refund_ends_as(row.id, RefundState::Failed).await;
    assert_eq!(failed.info.as_deref(), Some("the gateway never executed it"));
    assert!(world.given_back(&never).await.is_empty());
    assert_eq!(world.payment(never.id).await.bill_status, BillStatus::Paid);
}

impl World {
    async fn only_refund_of(&self, payment: &PaymentView) -> RefundRow {
        let mut conn = self.services.db.conn().await.unwrap();
        refunds::of_payment(&mut conn, payment.id).await.unwrap().remove(0)
    }

    /// As our request would have made it, whose response nobody heard.
    async fn refund_as_ours(&self, transaction_id: i64, roubles: i64, refund: &RefundRow) {
        let json = json!({ "refund_id": refund.id.to_string() });
        let order = json!({ "TransactionId": transaction_id, "Amount": roubles, "JsonData": json });
        self.at_the_gateway("/payments/refund", order, &refund.request_id).await;
    }
}

/// An abandoned or refused attempt whose money comes after all goes back by itself, and is told.
#[tokio::test(flavor = "multi_thread")]
async fn money_that_nobody_owes_goes_back_by_itself() {
    let world = World::with(&["--resolve-first-look", "350ms"]).await;
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Unknown).await;
    // Its person asks to be forgotten while nobody knows whether it was taken.
    {
        let request = billing::store::subscriptions::Request {
            account_id: payment.account_id,
            client: "frontend".into(),
            idempotency_key: "forget".into(),
            now: clock::now(),
        };
        let mut conn = world.services.db.conn().await.unwrap();
        billing::store::subscriptions::close(&mut conn, &request, true).await.unwrap();
    }
    world.is_resolved_as(payment.id, PaymentState::SucceededDuplicate).await;
    let refund = world.refund_ends_as(refunds::automatic_id(payment.id), RefundState::Succeeded).await;
    assert_eq!((refund.source, refund.amount), (RefundSource::Automatic, payment.amount));
    assert_eq!(world.given_back(&payment).await.len(), 1);
    // Only now may its traces be wiped.
    let wiped = {
        let mut conn = world.services.db.conn().await.unwrap();
        let later = clock::now() + TimeDelta::days(40);
        billing::store::closing::wipe_traces(&mut conn, later, TimeDelta::days(30), 10).await.unwrap()
    };
    assert_eq!(wiped, [payment.account_id]);
}

/// C19: parts made in the cabinet, while the response to the charge was lost, are rows of their own.
#[tokio::test(flavor = "multi_thread")]
async fn c19_a_part_from_the_cabinet_that_a_look_meets_is_kept_with_its_amount() {
    let world = World::with(&["--resolve-first-look", "350ms"]).await;
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    testkit::eventually(SOON, || async {
        if world.ledger(payment.invoice_no).await.is_empty() { Err("not charged yet") } else { Ok(()) }
    })
    .await;
    world.refund(json!({ "invoice_id": payment.invoice_no.to_string(), "amount": 100.0 })).await;
    let paid = world.is_resolved_as(payment.id, PaymentState::Succeeded).await;
    assert_eq!(paid.bill_status, BillStatus::PartiallyRefunded);
    let external = world.only_refund_of(&payment).await;
    assert_eq!((external.source, external.amount.get()), (RefundSource::External, 10_000));
    assert_eq!(external.gateway_tx_id, world.given_back(&payment).await[0]["id"].as_i64());
    let rest = world.asks(payment.id, None).await;
    assert_eq!(rest.amount.get(), 29_900);
    world.sends(rest.id).await;
    world.refund_ends_as(rest.id, RefundState::Succeeded).await;
    assert_eq!(world.payment(payment.id).await.bill_status, BillStatus::Refunded);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_only_held_is_let_go() {
    let world = World::beside(cloudpayments_sandbox::Config { two_stage: true, ..World::sandbox() }, &[]).await;
    let payment = world.created(PAYS, MONTH).await;
    // It is held, and cannot be taken.
    world.order(json!({ "match": { "path": "/payments/confirm" }, "fault": "error_500_before", "times": 1000 })).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Authorized).await;
    world.order(json!({ "match": { "path": "/payments/void" }, "fault": "drop_after" })).await;
    let refund = world.asks(payment.id, None).await;
    world.sends(refund.id).await;
    world.refund_ends_as(refund.id, RefundState::Succeeded).await;
    let ended = world.payment(payment.id).await;
    assert_eq!((ended.state, ended.bill_status), (PaymentState::Voided, BillStatus::NotPaid));
    let held = world.ledger(payment.invoice_no).await;
    assert_eq!((held.len(), held[0]["status"].as_str()), (1, Some("Cancelled")));
    assert!(!world.has_access(payment.account_id).await);
}
