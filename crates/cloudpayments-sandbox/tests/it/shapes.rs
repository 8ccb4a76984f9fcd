//! Answers have the fields of the documentation's examples, no more and no fewer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::shop::{Shop, VISA, VISA_3DS, VISA_ONCE, charge, token_charge};

fn documented(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap()["body"].take()
}

macro_rules! example {
    ($name:literal) => {
        documented(include_str!(concat!("../fixtures/docs/", $name, ".json")))
    };
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Same keys, and where both have a value, of the same type.
fn assert_same_shape(answer: &Value, example: &Value) {
    assert_eq!(keys(answer), keys(example));
    let (model, example) = (&answer["Model"], &example["Model"]);
    let (model, example) = if example.is_array() { (&model[0], &example[0]) } else { (model, example) };
    if example.is_null() {
        return assert!(model.is_null());
    }
    assert_eq!(keys(model), keys(example));
    for (key, value) in model.as_object().unwrap() {
        let same_type = std::mem::discriminant(value) == std::mem::discriminant(&example[key]);
        // One example has its InvoiceId as a bare number.
        assert!(same_type || value.is_null() || example[key].is_null() || key == "InvoiceId", "{key}: {value}");
    }
}

#[tokio::test]
async fn answers_have_the_shape_of_the_documentation() {
    let shop = Shop::open().await;
    let accepted = shop.call("/payments/cards/auth", charge(VISA)).await;
    assert_same_shape(&accepted, &example!("cards-charge.response-accepted"));
    let id = &accepted["Model"]["TransactionId"];
    let confirmed = shop.call("/payments/confirm", json!({ "TransactionId": id, "Amount": 10 })).await;
    assert_eq!(confirmed, example!("confirm.response"));
    let got = shop.call("/payments/get", json!({ "TransactionId": id })).await;
    assert_same_shape(&got, &example!("get.response"));
    let refunded = shop.call("/payments/refund", json!({ "TransactionId": id, "Amount": 10 })).await;
    assert_same_shape(&refunded, &example!("refund.response"));

    let token = &accepted["Model"]["Token"].as_str().unwrap();
    let accepted = shop.call("/payments/tokens/charge", token_charge(token)).await;
    assert_same_shape(&accepted, &example!("tokens-charge.response-accepted"));
    let declined = shop.call("/payments/tokens/charge", token_charge(&shop.token(VISA_ONCE).await)).await;
    assert_same_shape(&declined, &example!("tokens-charge.response-declined"));

    let voided = shop.call("/payments/cards/auth", charge(VISA)).await["Model"]["TransactionId"].clone();
    assert_eq!(shop.call("/payments/void", json!({ "TransactionId": voided })).await, example!("void.response"));
    assert_eq!(shop.call("/payments/find", json!({ "InvoiceId": "none" })).await, example!("find.response"));
}

#[tokio::test]
async fn lists_have_the_shape_of_the_documentation() {
    let shop = Shop::open().await;
    shop.pay(VISA).await;
    let created = shop.ledger().await[0]["created_at"].as_str().unwrap()[..10].to_owned();
    let day = shop.call("/payments/list", json!({ "Date": created })).await;
    assert_same_shape(&day, &example!("list-day.response"));
    let period = json!({ "CreatedDateGte": created, "CreatedDateLte": "2100-01-01T00:00:00+03:00", "PageNumber": 1 });
    assert_same_shape(&shop.call("/v2/payments/list", period).await, &example!("list-period.response"));
}

#[tokio::test]
async fn missing_fields_are_named_in_the_order_of_the_documentation() {
    let shop = Shop::open().await;
    let refused = |path: &'static str, body: Value| shop.call(path, body);
    assert_eq!(refused("/payments/cards/charge", json!({})).await, example!("cards-charge.response-bad-request"));
    assert_eq!(refused("/payments/tokens/charge", json!({})).await, example!("tokens-charge.response-bad-request"));
    for (path, body, field) in [
        ("/payments/cards/charge", json!({ "Amount": 1 }), "IpAddress"),
        ("/payments/cards/auth", json!({ "Amount": 1, "IpAddress": "::1" }), "CardCryptogramPacket"),
        ("/payments/tokens/charge", json!({ "Amount": 1 }), "AccountId"),
        ("/payments/tokens/auth", json!({ "Amount": 1, "AccountId": "a" }), "Token"),
        ("/payments/cards/post3ds", json!({}), "TransactionId"),
        ("/payments/cards/post3ds", json!({ "TransactionId": 1 }), "PaRes"),
        ("/payments/confirm", json!({}), "TransactionId"),
        ("/payments/confirm", json!({ "TransactionId": 1 }), "Amount"),
        ("/payments/void", json!({}), "TransactionId"),
        ("/payments/refund", json!({ "TransactionId": 1 }), "Amount"),
        ("/payments/get", json!({}), "TransactionId"),
        ("/payments/find", json!({}), "InvoiceId"),
        ("/v2/payments/find", json!({}), "InvoiceId"),
        ("/payments/list", json!({}), "Date"),
        ("/v2/payments/list", json!({}), "CreatedDateGte"),
        ("/v2/payments/list", json!({ "CreatedDateGte": "2026-01-01" }), "CreatedDateLte"),
        ("/v2/payments/list", json!({ "CreatedDateGte": "2026-01-01", "CreatedDateLte": "2026-01-02" }), "PageNumber"),
    ] {
        let expected = json!({ "Success": false, "Message": format!("{field} is required") });
        assert_eq!(refused(path, body).await, expected, "{path}");
    }
    assert!(shop.ledger().await.is_empty(), "nothing was written");
}

#[tokio::test]
async fn three_ds_is_asked_for_as_documented() {
    let shop = Shop::open().await;
    let answer = shop.pay(VISA_3DS).await;
    assert_eq!((&answer["Success"], &answer["Message"]), (&json!(false), &Value::Null));
    let model = &answer["Model"];
    let expected = [
        "TransactionId",
        "PaReq",
        "GoReq",
        "AcsUrl",
        "ThreeDsSessionData",
        "IFrameIsAllowed",
        "FrameWidth",
        "FrameHeight",
        "ThreeDsCallbackId",
        "EscrowAccumulationId",
    ];
    assert_eq!(keys(model), expected.into_iter().collect());
    let callback = model["ThreeDsCallbackId"].as_str().unwrap();
    assert!(callback.len() == 32 && callback.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(model["PaReq"].as_str().unwrap().starts_with("+/"));
    assert_eq!(model["AcsUrl"], shop.url("/acs"));
}

#[tokio::test]
async fn every_date_is_given_twice_and_is_the_same_moment() {
    let shop = Shop::open().await;
    let model = shop.pay(VISA).await["Model"].take();
    for date in ["CreatedDate", "AuthDate", "ConfirmDate"] {
        let milliseconds = model[date].as_str().unwrap().strip_prefix("/Date(").unwrap().strip_suffix(")/").unwrap();
        let moment = chrono::DateTime::from_timestamp_millis(milliseconds.parse().unwrap()).unwrap();
        assert_eq!(model[format!("{date}Iso")], moment.format("%Y-%m-%dT%H:%M:%S").to_string());
    }
}

fn request(text: &str, changes: &Value) -> Value {
    let mut body = documented(text);
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body
}

macro_rules! request {
    ($name:literal, $changes:tt) => {
        request(include_str!(concat!("../fixtures/docs/", $name, ".request.json")), &json!($changes))
    };
}

#[tokio::test]
async fn subscriptions_orders_and_settings_have_the_shape_of_the_documentation() {
    let shop = Shop::open().await;
    let token = shop.token(VISA).await;
    let body = request!("subscriptions-create", { "token": token, "accountId": "account", "startDate": "2099-11-02T21:00:00" });
    let created = shop.call("/subscriptions/create", body).await;
    assert_same_shape(&created, &example!("subscriptions-create.response"));
    assert_eq!((&created["Model"]["IntervalCode"], &created["Model"]["StatusCode"]), (&json!(2), &json!(0)));
    let id = &created["Model"]["Id"];
    let changed = shop.call("/subscriptions/update", request!("subscriptions-update", { "Id": id })).await;
    assert_same_shape(&changed, &example!("subscriptions-update.response"));
    let cancelled = shop.call("/subscriptions/cancel", json!({ "Id": id })).await;
    assert_eq!(cancelled, example!("subscriptions-cancel.response"));

    let order = shop.call("/orders/create", request!("orders-create", {})).await;
    assert_same_shape(&order, &example!("orders-create.response"));
    let cancelled = shop.call("/orders/cancel", json!({ "Id": order["Model"]["Id"] })).await;
    assert_eq!(cancelled, example!("orders-cancel.response"));

    let update = request!("notifications-update", {});
    let updated = shop.call("/site/notifications/pay/update", update.clone()).await;
    assert_eq!(updated, example!("notifications-update.response"));
    let shown = shop.call("/site/notifications/pay/get", json!({})).await;
    assert_same_shape(&shown, &example!("notifications-get.response"));
    assert_eq!(shown["Model"]["HttpMethod"], update["HttpMethod"]);
}

/// Examples of payouts and chargebacks are of several ages: some fields stand in one of them only.
#[tokio::test]
async fn payouts_and_chargebacks_have_the_fields_of_the_documentation() {
    const OF_ONE_EXAMPLE: [&str; 6] =
        ["TransactionIsInProcess", "InfoShopData", "IsLocalOrder", "Gateway", "MasterPass", "ErrorCode"];
    let shop = Shop::open().await;
    let paid = shop.pay(VISA).await["Model"].clone();
    let amount = json!({ "Amount": 1, "Currency": "RUB", "AccountId": "account" });
    let with = |more: Value| {
        let mut body = amount.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let back = json!({ "transaction_id": paid["TransactionId"] });
    shop.http.post(shop.url("/sandbox/chargebacks")).json(&back).send().await.unwrap();
    let period = json!({
        "CreatedDateGte": paid["CreatedDateIso"], "CreatedDateLte": "2099-01-01", "PageNumber": 1,
    });
    let year = paid["CreatedDateIso"].as_str().unwrap()[..4].to_owned();
    let period: Value =
        serde_json::from_str(&period.to_string().replace("2099-01-01", &format!("{year}-12-31T23:59:59Z"))).unwrap();
    for (path, body, example) in [
        (
            "/payments/cards/topup",
            with(json!({ "CardCryptogramPacket": crate::shop::packet(VISA) })),
            example!("cards-topup.response"),
        ),
        ("/payments/token/topup", with(json!({ "Token": paid["Token"] })), example!("token-topup.response")),
        ("/payments/alt/topup", request!("alt-topup", {}), example!("alt-topup.response")),
        ("/chargebacks/list", period, example!("chargebacks-list.response")),
    ] {
        let answer = shop.call(path, body).await;
        let first = |it: &Value| if it["Model"].is_array() { it["Model"][0].clone() } else { it["Model"].clone() };
        let (model, example) = (first(&answer), first(&example));
        let missing: Vec<_> = keys(&example)
            .difference(&keys(&model))
            .filter(|key| !OF_ONE_EXAMPLE.contains(*key))
            .map(|key| (*key).to_owned())
            .collect();
        assert!(missing.is_empty(), "{path}: {missing:?} {answer}");
    }
}
