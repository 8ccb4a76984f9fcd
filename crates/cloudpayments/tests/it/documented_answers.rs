//! Every answer in the gateway's documentation is understood.

use cloudpayments::{Amount, Charge, Error, Operation, ReasonGroup, Transaction, TransactionStatus, answer::Received};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::fixtures;

fn received(body: &Value) -> Received {
    Received { status: 200, retry_after: None, body: body.to_string().into_bytes() }
}

/// The examples of answers: name, path, body.
fn examples() -> Vec<(String, String, Value)> {
    fixtures::all("docs")
        .into_iter()
        .filter(|(_, example)| example["kind"] == "response")
        .map(|(name, mut example)| {
            let url = example["endpoints"][0].as_str().unwrap();
            let (_, path) = url.split_once("https://api.cloudpayments.ru").unwrap();
            (name, path.to_owned(), example["body"].take())
        })
        .collect()
}

#[test]
fn every_documented_answer_is_decided_as_documented() {
    let examples = examples();
    assert!(examples.len() >= 20);
    for (name, path, body) in examples {
        let answer = received(&body);
        match path.as_str() {
            path if path.ends_with("/charge") || path.ends_with("/topup") => {
                assert_charge(&name, &answer, &body);
            }
            "/payments/get" => {
                assert_transaction(&name, &answer.lookup().unwrap().unwrap(), &body["Model"]);
            }
            "/payments/find" => assert!(answer.lookup().unwrap().is_none(), "{name}"),
            "/payments/list" | "/v2/payments/list" => {
                let page = answer.page().unwrap();
                let entries = body["Model"].as_array().unwrap();
                assert_eq!(page.len(), entries.len(), "{name}");
                for (ours, theirs) in page.iter().zip(entries) {
                    assert_transaction(&name, ours, theirs);
                }
            }
            "/payments/refund" => assert_eq!(answer.refund().unwrap(), 568, "{name}"),
            "/chargebacks/list" => {
                let claim = &answer.chargebacks().unwrap()[0];
                assert_eq!(
                    (claim.transaction_id, claim.chargeback_id.as_str()),
                    (2200203594, "6811d4a17bab1c4b44c19371")
                );
                assert_eq!((claim.amount.unwrap().minor(2), claim.currency.as_deref()), (Some(10_000), Some("RUB")));
                assert_eq!(claim.at.unwrap().to_rfc3339(), "2025-04-29T21:00:00+00:00", "{name}");
            }
            // Confirm, void, and what other endpoints do: an order is done.
            _ => answer.done().unwrap_or_else(|error| panic!("{name}: {error}")),
        }
    }
}

