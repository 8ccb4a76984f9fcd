//! Receipts (54-FZ) that go to the gateway with each charge.

use std::time::Duration;

use billing::payment::PaymentState;
use serde_json::{Value, json};
use testkit::{AuthService, Conduct};

use crate::world::{HAS_NO_FUNDS, MONTH, PAYS, World};

const ON: [&str; 6] = [
    "--receipts-taxation-system",
    "1",
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
