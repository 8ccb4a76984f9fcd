//! The door: who may enter, and with what.

use cloudpayments_sandbox::{Config, Sandbox, bind};
use serde_json::{Value, json};

use crate::shop::{Shop, VISA, charge, packet, refusal};

#[tokio::test]
async fn nobody_enters_without_the_terminals_credentials() {
    let shop = Shop::open().await;
    let body = charge(VISA).to_string();
    let post = || {
        shop.http.post(shop.url("/payments/cards/charge")).header("Content-Type", "application/json").body(body.clone())
    };
    let attempts = [
        post(),
        post().basic_auth("pk_sandbox", Some("wrong")),
        post().basic_auth("wrong", Some("sk_sandbox")),
        post().basic_auth("pk_sandbox", None::<&str>),
        post().header("Authorization", "Basic ?"),
        post().bearer_auth("sk_sandbox"),
    ];
    for attempt in attempts {
        assert_eq!(attempt.send().await.unwrap().status(), 401);
    }
    assert!(shop.ledger().await.is_empty());
}

#[tokio::test]
async fn test_answers_with_an_id_in_the_message() {
    let shop = Shop::open().await;
    let request = || shop.http.post(shop.url("/test")).basic_auth("pk_sandbox", Some("sk_sandbox"));
    for request in [request(), request().header("Content-Type", "application/json"), request().form(&[("a", "b")])] {
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["Success"], true);
        assert!(uuid::Uuid::parse_str(answer["Message"].as_str().unwrap()).is_ok());
        assert!(answer.get("Model").is_none());
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_gateways_way() {
    let shop = Shop::open().await;
    for (field, value, message) in [
        ("Amount", json!("ten"), "Amount must be a number"),
        ("Amount", json!(59.505), "Amount must have at most two decimal places"),
        ("Amount", json!(0), "Amount must be at least 0.01"),
        ("Amount", json!(-10), "Amount must be at least 0.01"),
        ("Amount", json!(1e12), "Amount is too large"),
        ("Amount", json!([10]), "Amount is invalid"),
        ("Currency", json!("DOGE"), "Currency is invalid"),
        ("IpAddress", json!("here"), "IpAddress is invalid"),
        ("CardCryptogramPacket", json!("xyz"), "CardCryptogramPacket is invalid"),
        ("SaveCard", json!("maybe"), "SaveCard is invalid"),
        ("Description", json!("x".repeat(9000)), "Description is too long"),
    ] {
        let mut body = charge(VISA);
        body[field] = value;
        assert_eq!(refusal(&shop.call("/payments/cards/charge", body).await), message);
    }
    let torn = shop.request("/payments/cards/charge", &json!(null)).body("{\"Amount\":").send().await.unwrap();
    assert_eq!(refusal(&crate::shop::answer(torn).await), "Request body is not a JSON object");
    assert!(shop.ledger().await.is_empty());
}

#[tokio::test]
async fn a_strict_terminal_wants_to_know_who_begins_a_token_charge() {
    let shop = Shop::with(Config { strict: true, ..Config::for_tests() }).await;
    let token = shop.token(VISA).await;
    let mut body = json!({ "Amount": 10, "AccountId": "account", "Token": token });
    for field in ["TrInitiatorCode", "PaymentScheduled"] {
        let answer = shop.call("/payments/tokens/charge", body.clone()).await;
        assert_eq!(refusal(&answer), format!("{field} is required"));
        body[field] = 0.into();
    }
    let answer = shop.call("/payments/tokens/charge", body.clone()).await;
    assert_eq!(answer["Model"]["TrInitiatorCode"], 0);
    body["TrInitiatorCode"] = 2.into();
    assert_eq!(refusal(&shop.call("/payments/tokens/charge", body).await), "TrInitiatorCode is invalid");
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let shop = Shop::open().await;
    let response = shop.request("/test", &json!({ "JsonData": "x".repeat(300_000) })).send().await.unwrap();
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn methods_the_sandbox_lacks_say_so() {
    let shop = Shop::open().await;
    let response = shop.request("/payments/qr/sbp/link", &json!({})).send().await.unwrap();
    assert_eq!(response.status(), 404);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(refusal(&answer), "not emulated by the sandbox");
    assert!(answer["methods"].as_array().unwrap().contains(&json!("/payments/cards/charge")));
    let get = shop.http.get(shop.url("/payments/get")).send().await.unwrap();
    assert_eq!(get.status(), 405);
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_setting() {
    let shop = Shop::open().await;
    let config = Config { listen: shop.sandbox.addr, ..Config::for_tests() };
    let error = bind(config).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("SANDBOX_LISTEN: cannot listen on {}", shop.sandbox.addr)), "{error}");
}

#[tokio::test]
async fn a_stopped_sandbox_gives_its_port_back_though_clients_keep_connections() {
    let shop = Shop::open().await;
    shop.pay(VISA).await;
    let addr = shop.sandbox.addr;
    tokio::time::timeout(std::time::Duration::from_secs(3), shop.sandbox.stop()).await.unwrap().unwrap();
    Sandbox::start(Config { listen: addr, ..Config::for_tests() }).await.unwrap();
}

#[tokio::test]
async fn browsers_are_sent_to_the_public_address() {
    let public_url = Some("https://sandbox.example.com/".parse().unwrap());
    let shop = Shop::with(Config { public_url, ..Config::for_tests() }).await;
    let model = shop.pay("4242424242424242").await["Model"].take();
    assert_eq!(model["AcsUrl"], "https://sandbox.example.com/acs");
}

#[tokio::test]
async fn the_page_makes_cryptograms_and_shows_the_ledger() {
    let shop = Shop::open().await;
    let response = shop.http.get(shop.url("/")).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = response.text().await.unwrap();
    for address in ["/sandbox/cards", "/sandbox/cryptogram", "/sandbox/ledger"] {
        assert!(page.contains(address));
    }
}

#[tokio::test]
async fn keys_may_be_written_in_any_case() {
    let shop = Shop::open().await;
    let body =
        json!({ "amount": 10, "IPADDRESS": "127.0.0.1", "cardCryptogramPacket": packet(VISA), "accountid": "a" });
    assert_eq!(shop.call("/payments/cards/charge", body).await["Model"]["AccountId"], "a");
}