fn assert_charge(name: &str, answer: &Received, body: &Value) {
    let model = &body["Model"];
    match answer.charge() {
        Ok(Charge::Completed(transaction)) => {
            assert_eq!(model["Status"], "Completed", "{name}");
            assert_transaction(name, &transaction, model);
        }
        Ok(Charge::Authorized(transaction)) => {
            assert_eq!(model["Status"], "Authorized", "{name}");
            assert_transaction(name, &transaction, model);
        }
        Err(Error::Declined(decline)) => {
            assert_eq!(model["Status"], "Declined", "{name}");
            assert_eq!(model["ReasonCode"], decline.code, "{name}");
            assert_ne!(decline.group, ReasonGroup::Unknown, "{name}");
            assert_transaction(name, &decline.transaction.unwrap(), model);
        }
        Err(Error::OurFault { message }) => {
            assert!(model.is_null(), "{name}");
            assert_eq!(body["Message"], message, "{name}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// What we read of a transaction is what stands there.
fn assert_transaction(name: &str, ours: &Transaction, theirs: &Value) {
    let text = |field: &str| match &theirs[field] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let amount = |field: &str| Some(theirs[field].to_string().parse::<Amount>().unwrap());
    let milliseconds = |field: &str| {
        let digits = theirs[field].as_str()?.strip_prefix("/Date(")?.strip_suffix(")/")?;
        Some(digits.parse::<i64>().unwrap())
    };
    assert_eq!(theirs["TransactionId"], ours.transaction_id, "{name}");
    assert_eq!(ours.status.map(TransactionStatus::as_str), theirs["Status"].as_str(), "{name}");
    assert_eq!(ours.reason_code.map(i64::from), theirs["ReasonCode"].as_i64(), "{name}");
    assert_eq!(ours.reason, text("Reason"), "{name}");
    assert_eq!(ours.cardholder_message, text("CardHolderMessage"), "{name}");
    assert_eq!(ours.amount, amount("Amount"), "{name}");
    assert_eq!(ours.currency, text("Currency"), "{name}");
    assert_eq!(ours.payment_amount, amount("PaymentAmount"), "{name}");
    assert_eq!(ours.invoice_id, text("InvoiceId"), "{name}");
    assert_eq!(ours.account_id, text("AccountId"), "{name}");
    assert_eq!(ours.json_data, text("JsonData"), "{name}");
    assert_eq!(ours.card.first_six, text("CardFirstSix"), "{name}");
    assert_eq!(ours.card.last_four, text("CardLastFour"), "{name}");
    assert_eq!(ours.card.expires, text("CardExpDate"), "{name}");
    assert_eq!(ours.card.brand, text("CardType"), "{name}");
    assert_eq!(ours.card.issuer, text("Issuer"), "{name}");
    assert_eq!(ours.token.as_ref().map(|token| token.expose_secret().to_owned()), text("Token"), "{name}");
    assert_eq!(ours.auth_code, text("AuthCode"), "{name}");
    assert_eq!(ours.test_mode, theirs["TestMode"].as_bool(), "{name}");
    assert_eq!(ours.refunded, theirs["Refunded"].as_bool(), "{name}");
    let operation = match theirs["Type"].as_i64() {
        Some(0) => Some(Operation::Payment),
        Some(2) => Some(Operation::Payout),
        _ => None,
    };
    assert_eq!(ours.operation, operation, "{name}");
    for (date, field) in
        [(ours.created_at, "CreatedDate"), (ours.authorized_at, "AuthDate"), (ours.confirmed_at, "ConfirmDate")]
    {
        assert_eq!(date.map(|date| date.timestamp_millis()), milliseconds(field), "{name} {field}");
    }
}

#[test]
fn dates_are_read_either_way_and_mean_the_same() {
    for (name, _, mut body) in examples() {
        if body["Model"]["CreatedDate"].is_null() || body["Model"]["TransactionId"].is_null() {
            continue;
        }
        let exact = received(&body).lookup().unwrap().unwrap().created_at.unwrap();
        body["Model"]["CreatedDate"].take();
        let iso = received(&body).lookup().unwrap().unwrap().created_at.unwrap();
        assert_eq!(iso.timestamp(), exact.timestamp(), "{name}");
    }
}

#[test]
fn three_d_secure_is_told_by_acs_url_and_pa_req() {
    let body = serde_json::json!({
        "Model": {
            "TransactionId": 891463508,
            "PaReq": "+/eyJNZXJjaGFudE5hbWUiOm51bGx9",
            "GoReq": null,
            "AcsUrl": "https://demo.cloudpayments.ru/acs",
            "ThreeDsSessionData": null,
            "IFrameIsAllowed": true,
            "FrameWidth": null,
            "FrameHeight": null,
            "ThreeDsCallbackId": "7be4d37f0a434c0a8a7fc0e328368d7d",
            "EscrowAccumulationId": null
        },
        "Success": false,
        "Message": null
    });
    let Ok(Charge::ThreeDsRequired(three_ds)) = received(&body).charge() else {
        panic!("no 3-D Secure");
    };
    assert_eq!(three_ds.transaction_id, 891463508);
    assert_eq!(three_ds.acs_url, "https://demo.cloudpayments.ru/acs");
    assert_eq!(three_ds.pa_req, "+/eyJNZXJjaGFudE5hbWUiOm51bGx9");
}
