//! `billing ledger`: what accountants ask for, of a real database.

use std::time::Duration;

use testkit::Process;
use tokio_postgres::{Client, NoTls};

const PATIENCE: Duration = Duration::from_secs(60);
const TARIFF: &str = "00010000-0000-4000-8000-000000000002";

/// The exit status, and all that was said.
async fn run(database: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = Process::billing(arguments, |command| {
        command.env("DATABASE_URL", database).env("USER", "anna").env("BILLING_TIME_ZONE", "UTC");
    })
    .await;
    let status = process.wait(PATIENCE).await.code();
    (status, process.output())
}

/// Three months of 399.00, bought on the 3rd, 2nd and 1st of February 2026.
async fn sell(database: &Client) {
    let tariff = format!(
        "insert into tariff (id, name, description, period, amount, currency)
         values ('{TARIFF}', 'Month', 'All films', interval '1 month', 39900, 'RUB')"
    );
    database.batch_execute(&tariff).await.unwrap();
    let sold = include_str!("../../crates/billing/tests/subscribers.sql");
    let sold = sold.replace(":n", "3").replace(":last", "'2026-02-04T12:00:00Z'");
    database.batch_execute(&format!("begin; {sold} commit;")).await.unwrap();
}

#[tokio::test]
async fn accountants_get_balances_an_export_and_closed_months() {
    let database = testkit::postgres().await;
    let url = database.url();
    assert_eq!(run(url, &["migrate"]).await.0, Some(0));
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    sell(&client).await;

    let said = async |arguments: &[&str]| {
        let (status, said) = run(url, arguments).await;
        assert_eq!(status, Some(0), "{arguments:?}: {said}");
        said
    };
    assert_eq!(said(&["ledger", "deferred", "--at", "2026-02-02"]).await, "798.00 RUB\n");
    assert_eq!(said(&["ledger", "deferred"]).await, "1197.00 RUB\n", "none of it was entered as earned");
    let balance = said(&["ledger", "balance"]).await;
    assert!(
        balance.lines().any(|line| line.starts_with("gateway_clearing") && line.ends_with(" 1197.00 RUB")),
        "{balance}"
    );

    let export = said(&["ledger", "export", "2026-02-01", "2026-02-02"]).await;
    let rows: Vec<&str> = export.lines().collect();
    assert_eq!(rows.len(), 3, "{export}");
    assert!(
        rows[0].starts_with("date;entry;line;kind;debit;credit;amount;currency;debit_code;credit_code;"),
        "{export}"
    );
    assert!(rows[1].starts_with("2026-02-01;"), "{export}");
    let posting = ";1;payment;gateway_clearing;deferred_revenue;399.00;RUB;57.03;62.02;";
    assert!(rows[1..].iter().all(|row| row.contains(posting) && row.split(';').count() == 15), "{export}");

    let vat = ["ledger", "vat", TARIFF, "22", "--from", "2099-01-01T00:00:00Z"];
    assert_eq!(said(&vat).await, "22 % VAT from 2099-01-01T00:00:00+00:00 on\n");
    assert_eq!(said(&["ledger", "check"]).await, "");
    for (wrong, status, why) in [
        (&["ledger", "vat", TARIFF, "122"][..], 64, "0 to 99 percent"),
        (&["ledger", "vat", TARIFF, "20", "--from", "2020-01-01T00:00:00Z"], 1, "the past"),
        (&["ledger", "vat", TARIFF, "20"], 1, "there is a later rate already"),
        (&["ledger", "vat", "00010000-0000-4000-8000-000000000009", "20"], 1, "no tariff"),
        (&["ledger", "close", "2026-2-30"], 64, "expected a month, as in 2026-11"),
        (&["ledger", "close", "2099-01"], 1, "can be closed from 2099-02-01T01:00:00+00:00 on"),
        (&["ledger", "close", "2026-02"], 1, "the revenue of 2026-02-01 is not entered yet"),
        (&["ledger", "export", "yesterday", "today"], 64, "yesterday"),
    ] {
        let (ended, said) = run(url, wrong).await;
        assert_eq!(ended, Some(status), "{wrong:?}: {said}");
        assert!(said.contains(why), "{wrong:?}: {said}");
    }
    assert_eq!(said(&["ledger", "close", "2026-01"]).await, "closed up to the end of 2026-01\n");

    // Somebody has changed a payment by hand.
    client.batch_execute("update payment set amount = 100 where transaction_id = 1000000001").await.unwrap();
    let (status, fault) = run(url, &["ledger", "check"]).await;
    assert_eq!(status, Some(1));
    assert!(fault.contains("has taken 100 RUB, the ledger has 39900 RUB"), "{fault}");
    client.batch_execute("update payment set amount = 39900").await.unwrap();
}
