//! Every field the documentation requires is there, and none that it does not know.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::json;

use crate::{
    receiver::Receiver,
    shop::{Shop, VISA, VISA_POOR, charge},
};

#[derive(Deserialize)]
struct Documented {
    name: String,
    required: bool,
}

#[tokio::test]
async fn notifications_have_the_fields_of_the_documentation() {
    let documented: HashMap<String, Vec<Documented>> =
        serde_json::from_str(include_str!("../fixtures/webhook_params.json")).unwrap();
    let receiver = Receiver::open().await;
    let shop = Shop::with(receiver.config()).await;
    let mut body = charge(VISA);
    for (field, value) in
        [("Email", "payer@example.com"), ("Name", "CARDHOLDER"), ("Description", "d"), ("JsonData", "{}")]
    {
        body[field] = value.into();
    }
    let id = shop.call("/payments/cards/auth", body).await["Model"]["TransactionId"].clone();
    let confirm = json!({ "TransactionId": id, "Amount": 10 });
    shop.call("/payments/confirm", confirm).await;
    shop.call("/payments/refund", json!({ "TransactionId": id, "Amount": 10, "JsonData": {} })).await;
    shop.pay(VISA_POOR).await;
    let voided = shop.call("/payments/cards/auth", charge(VISA)).await["Model"]["TransactionId"].clone();
    shop.call("/payments/void", json!({ "TransactionId": voided })).await;
    let subscription = json!({
        "Token": shop.token(VISA).await, "AccountId": "account", "Description": "d", "Amount": 1, "Currency": "RUB",
        "StartDate": "2099-01-01", "Interval": "Month", "Period": 1,
    });
    let id = shop.call("/subscriptions/create", subscription).await["Model"]["Id"].clone();
    shop.call("/subscriptions/cancel", json!({ "Id": id })).await;

    receiver.until_heard(&["cancel", "recurrent"], 2).await;
    let heard: BTreeMap<_, _> =
        receiver.until_heard(&[], 11).await.into_iter().map(|heard| (heard.kind.clone(), heard)).collect();
    for (kind, documented) in documented {
        let form = heard.get(&kind).unwrap_or_else(|| panic!("{kind} was not told")).form();
        let known: BTreeSet<_> = documented.iter().map(|field| field.name.as_str()).collect();
        for field in documented.iter().filter(|field| field.required) {
            assert!(form.contains_key(&field.name), "{kind} lacks {}: {form:?}", field.name);
        }
        for name in form.keys() {
            assert!(known.contains(name.as_str()), "{kind} has {name}");
        }
    }
}
