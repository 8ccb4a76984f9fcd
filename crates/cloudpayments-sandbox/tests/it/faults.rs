//! Faults to order, each as a client meets it.

use std::time::Duration;

use cloudpayments_sandbox::Config;
use serde_json::{Value, json};

use crate::shop::{Shop, VISA, charge, outcome, refusal};

const FOREVER_MS: u64 = 600_000;

/// What a client gets for a charge with a fault ordered, and how many payments there are then; and that the same request
/// sent again ends well, with one payment.
async fn charge_with(fault: &str) -> (reqwest::Result<reqwest::Response>, usize) {
    let shop = Shop::open().await;
    shop.order_fault(json!({ "match": { "path": "/payments/cards/charge" }, "fault": fault })).await;
    let body = charge(VISA);
    let first = shop.request("/payments/cards/charge", &body).header("X-Request-ID", "charge").send().await;
    let payments = shop.ledger().await.len();

    let again = shop.call_with_id("/payments/cards/charge", &body, "charge").await;
    assert!(again.contains("\"Status\":\"Completed\""), "{again}");
    assert_eq!(shop.ledger().await.len(), 1);
    (first, payments)
}

#[tokio::test]
async fn drop_before_cuts_the_connection_and_nothing_was_processed() {
    let (answer, payments) = charge_with("drop_before").await;
    assert!(answer.unwrap_err().is_request());
    assert_eq!(payments, 0);
}

#[tokio::test]
async fn drop_after_cuts_the_connection_of_a_processed_payment() {
    let (answer, payments) = charge_with("drop_after").await;
    assert!(answer.unwrap_err().is_request());
    assert_eq!(payments, 1);
}

#[tokio::test]
async fn error_500_before_was_not_processed_and_after_was() {
    for (fault, processed) in [("error_500_before", 0), ("error_500_after", 1)] {
        let (answer, payments) = charge_with(fault).await;
        assert_eq!((answer.unwrap().status().as_u16(), payments), (500, processed), "{fault}");
    }
}

#[tokio::test]
async fn http_429_was_not_processed() {
    let (answer, payments) = charge_with("http_429").await;
    assert_eq!((answer.unwrap().status().as_u16(), payments), (429, 0));
}

#[tokio::test]
async fn garbage_after_hides_a_processed_payment() {
    let (answer, payments) = charge_with("garbage_after").await;
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), payments), (200, 1));
    assert!(answer.json::<Value>().await.is_err());
}

#[tokio::test]
async fn a_delayed_answer_comes_late_but_the_payment_is_there_at_once() {
    let shop = Shop::open().await;
    shop.order_fault(json!({ "match": { "account_id": "account" }, "fault": "delay", "delay_ms": FOREVER_MS })).await;
    let late = tokio::spawn(shop.request("/payments/cards/charge", &charge(VISA)).send());
    assert_eq!(shop.until_ledger_has(1).await[0]["status"], "Completed");
    assert!(!late.is_finished());
    shop.sandbox.stop().await.unwrap();
    assert!(late.await.unwrap().is_err(), "the sandbox went down before the delay was over");
}

#[tokio::test]
async fn a_short_delay_is_waited_out() {
    let shop = Shop::open().await;
    shop.order_fault(json!({ "fault": "delay", "delay_ms": 20 })).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(outcome(&shop.pay(VISA).await), (true, "Completed", Some(0)));
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[tokio::test]
async fn a_payment_delayed_before_cannot_be_found_meanwhile() {
    let shop = Shop::open().await;
    let fault = json!({ "match": { "invoice_id": "invoice", "path": "/payments/cards/charge" }, "fault": "delay_before", "delay_ms": FOREVER_MS });
    shop.order_fault(fault).await;
    let late = tokio::spawn(shop.request("/payments/cards/charge", &charge(VISA)).send());
    shop.until_faults_are_used().await;
    let found = shop.call("/v2/payments/find", json!({ "InvoiceId": "invoice" })).await;
    assert_eq!(refusal(&found), "Not found");
    shop.sandbox.stop().await.unwrap();
    assert!(late.await.unwrap().is_err());
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_the_bank() {
    let shop = Shop::open().await;
    shop.order_fault(json!({ "fault": "delay_before", "delay_ms": 100 })).await;
    let call = tokio::spawn(shop.request("/payments/cards/charge", &charge(VISA)).send());
    shop.until_faults_are_used().await;
    call.abort();
    shop.until_ledger_has(1).await;
}

#[tokio::test]
async fn requests_about_a_transaction_belong_to_its_account_and_invoice() {
    let shop = Shop::open().await;
    let id = shop.pay(VISA).await["Model"]["TransactionId"].clone();
    shop.order_fault(json!({ "match": { "invoice_id": "invoice", "account_id": "account" }, "fault": "http_429" }))
        .await;
    let response = shop.request("/payments/refund", &json!({ "TransactionId": id, "Amount": 1 })).send().await.unwrap();
    assert_eq!(response.status(), 429);
}

#[tokio::test]
async fn faults_are_listed_and_forgotten() {
    let shop = Shop::open().await;
    let fault = json!({ "match": { "account_id": "a" }, "fault": "drop_after", "times": 2 });
    shop.order_fault(fault.clone()).await;
    let list =
        || async { shop.http.get(shop.url("/sandbox/faults")).send().await.unwrap().json::<Value>().await.unwrap() };
    assert_eq!(list().await, json!([fault]));
    let cleared = shop.http.delete(shop.url("/sandbox/faults")).send().await.unwrap();
    assert_eq!(cleared.status(), 204);
    assert_eq!(list().await, json!([]));

    for bad in [
        json!({ "fault": "explode" }),
        json!({ "fault": "delay" }),
        json!({ "fault": "delay", "match": { "path": "/x" } }),
    ] {
        let response = shop.http.post(shop.url("/sandbox/faults")).json(&bad).send().await.unwrap();
        assert_eq!(response.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn above_its_limit_the_gateway_answers_429_until_a_request_ends() {
    let shop = Shop::with(Config { max_concurrent: 2, ..Config::for_tests() }).await;
    shop.order_fault(
        json!({ "match": { "path": "/payments/cards/charge" }, "fault": "delay", "delay_ms": FOREVER_MS }),
    )
    .await;
    shop.order_fault(json!({ "match": { "path": "/payments/cards/auth" }, "fault": "delay", "delay_ms": 1500 })).await;
    let endless = tokio::spawn(shop.request("/payments/cards/charge", &charge(VISA)).send());
    shop.until_ledger_has(1).await;
    let short = tokio::spawn(shop.request("/payments/cards/auth", &charge(VISA)).send());
    shop.until_ledger_has(2).await;

    let refused = shop.request("/test", &json!({})).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(short.await.unwrap().unwrap().status(), 200);
    assert_eq!(shop.request("/test", &json!({})).send().await.unwrap().status(), 200);
    endless.abort();
}
