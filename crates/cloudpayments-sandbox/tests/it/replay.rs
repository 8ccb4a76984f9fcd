//! `X-Request-ID`.

use std::time::Duration;

use cloudpayments_sandbox::Config;
use serde_json::{Value, json};

use crate::shop::{Shop, VISA, VISA_3DS, VISA_POOR, charge, token_charge};

#[tokio::test]
async fn a_request_id_is_answered_the_same_and_processed_once() {
    let shop = Shop::open().await;
    for (n, card) in [VISA, VISA_POOR, VISA_3DS].into_iter().enumerate() {
        let (body, id) = (charge(card), format!("charge-{n}"));
        let first = shop.call_with_id("/payments/cards/charge", &body, &id).await;
        assert_eq!(shop.call_with_id("/payments/cards/charge", &body, &id).await, first);
    }
    assert_eq!(shop.ledger().await.len(), 3);
}

#[tokio::test]
async fn later_changes_do_not_change_an_answer_already_given() {
    let shop = Shop::open().await;
    let body = charge(VISA);
    let first = shop.call_with_id("/payments/cards/auth", &body, "auth").await;
    let id = serde_json::from_str::<Value>(&first).unwrap()["Model"]["TransactionId"].clone();
    assert_eq!(shop.call("/payments/confirm", json!({ "TransactionId": id, "Amount": 5 })).await["Success"], true);
    assert_eq!(shop.call_with_id("/payments/cards/auth", &body, "auth").await, first);
}

#[tokio::test]
async fn refunds_are_processed_once_too() {
    let shop = Shop::open().await;
    let id = shop.pay(VISA).await["Model"]["TransactionId"].clone();
    let body = json!({ "TransactionId": id, "Amount": 4 });
    let first = shop.call_with_id("/payments/refund", &body, "refund").await;
    for _ in 0..3 {
        assert_eq!(shop.call_with_id("/payments/refund", &body, "refund").await, first);
    }
    assert_eq!(shop.ledger().await[0]["refunded"], 4);
}

#[tokio::test]
async fn after_an_hour_a_request_id_is_a_new_request() {
    let shop = Shop::open().await;
    let body = token_charge(&shop.token(VISA).await);
    let first = shop.call_with_id("/payments/tokens/charge", &body, "renewal").await;
    shop.sandbox.advance(Duration::from_secs(59 * 60));
    assert_eq!(shop.call_with_id("/payments/tokens/charge", &body, "renewal").await, first);
    shop.sandbox.advance(Duration::from_secs(61));
    assert_ne!(shop.call_with_id("/payments/tokens/charge", &body, "renewal").await, first);
    assert_eq!(shop.ledger().await.len(), 3);
}

#[tokio::test]
async fn concurrent_duplicates_wait_for_the_first() {
    let latency = Duration::from_millis(50);
    let shop = Shop::with(Config { latency, max_concurrent: 30, ..Config::for_tests() }).await;
    let body = charge(VISA);
    let call = || shop.call_with_id("/payments/cards/charge", &body, "charge");
    let (a, b, c, d) = tokio::join!(call(), call(), call(), call());
    assert!(a == b && b == c && c == d);
    assert_eq!(shop.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_refused_request_leaves_its_id_free() {
    let shop = Shop::open().await;
    let refused = shop.call_with_id("/payments/cards/charge", &json!({ "Amount": 10 }), "charge").await;
    assert_eq!(refused, r#"{"Success":false,"Message":"IpAddress is required"}"#);
    let processed = shop.call_with_id("/payments/cards/charge", &charge(VISA), "charge").await;
    assert!(processed.contains("\"Success\":true"));
}

#[tokio::test]
async fn a_request_id_that_cannot_be_kept_is_refused() {
    let shop = Shop::open().await;
    for id in [String::new(), "x".repeat(256)] {
        let answer = shop.call_with_id("/payments/cards/charge", &charge(VISA), &id).await;
        assert!(answer.contains("X-Request-ID must have"), "{answer}");
    }
    assert!(shop.ledger().await.is_empty());
}

#[tokio::test]
async fn the_ping_is_answered_the_same_too() {
    let shop = Shop::open().await;
    let first = shop.call_with_id("/test", &json!({}), "ping").await;
    assert_eq!(shop.call_with_id("/test", &json!({}), "ping").await, first);
    assert_ne!(shop.call_with_id("/test", &json!({}), "another").await, first);
}

#[tokio::test]
async fn who_only_looks_always_sees_the_present() {
    let shop = Shop::open().await;
    let find = json!({ "InvoiceId": "invoice" });
    let before = shop.call_with_id("/v2/payments/find", &find, "find").await;
    assert!(before.contains("Not found"));
    shop.pay(VISA).await;
    let after = shop.call_with_id("/v2/payments/find", &find, "find").await;
    assert!(after.contains("Completed"), "{after}");
}
