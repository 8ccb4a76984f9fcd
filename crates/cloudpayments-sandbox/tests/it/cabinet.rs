//! Orders, receipts, payouts, chargebacks, tokens that are declined later, settings of notifications, the clock.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    receiver::Receiver,
    shop::{Shop, VISA, VISA_POOR, charge, outcome, packet, refusal, token_charge, until},
};

const YEARS: [&str; 2] = ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"];

#[tokio::test]
async fn an_order_is_paid_once_and_may_begin_a_subscription() {
    let receiver = Receiver::open().await;
    let shop = Shop::with(receiver.config()).await;
    let body = json!({
        "Amount": 10, "Description": "Заказ", "AccountId": "account", "InvoiceId": "42",
        "SubscriptionBehavior": "CreateMonthly", "SuccessRedirectUrl": "https://shop.test/thanks",
    });
    let order = shop.call("/orders/create", body).await["Model"].clone();
    assert_eq!((&order["Status"], &order["StatusCode"], &order["Number"]), (&json!("Created"), &json!(0), &json!(1)));
    let link = order["Url"].as_str().unwrap();
    let pay = async |card: &str| shop.http.post(link).form(&[("card", card)]).send().await.unwrap();

    assert_eq!(pay(VISA_POOR).await.headers()["location"], link[shop.sandbox.url().len()..]);
    assert_eq!(pay(VISA).await.headers()["location"], "https://shop.test/thanks");
    let told = receiver.until_heard(&["pay"], 1).await;
    assert_eq!((told[0].field("InvoiceId"), told[0].field("Description")), ("42".to_owned(), "Заказ".to_owned()));
    pay(VISA).await;
    assert_eq!(shop.ledger().await.len(), 2, "a paid order takes no more payments");
    let cancelled = shop.call("/orders/cancel", json!({ "Id": order["Id"] })).await;
    assert_eq!(refusal(&cancelled), "Order is Paid");

    let found = shop.call("/subscriptions/find", json!({ "AccountId": "account" })).await;
    let subscription = &found["Model"][0];
    assert_eq!((&subscription["Interval"], &subscription["Amount"]), (&json!("Month"), &json!(10)));
}

