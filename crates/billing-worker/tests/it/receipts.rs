//! Receipts (54-FZ) that go to the gateway with each charge, its confirmation and each refund, and alone.

use std::time::Duration;

use billing::payment::PaymentState;
use billing::refund::RefundState;
use billing::store::receipts;
use billing::tasks::{EndHolds, SendReceipt, WatchReceipts};
use serde_json::{Value, json};
use testkit::{AuthService, Conduct};

use crate::world::{HAS_NO_FUNDS, MONTH, PAYS, SOON, World};

const ON: [&str; 8] = [
    "--receipts-taxation-system",
    "1",
    "--receipts-inn",
    "7700000000",
    "--receipts-place",
    "https://cinema.example",
    "--receipts-fallback-email",
    "receipts@cinema.example",
];

impl World {
    async fn with_receipts(auth: &AuthService, settings: &[&str]) -> Self {
        let url = auth.url();
        Self::with(&[&ON[..], &["--auth-url", url.as_str()], settings].concat()).await
    }

    /// The receipts that the gateway was asked for with this payment, one for each charge that it has taken.
    async fn receipts_at_the_gateway(&self, invoice_no: i64) -> Vec<Value> {
        let charges = self.ledger(invoice_no).await;
        let data = charges.iter().map(|charge| charge["json_data"].as_str().unwrap_or("{}").to_owned());
        data.map(|data| serde_json::from_str::<Value>(&data).unwrap()["cloudpayments"]["CustomerReceipt"].take())
            .collect()
    }

