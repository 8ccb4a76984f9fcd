//! The ledger file: what was answered is never lost.

use std::path::{Path, PathBuf};

use cloudpayments_sandbox::{Config, Sandbox};
use serde_json::{Value, json};

use crate::shop::{Shop, VISA, VISA_3DS, charge, outcome, token_charge};

fn with_file(path: &Path) -> Config {
    Config { ledger_file: Some(path.to_owned()), ..Config::for_tests() }
}

/// The file as a `kill -9` would leave it at this moment.
fn left_behind(path: &Path) -> PathBuf {
    let copy = path.with_extension("copy");
    std::fs::copy(path, &copy).unwrap();
    copy
}

#[tokio::test]
async fn everything_answered_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.jsonl");
    let before = Shop::with(with_file(&path)).await;
    let token = before.token(VISA).await;
    let waiting = before.pay(VISA_3DS).await;
    let used = charge(VISA);
    let answered = before.call_with_id("/payments/cards/charge", &used, "charge").await;
    let ledger = before.ledger().await;

    let after = Shop::with(with_file(&left_behind(&path))).await;
    assert_eq!(after.ledger().await, ledger);
    assert_eq!(
        after.call_with_id("/payments/cards/charge", &used, "charge").await.replace(&after.sandbox.url(), ""),
        answered.replace(&before.sandbox.url(), "")
    );
    assert_eq!(
        after.call("/payments/cards/charge", used).await["Message"],
        "CardCryptogramPacket has already been used"
    );
    assert_eq!(
        outcome(&after.call("/payments/tokens/charge", token_charge(&token)).await),
        (true, "Completed", Some(0))
    );

    // The payer's bank was open in another tab all the while.
    let mut waiting = waiting;
    waiting["Model"]["AcsUrl"] = after.url("/acs").into();
    let answer = crate::three_ds::authenticate(&after, &waiting, "confirm").await;
    assert_eq!(outcome(&answer), (true, "Completed", Some(0)));
    let ids: Vec<_> = after.ledger().await.iter().map(|entry| entry["id"].as_i64().unwrap()).collect();
    assert!(ids.is_sorted() && ids.len() == 4, "new ids come after the old ones");
}

#[tokio::test]
async fn a_line_cut_off_by_a_kill_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.jsonl");
    let shop = Shop::with(with_file(&path)).await;
    shop.pay(VISA).await;
    let copy = left_behind(&path);
    let whole = std::fs::read_to_string(&copy).unwrap();
    let last = whole.lines().last().unwrap();
    std::fs::write(&copy, format!("{whole}{}", &last[..last.len() / 2])).unwrap();

    let restarted = Shop::with(with_file(&copy)).await;
    assert_eq!(restarted.ledger().await.len(), 1);
    restarted.pay(VISA).await;
    restarted.sandbox.stop().await.unwrap();
    assert_eq!(Shop::with(with_file(&copy)).await.ledger().await.len(), 2);
}

#[tokio::test]
async fn neither_numbers_of_cards_nor_cryptograms_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.jsonl");
    let shop = Shop::with(with_file(&path)).await;
    let body = charge(VISA_3DS);
    shop.call_with_id("/payments/cards/charge", &body, "charge").await;
    let file = std::fs::read_to_string(&path).unwrap();
    assert!(file.contains("424242"));
    for secret in [VISA_3DS, &body["CardCryptogramPacket"].as_str().unwrap()[20..]] {
        assert!(!file.contains(secret));
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_its_setting() {
    let directory = tempfile::tempdir().unwrap();
    let refused = async |path: &Path| Sandbox::start(with_file(path)).await.err().unwrap().to_string();

    let foreign = directory.path().join("notes.txt");
    std::fs::write(&foreign, "{\"not\":\"a ledger\"}\n").unwrap();
    let error = refused(&foreign).await;
    assert!(
        error.starts_with("SANDBOX_LEDGER_FILE: ") && error.contains("notes.txt") && error.contains("line 1"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "{\"not\":\"a ledger\"}\n", "left alone");

    let error = refused(&directory.path().join("no/such/directory")).await;
    assert!(error.starts_with("SANDBOX_LEDGER_FILE: cannot use "), "{error}");

    let path = directory.path().join("ledger.jsonl");
    let running = Shop::with(with_file(&path)).await;
    running.pay(VISA).await;
    assert!(refused(&path).await.contains("in use by another sandbox"));

    let copy = left_behind(&path);
    let damaged = std::fs::read_to_string(&copy).unwrap() + "[{\"transaction\":{}}]\n";
    std::fs::write(&copy, damaged).unwrap();
    assert!(refused(&copy).await.contains("(line 3)"));
}

#[tokio::test]
async fn an_unkept_ledger_begins_with_ids_above_the_last_one() {
    let id = async || Shop::open().await.pay(VISA).await["Model"]["TransactionId"].as_i64().unwrap();
    let first = id().await;
    assert!(id().await > first);
    assert!(first > i64::from(u32::MAX), "ids are Long, which clients must be ready for");
}

#[tokio::test]
async fn one_command_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.jsonl");
    let shop = Shop::with(with_file(&path)).await;
    let id = shop.pay(VISA).await["Model"]["TransactionId"].clone();
    shop.call_with_id("/payments/refund", &json!({ "TransactionId": id, "Amount": 1 }), "refund").await;
    shop.call("/payments/get", json!({ "TransactionId": id })).await;
    let file = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "header, payment, refund");
    assert_eq!(lines[2].as_array().unwrap().len(), 3, "refund, payment, answer: together or not at all");
}

#[tokio::test]
async fn what_is_still_to_happen_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.jsonl");
    let before = Shop::with(with_file(&path)).await;
    let token = before.token(VISA).await;
    let subscription = json!({
        "Token": token, "AccountId": "account", "Description": "d", "Amount": 1, "Currency": "RUB",
        "StartDate": "2098-12-01", "Interval": "Month", "Period": 1,
    });
    let id = before.call("/subscriptions/create", subscription).await["Model"]["Id"].clone();
    let order = before.call("/orders/create", json!({ "Amount": 1, "Description": "d" })).await["Model"]["Id"].clone();
    let pay = json!({ "IsEnabled": true, "Address": "http://127.0.0.1:1/pay" });
    before.call("/site/notifications/pay/update", pay).await;
    let spoil = json!({ "token": token, "reason_code": 5054 });
    before.http.post(before.url("/sandbox/tokens")).json(&spoil).send().await.unwrap();

    let after = Shop::with(with_file(&left_behind(&path))).await;
    assert_eq!(
        after.call("/site/notifications/pay/get", json!({})).await["Model"]["Address"],
        "http://127.0.0.1:1/pay"
    );
    assert_eq!(after.call("/orders/cancel", json!({ "Id": order })).await["Success"], true);
    let started = chrono::DateTime::parse_from_rfc3339("2098-12-01T01:00:00Z").unwrap();
    let clock: Value = after.http.get(after.url("/sandbox/clock")).send().await.unwrap().json().await.unwrap();
    let now = chrono::DateTime::parse_from_rfc3339(clock["now"].as_str().unwrap()).unwrap();
    after.sandbox.advance((started - now).to_std().unwrap());
    // The card is long past its date, and the token was to be declined with that anyway.
    let failed = crate::shop::until(async || {
        let it = after.call("/subscriptions/get", json!({ "Id": id })).await["Model"].clone();
        (it["FailedTransactionsNumber"] == 1).then_some(it)
    })
    .await;
    assert_eq!(failed["Status"], "PastDue");
}