#[tokio::test]
async fn receipts_come_from_requests_and_from_payments_and_are_told_when_printed() {
    let receiver = Receiver::open().await;
    let shop = Shop::with(receiver.config()).await;
    let content = json!({
        "Items": [{ "label": "Подписка", "price": 10, "quantity": 1, "amount": 10, "vat": 20 }],
        "taxationSystem": 1, "email": "payer@example.com",
    });
    let body = json!({ "Inn": "7700000000", "Type": "Income", "InvoiceId": "42", "CustomerReceipt": content });
    let queued = shop.call("/kkt/receipt", body).await;
    assert_eq!(
        (&queued["Success"], &queued["Message"], &queued["Model"]["ErrorCode"]),
        (&json!(true), &json!("Queued"), &json!(0))
    );
    let get = async || shop.call("/kkt/receipt/get", json!({ "Id": queued["Model"]["Id"] })).await["Model"].clone();
    assert_eq!(get().await["AdditionalData"]["DocumentNumber"], Value::Null, "not printed yet");
    shop.sandbox.advance(Duration::from_secs(2));
    let told = receiver.until_heard(&["receipt"], 1).await;
    assert_eq!((told[0].field("Type"), told[0].field("InvoiceId")), ("Income".to_owned(), "42".to_owned()));
    assert_eq!(get().await["AdditionalData"]["FiscalSign"], told[0].field("FiscalSign"));
    let page = shop.http.get(told[0].field("Url")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Подписка"));

    let mut charge = charge(VISA);
    charge["JsonData"] = json!({ "cloudPayments": { "customerReceipt": content } });
    let paid = shop.call("/payments/cards/charge", charge).await["Model"]["TransactionId"].clone();
    let back = json!({ "CloudPayments": { "CustomerReceipt": content } });
    shop.call("/payments/refund", json!({ "TransactionId": paid, "Amount": 10, "JsonData": back })).await;
    shop.sandbox.advance(Duration::from_secs(2));
    let told = receiver.until_heard(&["receipt"], 3).await;
    assert_eq!((told[1].field("Type"), told[1].field("TransactionId")), ("Income".to_owned(), paid.to_string()));
    assert_eq!(told[2].field("Type"), "IncomeReturn");
}

#[tokio::test]
async fn payouts_go_to_cards_tokens_and_phones() {
    let shop = Shop::open().await;
    let token = shop.token(VISA).await;
    for (path, body) in [
        ("/payments/cards/topup", json!({ "CardCryptogramPacket": packet(VISA_POOR), "InvoiceId": "p" })),
        ("/payments/token/topup", json!({ "Token": token, "AccountId": "account" })),
        ("/payments/alt/topup", json!({ "Receiver": { "Phone": "+71234567890" } })),
    ] {
        let mut body = body;
        body["Amount"] = json!(50);
        body["Currency"] = json!("RUB");
        let answer = shop.call(path, body.clone()).await;
        assert_eq!(outcome(&answer), (true, "Completed", Some(0)), "{path}");
        assert_eq!((&answer["Model"]["Type"], &answer["Model"]["Receiver"]), (&json!(2), &body["Receiver"]), "{path}");
        body.as_object_mut().unwrap().remove("Currency");
        assert_eq!(refusal(&shop.call(path, body).await), "Currency is required", "{path}");
    }
    let nobody = shop.call("/payments/alt/topup", json!({ "Amount": 1, "Currency": "RUB", "Receiver": {} })).await;
    assert_eq!(refusal(&nobody), "Receiver.Phone is required");
    // A payout is no payment: the old method does not find it, and it is not refunded.
    assert_eq!(refusal(&shop.call("/payments/find", json!({ "InvoiceId": "p" })).await), "Not found");
    let found = shop.call("/v2/payments/find", json!({ "InvoiceId": "p" })).await;
    let refund = json!({ "TransactionId": found["Model"]["TransactionId"], "Amount": 1 });
    assert_eq!(refusal(&shop.call("/payments/refund", refund).await), "Transaction not found");
}

#[tokio::test]
async fn a_chargeback_is_listed_and_takes_no_more_than_was_paid() {
    let shop = Shop::open().await;
    let paid = shop.pay(VISA).await["Model"]["TransactionId"].clone();
    let back = async |body: Value| {
        shop.http.post(shop.url("/sandbox/chargebacks")).json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(back(json!({ "transaction_id": paid, "amount": 4 })).await, 201);
    assert_eq!(back(json!({ "invoice_id": "invoice" })).await, 201);
    assert_eq!(back(json!({ "transaction_id": paid, "amount": 1 })).await, 400);
    let period = json!({ "CreatedDateGte": "2026-01-01", "CreatedDateLte": "2026-12-31T23:59:59Z", "PageNumber": 1 });
    let now: Value = shop.http.get(shop.url("/sandbox/clock")).send().await.unwrap().json().await.unwrap();
    let year = &now["now"].as_str().unwrap()[..4];
    let period = period.to_string().replace("2026", year);
    let list = shop.call("/chargebacks/list", serde_json::from_str(&period).unwrap()).await;
    let amounts: Vec<_> = list["Model"].as_array().unwrap().iter().map(|it| it["Amount"].clone()).collect();
    assert_eq!(amounts, [json!(4), json!(6)]);
    assert_eq!((&list["Model"][0]["TransactionId"], &list["Model"][0]["Type"]), (&paid, &json!("Chargeback")));
    let long = json!({ "CreatedDateGte": YEARS[0], "CreatedDateLte": YEARS[1], "PageNumber": 1 });
    assert!(refusal(&shop.call("/chargebacks/list", long).await).contains("within a year"));
}

#[tokio::test]
async fn a_token_may_be_told_to_decline_later_with_any_reason() {
    let shop = Shop::open().await;
    let token = shop.token(VISA).await;
    let rule = async |body: Value| {
        shop.http.post(shop.url("/sandbox/tokens")).json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(rule(json!({ "token": token, "reason_code": 5041, "after": 2 })).await, 201);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(outcome(&shop.call("/payments/tokens/charge", token_charge(&token)).await).2.unwrap());
    }
    assert_eq!(seen, [0, 0, 5041, 5041]);
    assert_eq!(rule(json!({ "token": token, "reason_code": 1 })).await, 400);
    assert_eq!(rule(json!({ "token": "unknown", "reason_code": 5051 })).await, 400);
}

#[tokio::test]
async fn settings_of_notifications_are_shown_and_changed_as_documented() {
    let receiver = Receiver::open().await;
    let shop = Shop::open().await;
    let get =
        async |kind: &str| shop.call(&format!("/site/notifications/{kind}/get"), json!({})).await["Model"].clone();
    let set = async |kind: &str, body: Value| shop.call(&format!("/site/notifications/{kind}/update"), body).await;
    assert_eq!(get("pay").await["IsEnabled"], false);
    let address = format!("{}/pay?of=cinema", receiver.url());
    set("Pay", json!({ "IsEnabled": true, "Address": address })).await;
    let expected = json!({ "IsEnabled": true, "Address": address, "HttpMethod": "GET", "Encoding": "UTF8", "Format": "CloudPayments" });
    assert_eq!(get("pay").await, expected, "what is left out is as the documentation has it");
    shop.pay(VISA).await;
    let heard = receiver.until_heard(&["pay"], 1).await.remove(0);
    assert_eq!(heard.method, "GET");
    let (own, fields) = heard.query.split_once('&').unwrap();
    assert_eq!(own, "of=cinema");
    assert!(fields.starts_with("TransactionId=") && heard.body.is_empty());

    let body = json!({ "IsEnabled": true, "Address": address, "HttpMethod": "POST", "Encoding": "Windows1251" });
    set("pay", body).await;
    let mut charge = charge(VISA);
    charge["Description"] = "Кино".into();
    shop.call("/payments/cards/charge", charge).await;
    let heard = receiver.until_heard(&["pay"], 2).await.remove(1);
    assert_eq!(heard.headers["content-type"], "application/x-www-form-urlencoded; charset=windows-1251");
    assert!(String::from_utf8(heard.body).unwrap().contains("Description=%CA%E8%ED%EE"));

    for (kind, body, word) in [
        ("check", json!({ "IsEnabled": true, "Address": address }), "Check"),
        ("other", json!({}), "Type"),
        ("pay", json!({ "IsEnabled": true }), "Address"),
        ("pay", json!({ "IsEnabled": true, "Address": "shop" }), "Address"),
        ("pay", json!({ "IsEnabled": true, "Address": address, "Format": "QIWI" }), "Format"),
    ] {
        let answer = set(kind, body).await;
        assert!(refusal(&answer).contains(word), "{answer}");
    }
    set("pay", json!({ "IsEnabled": false })).await;
    assert_eq!(get("pay").await["IsEnabled"], false);
}

#[tokio::test]
async fn the_clock_is_read_moved_and_made_fast() {
    let shop = Shop::open().await;
    let set = async |body: Value| -> Value {
        shop.http.post(shop.url("/sandbox/clock")).json(&body).send().await.unwrap().json().await.unwrap()
    };
    let ahead = |clock: &Value| clock["ahead_ms"].as_i64().unwrap();
    assert!((3_600_000..3_610_000).contains(&ahead(&set(json!({ "advance_ms": 3_600_000 })).await)));
    assert!((-90_000..-80_000).contains(&ahead(&set(json!({ "ahead_ms": -90_000 })).await)));
    let fast = set(json!({ "ahead_ms": 0, "speed": 100_000 })).await;
    assert_eq!(fast["speed"], 100_000);
    until(async || (ahead(&set(json!({})).await) > 10_000).then_some(())).await;
    for bad in [json!({ "speed": 0 }), json!({ "advance_ms": i64::MAX }), json!({ "slower": 1 })] {
        let response = shop.http.post(shop.url("/sandbox/clock")).json(&bad).send().await.unwrap();
        assert_eq!(response.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn apple_pay_begins_as_apple_has_it() {
    let shop = Shop::open().await;
    let body = json!({ "ValidationUrl": "https://apple.test/start", "PaymentUrl": "https://shop.test/pay" });
    let session = shop.call("/applepay/startsession", body).await["Model"].clone();
    assert_eq!((&session["domainName"], session["nonce"].as_str().unwrap().len()), (&json!("shop.test"), 32));
    assert_eq!(refusal(&shop.call("/applepay/startsession", json!({})).await), "ValidationUrl is required");
}