    /// Receipts that still hold where they go.
    async fn sealed(&self) -> i64 {
        self.count("receipt where sealed is not null").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_asks_for_a_receipt_to_where_the_auth_service_says() {
    let auth = AuthService::start().await;
    let world = World::with_receipts(&auth, &[]).await;
    world.sql("insert into tariff_vat select id, '2020-01-01', 22, now(), 'accountant', 4, 4 from tariff").await;
    let payment = world.created(PAYS, MONTH).await;
    auth.reach(&payment.account_id.to_string(), "anna@example.com");
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let [receipt] = &world.receipts_at_the_gateway(payment.invoice_no).await[..] else { panic!("not one charge") };
    assert_eq!(
        *receipt,
        json!({
            "Items": [{
                "label": "Месяц", "price": 399.0, "quantity": 1, "amount": 399.0, "vat": 22, "method": 4, "object": 4,
            }],
            "calculationPlace": "https://cinema.example",
            "taxationSystem": 1,
            "amounts": { "electronic": 399.0 },
            "email": "anna@example.com",
        })
    );
    assert_eq!((world.count("receipt").await, world.sealed().await), (1, 0), "wiped at the end");
    let shown = "gateway_call where request like '%anna%' or response like '%anna%'";
    assert_eq!(world.count(shown).await, 0);

    let refused = world.pays(HAS_NO_FUNDS).await;
    world.ends_as(refused.id, PaymentState::Declined).await;
    assert_eq!((world.count("receipt").await, world.sealed().await), (2, 0), "whatever the end is");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_service_that_does_not_say_it_in_time_keeps_nobody_waiting() {
    let auth = AuthService::start().await;
    auth.behave(Conduct { slow: Duration::from_secs(60), ..Conduct::default() });
    let world = World::with_receipts(&auth, &[]).await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let [receipt] = &world.receipts_at_the_gateway(payment.invoice_no).await[..] else { panic!("not one charge") };
    assert_eq!(receipt["email"], "receipts@cinema.example");
    assert_eq!(receipt["Items"][0]["vat"], Value::Null, "nothing was set for the tariff");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_is_repeated_asks_for_the_same_receipt() {
    let auth = AuthService::start().await;
    let world = World::with_receipts(&auth, &[]).await;
    let payment = world.created(PAYS, MONTH).await;
    let account = payment.account_id.to_string();
    auth.reach(&account, "anna@example.com");
    world.fault(payment.account_id, json!({ "fault": "drop_before" })).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Unknown).await;
    assert_eq!(world.sealed().await, 1);
    // The person has another address by then, and the tariff other terms.
    auth.reach(&account, "another@example.com");
    world.sql("insert into tariff_vat select id, '2020-01-01', 20, now(), 'accountant', 4, 4 from tariff").await;
    world.is_resolved_as(payment.id, PaymentState::Succeeded).await;
    let [receipt] = &world.receipts_at_the_gateway(payment.invoice_no).await[..] else { panic!("not one charge") };
    assert_eq!((&receipt["email"], &receipt["Items"][0]["vat"]), (&json!("anna@example.com"), &Value::Null));
    assert_eq!(world.sealed().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_off_unless_they_are_wanted() {
    let world = World::start().await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    assert_eq!(world.receipts_at_the_gateway(payment.invoice_no).await, [Value::Null]);
    assert_eq!(world.count("receipt").await, 0);
}

impl World {
    /// The receipts of what the gateway has of one type (`Payment`, `Refund`) under this number.
    async fn receipts_of(&self, invoice_no: i64, kind: &str) -> Vec<Value> {
        let all = self.ledger(invoice_no).await;
        let data = all.iter().filter(|entry| entry["type"] == kind).map(|entry| entry["json_data"].as_str());
        data.map(|data| serde_json::from_str(data.unwrap_or("{}")).unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_that_goes_back_asks_for_a_return_receipt_to_the_kopeck() {
    let auth = AuthService::start().await;
    let world = World::with_receipts(&auth, &[]).await;
    world.sql("insert into tariff_vat select id, '2020-01-01', 22, now(), 'accountant', 4, 4 from tariff").await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    auth.reach(&payment.account_id.to_string(), "anna@example.com");
    for kopecks in [Some(12_345), None] {
        let refund = world.asks(payment.id, kopecks).await;
        world.sends(refund.id).await;
        world.refund_ends_as(refund.id, RefundState::Succeeded).await;
    }
    let data = world.receipts_of(payment.invoice_no, "Refund").await;
    let receipts: Vec<&Value> = data.iter().map(|data| &data["cloudpayments"]["CustomerReceipt"]).collect();
    let said: Vec<_> = receipts.iter().map(|receipt| (&receipt["amounts"]["electronic"], &receipt["email"])).collect();
    let email = json!("anna@example.com");
    assert_eq!(said, [(&json!(123.45), &email), (&json!(275.55), &email)]);
    assert_eq!((&receipts[0]["Items"][0]["amount"], &receipts[0]["Items"][0]["vat"]), (&json!(123.45), &json!(22)));
    assert!(data.iter().all(|data| data["refund_id"].is_string()), "our ids are there too: {data:?}");
    assert_eq!((world.count("receipt where kind = 'income_return'").await, world.sealed().await), (2, 0));
    assert_eq!(world.count("gateway_call where request like '%anna%' or response like '%anna%'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_is_repeated_asks_for_the_same_receipt() {
    let auth = AuthService::start().await;
    let world = World::with_receipts(&auth, &[]).await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let account = payment.account_id.to_string();
    auth.reach(&account, "anna@example.com");
    let refund = world.asks(payment.id, Some(10_000)).await;
    let invoice = payment.invoice_no.to_string();
    world
        .order(json!({ "match": { "path": "/payments/refund", "invoice_id": invoice }, "fault": "drop_before" }))
        .await;
    world.sends(refund.id).await;
    testkit::eventually(SOON, || async {
        let refund = world.refund_of(refund.id).await;
        if refund.state == RefundState::Unknown { Ok(()) } else { Err(refund) }
    })
    .await;
    assert_eq!(world.sealed().await, 1);
    auth.reach(&account, "another@example.com");
    world.refund_ends_as(refund.id, RefundState::Succeeded).await;
    let [data] = &world.receipts_of(payment.invoice_no, "Refund").await[..] else { panic!("not one refund") };
    assert_eq!(data["cloudpayments"]["CustomerReceipt"]["email"], "anna@example.com");
    assert_eq!(world.sealed().await, 0);
}

/// The confirmation takes the place of what came with the charge, and a restore reads that.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_says_all_that_the_charge_said_and_the_same_receipt() {
    let auth = AuthService::start().await;
    let world = World::with_receipts(&auth, &[]).await;
    world.sql("update tariff set two_stages = true").await;
    let payment = world.created(PAYS, MONTH).await;
    auth.reach(&payment.account_id.to_string(), "anna@example.com");
    let invoice = payment.invoice_no.to_string();
    let fault = json!({ "match": { "path": "/payments/confirm", "invoice_id": invoice }, "fault": "error_500_before" });
    world.order(fault).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Authorized).await;
    let [charged] = &world.receipts_of(payment.invoice_no, "Payment").await[..] else { panic!("not one charge") };
    assert_eq!(world.sealed().await, 1, "kept until the money is taken");
    auth.reach(&payment.account_id.to_string(), "another@example.com");
    testkit::eventually(SOON, || async {
        world.sql("update payment set look_again_at = null where state = 'authorized'").await;
        world.tick(EndHolds {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    let [confirmed] = &world.receipts_of(payment.invoice_no, "Payment").await[..] else { panic!("not one charge") };
    assert_eq!(confirmed, charged);
    assert_eq!(confirmed["cloudpayments"]["CustomerReceipt"]["email"], "anna@example.com");
    assert_eq!(world.sealed().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_missing_is_told_and_the_register_is_asked_for_another() {
    let auth = AuthService::start().await;
    let world = World::with_receipts(&auth, &[]).await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.sql("update receipt set due_at = due_at - interval '2 hours'").await;
    world.tick(WatchReceipts {}).await;
    world.tick(WatchReceipts {}).await;
    assert_eq!(world.count("event where kind = 'needs_attention'").await, 1);
    let ordered = {
        let mut conn = world.services.db.conn().await.unwrap();
        receipts::order_missing(&mut conn, payment.id, "anna", world.services.db.now()).await.unwrap()
    };
    let [receipt_id] = ordered[..] else { panic!("one") };
    // The register's response is lost, and a second message is no second receipt.
    world.fault(payment.account_id, json!({ "match": { "path": "/kkt/receipt" }, "fault": "drop_after" })).await;
    world.services.app.send(SendReceipt { receipt_id }).await.unwrap();
    testkit::eventually(SOON, || async {
        world.tick(WatchReceipts {}).await;
        let queued = world.count("receipt where way = 'order' and state = 'queued' and document is not null").await;
        if queued == 1 { Ok(()) } else { Err(queued) }
    })
    .await;
    let asked = "gateway_call where path = '/kkt/receipt' and request_id is not null";
    assert_eq!(world.count(asked).await, 2, "asked, and asked again by the same id");
    assert_eq!(world.count("gateway_call where request like '%cinema.example%'").await, 0);
    assert_eq!(world.sealed().await, 0);
}
