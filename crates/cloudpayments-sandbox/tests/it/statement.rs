//! The pages for people.

use serde_json::json;

use crate::{
    receiver::Receiver,
    shop::{Shop, VISA, VISA_POOR, charge},
};

#[tokio::test]
async fn a_person_sees_every_transaction_and_acts_on_one() {
    let receiver = Receiver::open().await;
    let shop = Shop::with(receiver.config()).await;
    let mut body = charge(VISA);
    body["InvoiceId"] = "invoice-7".into();
    body["Description"] = "<b>not bold</b>".into();
    let paid = shop.call("/payments/cards/charge", body).await["Model"]["TransactionId"].to_string();
    shop.pay(VISA_POOR).await;
    receiver.until_heard(&["fail"], 1).await;
    let order = shop.call("/orders/create", json!({ "Amount": 10, "Description": "Билет в кино" })).await;
    let link = order["Model"]["Url"].as_str().unwrap();

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/browse.py");
    let printed = testkit::run_python(script, [&*shop.sandbox.url(), &paid, link]).await;
    assert_eq!(printed.trim(), "all is as told");

    receiver.until_heard(&["refund"], 1).await;
    assert_eq!(receiver.heard(&["pay"]).len(), 3, "the payment's, again by hand, and the order's");
    assert_eq!(shop.ledger().await[0]["refunded"], 4);
}

#[tokio::test]
async fn forms_of_other_sites_do_nothing() {
    let shop = Shop::open().await;
    let paid = shop.pay(VISA).await["Model"]["TransactionId"].to_string();
    let refund = shop.url(&format!("/statement/{paid}/refund"));
    let foreign = shop.http.post(&refund).form(&[("amount", "1")]).header("Sec-Fetch-Site", "cross-site");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    assert_eq!(shop.ledger().await[0]["refunded"], 0);
    let own = shop.http.post(&refund).form(&[("amount", "1")]).header("Sec-Fetch-Site", "same-origin");
    assert_eq!(own.send().await.unwrap().status(), 303);
    assert_eq!(shop.ledger().await[0]["refunded"], 1);
}

#[tokio::test]
async fn pages_bring_a_policy_that_lets_nothing_in() {
    let shop = Shop::open().await;
    let page = shop.http.get(shop.url("/statement")).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let text = page.text().await.unwrap();
    assert!(!text.contains("<script") && !text.contains("style=") && !text.contains("http"), "{text}");
    assert_eq!(shop.http.get(shop.url("/statement/1")).send().await.unwrap().status(), 404);
}
