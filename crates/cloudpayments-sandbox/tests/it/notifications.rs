//! Notifications as a shop hears them.

use std::time::Duration;

use cloudpayments_sandbox::Config;
use serde_json::{Value, json};

use crate::{
    receiver::{Heard, Receiver},
    shop::{Shop, VISA, VISA_3DS, VISA_ONCE, VISA_POOR, charge, outcome, token_charge},
    three_ds::authenticate,
};

async fn open() -> (Shop, Receiver) {
    let receiver = Receiver::open().await;
    (Shop::with(receiver.config()).await, receiver)
}

/// Undoes the escapes of a whole form at once, as a verifier of `X-Content-HMAC` does.
fn unescaped(form: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = form.iter();
    while let Some(&byte) = rest.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [*rest.next().unwrap(), *rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    plain
}

fn kinds(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(|heard| heard.kind.as_str()).collect()
}

#[tokio::test]
async fn a_payment_is_checked_and_then_told_with_both_signatures() {
    let (shop, receiver) = open().await;
    let mut body = charge(VISA);
    body["Description"] = "Подписка «Кино» & ещё = 100%".into();
    body["JsonData"] = json!({ "tariff": "базовый" });
    let answer = shop.call("/payments/cards/charge", body).await;
    let heard = receiver.until_heard(&[], 2).await;
    assert_eq!(kinds(&heard), ["check", "pay"]);
    let id = answer["Model"]["TransactionId"].to_string();
    for heard in &heard {
        assert_eq!(heard.headers["content-type"], "application/x-www-form-urlencoded");
        assert!(heard.is_signed(&heard.body, &unescaped(&heard.body)));
        for (field, value) in [
            ("TransactionId", &*id),
            ("Amount", "10.00"),
            ("Currency", "RUB"),
            ("PaymentAmount", "10.00"),
            ("CardFirstSix", "400000"),
            ("CardLastFour", "3055"),
            ("CardType", "Visa"),
            ("CardExpDate", "12/30"),
            ("TestMode", "1"),
            ("Status", "Completed"),
            ("OperationType", "Payment"),
            ("InvoiceId", "invoice"),
            ("AccountId", "account"),
            ("Description", "Подписка «Кино» & ещё = 100%"),
            ("Data", r#"{"tariff":"базовый"}"#),
        ] {
            assert_eq!(heard.field(field), value, "{field} of {}", heard.kind);
        }
    }
    let (check, pay) = (heard[0].form(), heard[1].form());
    assert_eq!(pay["Token"], answer["Model"]["Token"].as_str().unwrap());
    assert_eq!(pay["GatewayName"], "Test");
    assert!(!check.contains_key("Token") && !check.contains_key("AuthCode"), "the bank has not been asked yet");
}

#[tokio::test]
async fn every_end_of_an_operation_has_its_notification() {
    let (shop, receiver) = open().await;
    let heard = async |count: usize| receiver.until_heard(&["pay", "fail", "confirm", "refund", "cancel"], count).await;

    shop.pay(VISA_POOR).await;
    let fail = heard(1).await.pop().unwrap();
    assert_eq!(
        (&*fail.kind, &*fail.field("Reason"), &*fail.field("ReasonCode")),
        ("fail", "InsufficientFunds", "5051")
    );
    assert!(!fail.form().contains_key("Status"));

    let held = shop.call("/payments/cards/auth", charge(VISA)).await["Model"]["TransactionId"].clone();
    assert_eq!(heard(2).await[1].field("Status"), "Authorized");
    shop.call("/payments/confirm", json!({ "TransactionId": held, "Amount": 7.5 })).await;
    let confirm = heard(3).await.pop().unwrap();
    assert_eq!(
        (&*confirm.kind, &*confirm.field("Amount"), &*confirm.field("Status")),
        ("confirm", "7.50", "Completed")
    );

    let refund = shop.call("/payments/refund", json!({ "TransactionId": held, "Amount": 2 })).await;
    let told = heard(4).await.pop().unwrap();
    assert_eq!(told.kind, "refund");
    assert_eq!(told.field("TransactionId"), refund["Model"]["TransactionId"].to_string());
    assert_eq!(told.field("PaymentTransactionId"), held.to_string());
    assert_eq!((&*told.field("Amount"), &*told.field("OperationType")), ("2.00", "Refund"));
    assert_eq!(told.field("InvoiceId"), "invoice", "of the payment");

    let voided = shop.call("/payments/cards/auth", charge(VISA)).await["Model"]["TransactionId"].clone();
    heard(5).await;
    shop.call("/payments/void", json!({ "TransactionId": voided })).await;
    let cancel = heard(6).await.pop().unwrap();
    assert_eq!((&*cancel.kind, cancel.field("TransactionId")), ("cancel", voided.to_string()));
}

#[tokio::test]
async fn three_ds_is_checked_before_the_payer_is_asked_and_told_after() {
    let (shop, receiver) = open().await;
    let waiting = shop.pay(VISA_3DS).await;
    assert_eq!(kinds(&receiver.heard(&[])), ["check"]);
    authenticate(&shop, &waiting, "reject").await;
    let heard = receiver.until_heard(&[], 2).await;
    assert_eq!((&*heard[1].kind, &*heard[1].field("ReasonCode")), ("fail", "5206"));
}

#[tokio::test]
async fn a_check_may_decline_the_payment_and_the_bank_is_never_asked() {
    let (shop, receiver) = open().await;
    let token = shop.token(VISA_ONCE).await;
    for (status, reply, reason) in [
        (200, r#"{"code":10}"#, 3001),
        (200, r#"{"code":11}"#, 3002),
        (200, r#"{"code":12}"#, 3003),
        (200, r#"{"code":20}"#, 3004),
        (200, r#"{"code":99}"#, 3005),
        (200, "OK", 3005),
        (500, "", 3006),
        (404, "", 3007),
        (200, r#"{"code":13}"#, 3008),
    ] {
        receiver.will_reply("check", status, reply);
        let answer = shop.pay(VISA_3DS).await;
        assert_eq!(outcome(&answer), (false, "Declined", Some(reason)), "{reply}");
        receiver.will_reply("check", status, reply);
        let answer = shop.call("/payments/tokens/charge", token_charge(&token)).await;
        assert_eq!(outcome(&answer), (false, "Declined", Some(reason)), "{reply} by token");
    }
    let fails = receiver.until_heard(&["fail"], 18).await;
    assert!(fails.iter().any(|fail| fail.field("ReasonCode") == "3008"));
}

#[tokio::test]
async fn a_check_nobody_replies_to_declines_the_payment() {
    let receiver = Receiver::open().await;
    let config = Config { notification_timeout: Duration::from_millis(50), ..receiver.config() };
    let shop = Shop::with(config).await;
    receiver.will_reply("check", 200, "never");
    assert_eq!(outcome(&shop.pay(VISA).await), (false, "Declined", Some(3007)));

    // A port nobody listens on.
    let config = Config { notifications_url: Some("http://127.0.0.1:1".parse().unwrap()), ..Config::for_tests() };
    let shop = Shop::with(config).await;
    assert_eq!(outcome(&shop.pay(VISA).await), (false, "Declined", Some(3007)));
}

#[tokio::test]
async fn a_request_given_its_old_answer_is_neither_checked_nor_told_again() {
    let (shop, receiver) = open().await;
    let body = charge(VISA);
    let first = shop.call_with_id("/payments/cards/charge", &body, "charge").await;
    assert_eq!(shop.call_with_id("/payments/cards/charge", &body, "charge").await, first);
    shop.pay(VISA_POOR).await;
    let heard = receiver.until_heard(&[], 4).await;
    assert_eq!(kinds(&heard), ["check", "pay", "check", "fail"]);
}

/// The plan is the outbox's, and tested there; here it runs on the sandbox's clock.
#[tokio::test]
async fn what_is_not_accepted_is_sent_again_when_its_time_comes() {
    let (shop, receiver) = open().await;
    for reply in ["", r#"{"code":13}"#, "never mind"] {
        receiver.will_reply("pay", 200, reply);
    }
    shop.pay(VISA).await;
    for (count, minutes) in [(1, 1), (2, 2), (3, 5)] {
        receiver.until_heard(&["pay"], count).await;
        shop.until_tried("pay", count).await;
        shop.sandbox.advance(Duration::from_secs(60 * minutes - 5));
        assert_eq!(receiver.heard(&["pay"]).len(), count, "not before its time");
        shop.sandbox.advance(Duration::from_secs(5));
    }
    let heard = receiver.until_heard(&["pay"], 4).await;
    assert!(heard.iter().all(|pay| pay.body == heard[0].body), "to the letter the same");
    shop.until_tried("pay", 4).await;
    shop.sandbox.advance(Duration::from_secs(24 * 3600));
    shop.pay(VISA_POOR).await;
    receiver.until_heard(&["fail"], 1).await;
    assert_eq!(receiver.heard(&["pay"]).len(), 4, "accepted is accepted");
}

#[tokio::test]
async fn a_fast_clock_makes_minutes_short() {
    let receiver = Receiver::open().await;
    let shop = Shop::with(Config { clock_speed: 6000, ..receiver.config() }).await;
    for _ in 0..4 {
        receiver.will_reply("pay", 503, "");
    }
    shop.pay(VISA).await;
    // 1 + 2 + 5 + 10 minutes in 0.18 s.
    receiver.until_heard(&["pay"], 5).await;
}

#[tokio::test]
async fn what_a_killed_sandbox_had_still_to_tell_it_tells_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::open().await;
    let config = |name: &str| Config { ledger_file: Some(directory.path().join(name)), ..receiver.config() };
    let shop = Shop::with(config("ledger")).await;
    receiver.will_reply("pay", 500, "");
    let id = shop.pay(VISA).await["Model"]["TransactionId"].to_string();
    shop.until_tried("pay", 1).await;
    std::fs::copy(directory.path().join("ledger"), directory.path().join("copy")).unwrap();

    let back = Shop::with(config("copy")).await;
    back.sandbox.advance(Duration::from_secs(60));
    let heard = receiver.until_heard(&["pay"], 2).await;
    assert_eq!((heard[0].field("TransactionId"), heard[1].field("TransactionId")), (id.clone(), id));
    let told = back.notifications().await;
    assert_eq!(told.iter().filter(|notice| notice["type"] == "pay").count(), 1);
}

#[tokio::test]
async fn the_control_api_lists_notifications_and_sends_one_again() {
    let (shop, receiver) = open().await;
    shop.pay(VISA).await;
    shop.until_tried("pay", 1).await;
    let told = shop.notifications().await;
    let pay = told.iter().find(|notice| notice["type"] == "pay").unwrap();
    assert_eq!((&pay["state"], &pay["tries"], &pay["last"]), (&json!("accepted"), &json!(1), &json!("accepted")));
    let again = shop.url(&format!("/sandbox/notifications/{}/send", pay["id"]));
    let answer: Value = shop.http.post(again).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({ "outcome": "accepted" }));
    let heard = receiver.until_heard(&["pay"], 2).await;
    assert_eq!(heard[0].body, heard[1].body);
    let nobody = shop.http.post(shop.url("/sandbox/notifications/999/send")).send().await.unwrap();
    assert_eq!(nobody.status(), 404);
}
