//! What goes wrong with notifications, to order.

use std::time::Duration;

use cloudpayments_sandbox::Config;
use serde_json::{Value, json};

use crate::{
    receiver::Receiver,
    shop::{Shop, VISA, charge, outcome},
};

async fn open(fault: Value) -> (Shop, Receiver) {
    let receiver = Receiver::open().await;
    let shop = Shop::with(receiver.config()).await;
    shop.order_fault(fault).await;
    (shop, receiver)
}

#[tokio::test]
async fn a_lost_notification_is_never_sent_but_can_be_by_hand() {
    let (shop, receiver) = open(json!({ "match": { "notification": "pay" }, "fault": "notification_lost" })).await;
    shop.pay(VISA).await;
    shop.pay(VISA).await;
    receiver.until_heard(&["pay"], 1).await;
    shop.sandbox.advance(Duration::from_secs(24 * 3600));
    let told = shop.notifications().await;
    let lost = told.iter().find(|notice| notice["state"] == "withheld" && notice["type"] == "pay").unwrap();
    shop.http.post(shop.url(&format!("/sandbox/notifications/{}/send", lost["id"]))).send().await.unwrap();
    assert_eq!(receiver.heard(&["pay"]).len(), 2);
}

#[tokio::test]
async fn a_late_notification_comes_at_its_time() {
    let fault = json!({ "match": { "account_id": "account" }, "fault": "notification_late", "delay_ms": 3_600_000 });
    let (shop, receiver) = open(fault).await;
    shop.pay(VISA).await;
    shop.pay(VISA).await;
    receiver.until_heard(&["pay"], 1).await;
    shop.sandbox.advance(Duration::from_secs(3600));
    let heard = receiver.until_heard(&["pay"], 2).await;
    assert!(heard[0].field("TransactionId") > heard[1].field("TransactionId"), "the first payment's came last");
}

#[tokio::test]
async fn a_duplicate_is_the_same_to_the_letter() {
    let (shop, receiver) = open(json!({ "fault": "notification_duplicate" })).await;
    shop.pay(VISA).await;
    let heard = receiver.until_heard(&["pay"], 2).await;
    assert_eq!(heard[0].body, heard[1].body);
}

#[tokio::test]
async fn an_early_notification_is_heard_before_the_answer() {
    for _ in 0..5 {
        let (shop, receiver) = open(json!({ "fault": "notification_early" })).await;
        shop.pay(VISA).await;
        assert_eq!(receiver.heard(&["pay"]).len(), 1);
    }
}

#[tokio::test]
async fn a_reordered_notification_comes_after_the_next() {
    let (shop, receiver) = open(json!({ "match": { "notification": "pay" }, "fault": "notification_reordered" })).await;
    let mut body = charge(VISA);
    body["InvoiceId"] = "first".into();
    shop.call("/payments/cards/auth", body).await;
    assert!(receiver.heard(&["pay"]).is_empty());
    let id = shop.ledger().await[0]["id"].clone();
    shop.call("/payments/confirm", json!({ "TransactionId": id, "Amount": 10 })).await;
    let heard = receiver.until_heard(&["pay", "confirm"], 2).await;
    assert_eq!([&*heard[0].kind, &*heard[1].kind], ["confirm", "pay"]);
}

#[tokio::test]
async fn pages_of_a_proxy_and_a_clock_that_is_wrong() {
    let shop = Shop::open().await;
    for (fault, payments) in [("html_before", 0), ("html_after", 1)] {
        shop.order_fault(json!({ "fault": fault })).await;
        let response = shop.request("/payments/cards/charge", &charge(VISA)).send().await.unwrap();
        assert_eq!((response.status().as_u16(), shop.ledger().await.len()), (502, payments), "{fault}");
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    }
    shop.order_fault(json!({ "fault": "clock_skew", "skew_ms": -7_200_000 })).await;
    let (wrong, right) = (shop.pay(VISA).await, shop.pay(VISA).await);
    let at = |answer: &Value| {
        assert_eq!(outcome(answer), (true, "Completed", Some(0)));
        let date = answer["Model"]["CreatedDate"].as_str().unwrap();
        date.trim_matches(|c: char| !c.is_ascii_digit()).parse::<i64>().unwrap()
    };
    assert!((7_190_000..7_260_000).contains(&(at(&right) - at(&wrong))));
}

#[tokio::test]
async fn a_rate_hits_some_requests_and_leaves_the_rest() {
    let shop = Shop::with(Config::for_tests()).await;
    shop.order_fault(json!({ "match": { "path": "/test" }, "fault": "error_500_before", "rate": 0.5 })).await;
    let mut failed = 0;
    for _ in 0..40 {
        let status = shop.request("/test", &json!({})).send().await.unwrap().status();
        failed += usize::from(status == 500);
    }
    assert!((8..32).contains(&failed), "{failed}");
}
