//! Looking payments up.

use std::time::Duration;

use cloudpayments_sandbox::{Config, Fee};
use serde_json::{Value, json};

use crate::shop::{Shop, VISA, VISA_3DS, VISA_POOR, charge, outcome, refusal, token_charge};

fn ids(answer: &Value) -> Vec<&Value> {
    answer["Model"].as_array().unwrap().iter().map(|item| &item["TransactionId"]).collect()
}

#[tokio::test]
async fn find_knows_the_last_operation_and_v2_sees_refunds() {
    let shop = Shop::open().await;
    for path in ["/payments/find", "/v2/payments/find"] {
        let answer = shop.call(path, json!({ "InvoiceId": "invoice" })).await;
        assert_eq!(answer, json!({ "Success": false, "Message": "Not found" }));
    }
    let paid = shop.pay(VISA).await["Model"]["TransactionId"].clone();
    let refund = shop.call("/payments/refund", json!({ "TransactionId": paid, "Amount": 1 })).await;
    let find = |path| shop.call(path, json!({ "InvoiceId": "invoice" }));
    assert_eq!(find("/payments/find").await["Model"]["TransactionId"], paid);
    assert_eq!(find("/v2/payments/find").await["Model"]["TransactionId"], refund["Model"]["TransactionId"]);

    shop.pay(VISA_POOR).await;
    for path in ["/payments/find", "/v2/payments/find"] {
        assert_eq!(outcome(&find(path).await), (false, "Declined", Some(5051)), "a later decline hides the success");
    }
}

#[tokio::test]
async fn a_payment_waiting_for_3ds_is_found_without_a_reason() {
    let shop = Shop::open().await;
    shop.pay(VISA_3DS).await;
    let answer = shop.call("/v2/payments/find", json!({ "InvoiceId": "invoice" })).await;
    assert_eq!(outcome(&answer), (true, "AwaitingAuthentication", None));
}

#[tokio::test]
async fn get_shows_a_declined_payment_with_success_false() {
    let shop = Shop::open().await;
    let id = shop.pay(VISA_POOR).await["Model"]["TransactionId"].clone();
    assert_eq!(
        outcome(&shop.call("/payments/get", json!({ "TransactionId": id })).await),
        (false, "Declined", Some(5051))
    );
    assert_eq!(refusal(&shop.call("/payments/get", json!({ "TransactionId": 455 })).await), "Not found");
}

#[tokio::test]
async fn v2_list_is_paged_by_a_hundred() {
    let shop = Shop::open().await;
    let token = shop.token(VISA).await;
    for _ in 0..100 {
        shop.call("/payments/tokens/charge", token_charge(&token)).await;
    }
    let page = |number: i64| {
        let period = json!({ "CreatedDateGte": "2020-01-01T00:00:00+03:00", "CreatedDateLte": "2100-01-01T00:00:00+03:00", "PageNumber": number });
        shop.call("/v2/payments/list", period)
    };
    let [first, second, third] = [page(1).await, page(2).await, page(3).await];
    assert_eq!([ids(&first).len(), ids(&second).len(), ids(&third).len()], [100, 1, 0]);
    let all: Vec<_> = ids(&first).into_iter().chain(ids(&second)).collect();
    assert!(all.is_sorted_by_key(|id| id.as_i64().unwrap()));
    assert_eq!(refusal(&page(0).await), "PageNumber is invalid");
}

#[tokio::test]
async fn v2_list_is_filtered_by_time_and_status() {
    let shop = Shop::open().await;
    shop.pay(VISA).await;
    shop.pay(VISA_POOR).await;
    shop.sandbox.advance(Duration::from_secs(3600));
    shop.pay(VISA).await;
    let ledger = shop.ledger().await;
    let between = |from: &Value, to: &Value, statuses: Value| {
        let period = json!({ "CreatedDateGte": from, "CreatedDateLte": to, "PageNumber": 1, "Statuses": statuses });
        shop.call("/v2/payments/list", period)
    };
    let (from, to) = (&ledger[0]["created_at"], "2100-01-01");
    assert_eq!(ids(&between(from, &to.into(), json!(["Declined"])).await), [&ledger[1]["id"]]);
    assert_eq!(ids(&between(from, &to.into(), json!(["declined", "Completed"])).await).len(), 3);
    assert_eq!(refusal(&between(from, &to.into(), json!(["Paid"])).await), "Statuses is invalid");
    assert_eq!(refusal(&between(&"then".into(), &to.into(), json!([])).await), "CreatedDateGte is invalid");
    let last = between(&ledger[2]["created_at"], &to.into(), json!([])).await;
    assert_eq!(ids(&last), [&ledger[2]["id"]]);
}

