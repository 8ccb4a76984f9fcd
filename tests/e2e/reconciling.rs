//! `billing reconcile` and `billing restored`, against a running system.

use std::time::Duration;

use billing_api::proto::PaymentStatus;
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::cinema::Cinema;
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(60);

/// A text that the database says.
async fn text(system: &System, select: &str) -> String {
    let (client, connection) = tokio_postgres::connect(system.database_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(&format!("select ({select})::text"), &[]).await.unwrap().get(0)
}

/// Money moves at the gateway, and we know nothing of it.
async fn charge_at_the_gateway(system: &System) {
    let (http, url) = (reqwest::Client::new(), format!("http://{}", system.sandbox));
    let card = json!({ "card_number": "4000000000003055", "exp": "12/39", "cvv": "123" });
    let made = http.post(format!("{url}/sandbox/cryptogram")).json(&card).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    let order = json!({
        "Amount": 10, "Currency": "RUB", "IpAddress": "203.0.113.7", "InvoiceId": "another-system", "AccountId": "somebody",
        "CardCryptogramPacket": made["cryptogram"],
    });
    let charge = http.post(format!("{url}/payments/cards/charge")).basic_auth("pk_sandbox", Some("sk_sandbox"));
    let charged: Value = charge.json(&order).send().await.unwrap().json().await.unwrap();
    assert_eq!(charged["Success"], true, "{charged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_compares_days_and_tells_of_a_restore() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    let _worker = system.worker("first").await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let account_id = cinema.sign_up().await;
    let payment = cinema.pay(&account_id).await;
    assert_eq!(cinema.outcome(&payment.payment_id, PATIENCE).await.status(), PaymentStatus::Succeeded);

    let yesterday = text(&system, "(now() at time zone 'Europe/Moscow')::date - 1").await;
    let tomorrow = text(&system, "(now() at time zone 'Europe/Moscow')::date + 1").await;
    let compare = ["reconcile", &yesterday, &tomorrow, "--by", "anna"];
    let (status, said) = system.says(&compare).await;
    let agrees = "1 operations of the gateway and 1 payments compared: 0 differences";
    assert_eq!((status, said.contains(agrees)), (Some(0), true), "{said}");

    charge_at_the_gateway(&system).await;
    let (status, said) = system.says(&compare).await;
    assert_eq!((status, said.contains("missing_here")), (Some(1), true), "{said}");
    let (status, said) = system.says(&["reconcile"]).await;
    assert!(status == Some(0) && said.lines().any(|line| line.starts_with(&yesterday)), "{said}");

    let since =
        text(&system, "to_char(now() at time zone 'UTC' - interval '1 hour', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')").await;
    let (status, said) = system.says(&["restored", "--since", &since, "--by", "anna"]).await;
    assert_eq!((status, said.contains("charging goes on")), (Some(1), true), "{said}");
    assert_eq!(
        text(&system, "select count(*) from restore where told_by = 'anna' and lifted_at is not null").await,
        "1"
    );

    for (wrong, why) in [
        (&["reconcile", "2026-11-02", "2026-11-01"][..], "TO"),
        (&["reconcile", "2020-11-02", "2026-11-01"], "366"),
        (&["restored", "--since", "2999-01-01T00:00:00Z"], "--since"),
        (&["restored", "--since", "2001-01-01T00:00:00Z"], "--since"),
    ] {
        let (status, said) = system.says(wrong).await;
        assert_eq!((status, said.contains(why)), (Some(64), true), "{wrong:?}: {said}");
    }
}
