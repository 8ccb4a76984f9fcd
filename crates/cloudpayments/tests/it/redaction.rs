//! What must not be seen in a log is not in any `Debug` or `Display` output.

use cloudpayments::{
    Amount, CardCharge, Client, Initiator, TokenCharge,
    notification::{Kind, parse},
};

use crate::gateway::{Gateway, config, request_id};

const SECRET: &str = "hunter2hunter2hunter2";

#[tokio::test]
async fn the_api_secret_shows_nowhere() {
    let gateway = Gateway::answering(500, "").await;
    let mut config = config(gateway.url());
    config.api_secret = SECRET.into();
    let shown_config = format!("{config:?}");
    let client = Client::new(config).unwrap();
    let error = client.test().await.unwrap_err();
    let encoded = gateway.request().header("Authorization").unwrap().to_owned();
    let shown = format!("{shown_config} {client:?} {error:?} {error}");
    assert!(!shown.contains(SECRET) && !shown.contains(encoded.trim_start_matches("Basic ")));
    assert!(shown.contains("pk_test"), "whose client it is may be seen: {shown}");
}

#[test]
fn cryptograms_and_tokens_show_in_no_request() {
    let amount = Amount::from_kopecks(100);
    let card = CardCharge::new(amount, "RUB", "1.2.3.4", SECRET.into());
    let token = TokenCharge::new(amount, "RUB", "acc-1", SECRET.into(), Initiator::Schedule);
    assert!(!format!("{card:?} {token:?}").contains(SECRET));
}

#[test]
fn tokens_show_in_no_notification() {
    let body = format!("TransactionId=1&Amount=1.00&ReasonCode=5051&Token={SECRET}");
    for kind in [Kind::Check, Kind::Pay, Kind::Fail, Kind::Confirm] {
        let notification = parse(kind, None, body.as_bytes()).unwrap();
        assert!(!format!("{notification:?}").contains(SECRET), "{kind}");
    }
}

/// A field of a wrong type must not be quoted in the complaint about it.
#[tokio::test]
async fn an_error_quotes_nothing_of_the_answer() {
    for body in [
        format!(r#"{{"Success":true,"Model":{{"TransactionId":"{SECRET}","Status":"Completed"}}}}"#),
        format!(r#"{{"Success":"{SECRET}","Model":{{}}}}"#),
        format!(r#"{{"Success":true,"Model":"{SECRET}"}}"#),
        SECRET.to_owned(),
    ] {
        let gateway = Gateway::answering(200, &body).await;
        let charge = TokenCharge::new(Amount::from_kopecks(100), "RUB", "acc-1", SECRET.into(), Initiator::Schedule);
        let error = gateway.client().charge_token(&charge, &request_id("1")).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains(SECRET), "{body}");
    }
}