#[tokio::test]
async fn a_day_is_listed_in_its_time_zone() {
    let shop = Shop::open().await;
    shop.pay(VISA).await;
    let created: chrono::DateTime<chrono::Utc> =
        shop.ledger().await[0]["created_at"].as_str().unwrap().parse().unwrap();
    for (zone, hours) in [("UTC", 0), ("MSK", 3), ("ANAT", 12), ("HST", -10)] {
        let local = created + chrono::TimeDelta::hours(hours);
        for (day, count) in
            [(local, 1), (local - chrono::TimeDelta::days(1), 0), (local + chrono::TimeDelta::days(1), 0)]
        {
            let date = day.format("%Y-%m-%d").to_string();
            // One of the real clients spells it `Timezone`.
            let answer = shop.call("/payments/list", json!({ "Date": date, "Timezone": zone })).await;
            assert_eq!(ids(&answer).len(), count, "{zone} {date}");
        }
    }
    assert_eq!(
        refusal(&shop.call("/payments/list", json!({ "Date": "2014-08-09", "TimeZone": "X" })).await),
        "TimeZone is invalid"
    );
    assert_eq!(refusal(&shop.call("/payments/list", json!({ "Date": "09.08.2014" })).await), "Date is invalid");
}

#[tokio::test]
async fn tokens_are_listed_with_masked_cards() {
    let shop = Shop::open().await;
    let token = shop.token(VISA).await;
    for body in [json!({ "PageNumber": 1 }), json!({})] {
        let answer = shop.call("/payments/tokens/list", body).await;
        let expected = json!([{
            "Token": token,
            "AccountId": "account",
            "CardMask": "400000******3055",
            "ExpirationDateMonth": 12,
            "ExpirationDateYear": 2030,
        }]);
        assert_eq!(answer["Model"], expected);
    }
    assert_eq!(shop.call("/payments/tokens/list", json!({ "PageNumber": 2 })).await["Model"], json!([]));
}

#[tokio::test]
async fn the_ledger_can_be_asked_for_one_account_or_the_end() {
    let shop = Shop::open().await;
    for account in ["a", "b", "a"] {
        let mut body = charge(VISA);
        body["AccountId"] = account.into();
        body["JsonData"] = json!({ "bill": 7 });
        shop.call_with_id("/payments/cards/charge", &body, &format!("{account}-{}", shop.ledger().await.len())).await;
    }
    let ask = |query: &'static str| async {
        shop.http.get(shop.url("/sandbox/ledger") + query).send().await.unwrap().json::<Vec<Value>>().await.unwrap()
    };
    assert_eq!(ask("").await.len(), 3);
    assert_eq!(ask("?account_id=a").await.len(), 2);
    let last = &ask("?limit=1").await[0];
    assert_eq!(last["request_id"], "a-2");
    assert_eq!(
        (&last["json_data"], &last["amount"], &last["type"]),
        (&json!("{\"bill\":7}"), &json!(10), &json!("Payment"))
    );
}

#[tokio::test]
async fn what_was_taken_is_transferred_at_the_next_midnight_in_moscow_less_the_fee() {
    let shop = Shop::with(Config { fee: Some(Fee::parse("2.8").unwrap()), ..Config::for_tests() }).await;
    let paid = shop.pay(VISA).await["Model"]["TransactionId"].clone();
    let refund = shop.call("/payments/refund", json!({ "TransactionId": paid, "Amount": 1 })).await;
    let refund = refund["Model"]["TransactionId"].clone();
    shop.pay(VISA_POOR).await;
    let payout = async |id: &Value| {
        let model = shop.call("/payments/get", json!({ "TransactionId": id })).await["Model"].clone();
        ["PayoutDateIso", "PayoutAmount", "TotalFee"].map(|field| model[field].clone())
    };
    assert_eq!(payout(&paid).await, [json!(null), json!(null), json!(0.28)]);

    let clock = shop.http.post(shop.url("/sandbox/clock")).json(&json!({ "advance_ms": 24 * 3_600_000 }));
    assert!(clock.send().await.unwrap().status().is_success());
    let [at, amount, fee] = payout(&paid).await;
    assert!(at.as_str().unwrap().ends_with("T21:00:00"), "midnight in Moscow: {at}");
    assert_eq!((amount, fee), (json!(9.72), json!(0.28)));
    let [_, amount, fee] = payout(&refund).await;
    assert_eq!((amount, fee), (json!(1), json!(0)), "the fee is not returned");
    let period = json!({ "CreatedDateGte": "2020-01-01", "CreatedDateLte": "2100-01-01", "PageNumber": 1 });
    let listed = shop.call("/v2/payments/list", period).await;
    let amounts: Vec<_> = listed["Model"].as_array().unwrap().iter().map(|one| one["PayoutAmount"].clone()).collect();
    assert_eq!(amounts, [json!(9.72), json!(1), json!(null)]);
}
