//! Subscriptions of the gateway, on its clock.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    receiver::Receiver,
    shop::{Shop, VISA, VISA_ONCE, refusal, until},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Cinema {
    shop: Shop,
    receiver: Receiver,
    token: String,
}

impl Cinema {
    async fn open(card: &str) -> Self {
        let receiver = Receiver::open().await;
        let shop = Shop::with(receiver.config()).await;
        let token = shop.token(card).await;
        Self { shop, receiver, token }
    }

    /// Begins in an hour.
    async fn subscribe(&self, more: Value) -> String {
        let now: DateTime<Utc> = self.clock().await.parse().unwrap();
        let mut body = json!({
            "token": self.token, "accountId": "account", "description": "Подписка", "email": "payer@example.com",
            "amount": 399, "currency": "RUB", "requireConfirmation": false,
            "startDate": (now + TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M:%S").to_string(),
            "interval": "Day", "period": 5,
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.shop.call("/subscriptions/create", body).await;
        answer["Model"]["Id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn clock(&self) -> String {
        let clock: Value =
            self.shop.http.get(self.shop.url("/sandbox/clock")).send().await.unwrap().json().await.unwrap();
        clock["now"].as_str().unwrap().to_owned()
    }

    async fn get(&self, id: &str) -> Value {
        self.shop.call("/subscriptions/get", json!({ "Id": id })).await["Model"].clone()
    }

    async fn until(&self, id: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(async || Some(self.get(id).await).filter(&is)).await
    }
}

#[tokio::test]
async fn a_subscription_is_charged_by_its_schedule_also_when_the_clock_jumps() {
    let cinema = Cinema::open(VISA).await;
    let id = cinema.subscribe(json!({ "maxPeriods": 3 })).await;
    assert_eq!(cinema.get(&id).await["Status"], "Active");
    cinema.shop.sandbox.advance(30 * DAY);
    let done = cinema.until(&id, |it| it["Status"] == "Expired").await;
    assert_eq!(done["SuccessfulTransactionsNumber"], 3);
    assert_eq!((&done["NextTransactionDate"], &done["NextTransactionDateIso"]), (&Value::Null, &Value::Null));

    let pays = cinema.receiver.until_heard(&["pay"], 4).await;
    let charged: Vec<_> = pays[1..].iter().map(|pay| pay.field("DateTime")).collect();
    let days: Vec<DateTime<Utc>> =
        charged.iter().map(|at| format!("{}Z", at.replace(' ', "T")).parse().unwrap()).collect();
    assert!(days.windows(2).all(|two| two[1] - two[0] == TimeDelta::days(5)), "each at its own time: {charged:?}");
    for pay in &pays[1..] {
        assert_eq!((pay.field("SubscriptionId"), pay.field("Amount")), (id.clone(), "399.00".to_owned()));
    }
    assert!(cinema.receiver.heard(&["check"]).len() >= 4, "every charge is checked");
    let recurrent = cinema.receiver.until_heard(&["recurrent"], 1).await;
    assert_eq!((recurrent[0].field("Id"), recurrent[0].field("Status")), (id, "Expired".to_owned()));
    assert_eq!(recurrent[0].field("SuccessfulTransactionsNumber"), "3");
}

#[tokio::test]
async fn three_failures_in_a_row_end_it_and_each_change_is_told() {
    let cinema = Cinema::open(VISA_ONCE).await;
    let id = cinema.subscribe(json!({})).await;
    cinema.shop.sandbox.advance(DAY / 2);
    assert_eq!(cinema.until(&id, |it| it["FailedTransactionsNumber"] == 1).await["Status"], "PastDue");
    cinema.shop.sandbox.advance(DAY * 2);
    let done = cinema.until(&id, |it| it["FailedTransactionsNumber"] == 3).await;
    assert_eq!((&done["Status"], &done["NextTransactionDate"]), (&json!("Rejected"), &Value::Null));
    let told = cinema.receiver.until_heard(&["recurrent"], 2).await;
    assert_eq!([told[0].field("Status"), told[1].field("Status")], ["PastDue", "Rejected"]);
    let fails = cinema.receiver.until_heard(&["fail"], 3).await;
    assert!(fails.iter().all(|fail| fail.field("ReasonCode") == "5051"));

    // An update revives it, and is not told.
    let changed = cinema.shop.call("/subscriptions/update", json!({ "Id": id, "Amount": 499 })).await;
    assert_eq!((&changed["Model"]["Status"], &changed["Model"]["Amount"]), (&json!("Active"), &json!(499)));
    cinema.shop.call("/subscriptions/cancel", json!({ "Id": id })).await;
    let told = cinema.receiver.until_heard(&["recurrent"], 3).await;
    assert_eq!(told[2].field("Status"), "Cancelled");
}

#[tokio::test]
async fn what_cannot_be_a_subscription_is_refused_by_name() {
    let cinema = Cinema::open(VISA).await;
    let id = cinema.subscribe(json!({})).await;
    let good = json!({
        "Token": cinema.token, "AccountId": "account", "Description": "d", "Amount": 1, "Currency": "RUB",
        "StartDate": "2099-01-01T00:00:00", "Interval": "Month", "Period": 1,
    });
    for (field, value, message) in [
        ("Token", json!("of another"), "Token not found"),
        ("AccountId", json!("somebody"), "Token does not belong to this AccountId"),
        ("StartDate", json!("2020-01-01"), "StartDate must be in the future"),
        ("StartDate", json!("soon"), "StartDate is invalid"),
        ("Interval", json!("Year"), "Interval must be Day, Week or Month"),
        ("Period", json!(0), "Period must be from 1 to 1200"),
        ("Amount", Value::Null, "Amount is required"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        assert_eq!(refusal(&cinema.shop.call("/subscriptions/create", body).await), message);
    }
    assert_eq!(
        refusal(&cinema.shop.call("/subscriptions/get", json!({ "Id": "sc_0" })).await),
        "Subscription not found"
    );
    let found = cinema.shop.call("/subscriptions/find", json!({ "accountId": "account" })).await;
    assert_eq!(found["Model"].as_array().unwrap().len(), 1);
    assert_eq!(found["Model"][0]["Id"], id);
}

#[tokio::test]
async fn an_authorization_nobody_confirms_is_cancelled_after_seven_days_and_told() {
    let cinema = Cinema::open(VISA).await;
    let mut body = crate::shop::charge(VISA);
    body["Amount"] = json!(5);
    let held = cinema.shop.call("/payments/cards/auth", body).await["Model"]["TransactionId"].to_string();
    cinema.shop.sandbox.advance(7 * DAY);
    let told = cinema.receiver.until_heard(&["cancel"], 1).await;
    assert_eq!(told[0].field("TransactionId"), held);
}
