//! Our requests are those of the gateway's documentation and of its real clients: the same method,
//! path, credentials, `Content-Type`, and the same JSON modulo null values, key order and the spelling
//! of numbers.

use chrono::DateTime;
use cloudpayments::{
    Amount, CardCharge, Client, Initiator, ListRequest, Payer, TokenCharge, TransactionPart, TransactionStatus,
};
use serde_json::{Map, Value, value::to_raw_value};

use crate::{
    fixtures,
    gateway::{Gateway, Recorded, request_id},
};

/// Endpoints of the captures that this client does not have.
const NOT_OURS: [&str; 4] = ["/payments/list", "/payments/alt/topup", "/payments/cards/topup", "/payments/token/topup"];

#[tokio::test]
async fn our_requests_equal_those_of_real_clients() {
    let mut compared = 0;
    for (name, capture) in fixtures::all("clients") {
        let path = capture["path"].as_str().unwrap();
        if NOT_OURS.contains(&path) {
            continue;
        }
        let body = capture["body_json"].as_object().cloned().unwrap_or_default();
        let ours = replay(path, &body, captured_header(&capture, "X-Request-ID")).await;

        assert_eq!(ours.method, capture["method"], "{name}");
        assert_eq!(ours.path, our_path(path), "{name}");
        assert_eq!(ours.header("Content-Type"), Some("application/json"), "{name}");
        assert_eq!(ours.header("Authorization"), Some("Basic cGtfdGVzdDpza190ZXN0"), "{name}");
        // One client sends no credentials with /test.
        if let Some(theirs) = captured_header(&capture, "Authorization") {
            assert_eq!(ours.header("Authorization"), Some(theirs), "{name}");
        }
        if let Some(theirs) = captured_header(&capture, "X-Request-ID").filter(|_| path != "/test") {
            assert_eq!(ours.header("X-Request-ID"), Some(theirs), "{name}");
        }
        assert_same_body(&name, &ours, body);
        compared += 1;
    }
    assert!(compared >= 30, "only {compared} compared");
}

#[tokio::test]
async fn our_requests_equal_the_documented_ones() {
    let mut compared = 0;
    for (name, example) in fixtures::all("docs") {
        let url = example["endpoints"][0].as_str().unwrap();
        let (_, path) = url.split_once("https://api.cloudpayments.ru").unwrap();
        if example["kind"] != "request" || NOT_OURS.contains(&path) || !path.contains("/payments/") {
            continue;
        }
        let body = example["body"].as_object().unwrap().clone();
        let ours = replay(path, &body, None).await;
        assert_eq!(ours.path, our_path(path), "{name}");
        assert_same_body(&name, &ours, body);
        compared += 1;
    }
    assert!(compared >= 5, "only {compared} compared");
}

#[tokio::test]
async fn only_calls_that_move_money_carry_a_request_id() {
    for (path, fields) in [
        ("/payments/cards/charge", r#"{"Amount":1,"CardCryptogramPacket":"x"}"#),
        ("/payments/cards/auth", r#"{"Amount":1,"CardCryptogramPacket":"x"}"#),
        ("/payments/cards/post3ds", r#"{"TransactionId":1,"PaRes":"x"}"#),
        ("/payments/tokens/charge", r#"{"Amount":1,"Token":"x"}"#),
        ("/payments/confirm", r#"{"TransactionId":1,"Amount":1}"#),
        ("/payments/void", r#"{"TransactionId":1}"#),
        ("/payments/refund", r#"{"TransactionId":1,"Amount":1}"#),
    ] {
        let ours = replay(path, &serde_json::from_str(fields).unwrap(), Some("the-key")).await;
        assert_eq!(ours.header("X-Request-ID"), Some("the-key"), "{path}");
    }
    for (path, fields) in
        [("/test", "{}"), ("/payments/get", r#"{"TransactionId":1}"#), ("/payments/find", r#"{"InvoiceId":"1"}"#)]
    {
        let ours = replay(path, &serde_json::from_str(fields).unwrap(), None).await;
        assert_eq!(ours.header("X-Request-ID"), None, "{path}");
    }
}

/// The second version takes the same body and also finds refunds.
fn our_path(path: &str) -> &str {
    match path {
        "/payments/find" => "/v2/payments/find",
        path => path,
    }
}

/// Sends with our client what the body says and gives what arrived.
async fn replay(path: &str, body: &Map<String, Value>, key: Option<&str>) -> Recorded {
    let gateway = Gateway::answering(200, r#"{"Success":false,"Message":"refused"}"#).await;
    let client = gateway.client();
    let sent = send(&client, path, body, key.unwrap_or("key")).await;
    assert!(sent.is_err(), "refused by the gateway");
    gateway.request()
}

async fn send(client: &Client, path: &str, body: &Map<String, Value>, key: &str) -> Result<(), cloudpayments::Error> {
    let id = request_id(key);
    let transaction_id = || body["TransactionId"].as_i64().unwrap();
    match path {
        "/test" => client.test().await.map(drop),
        "/payments/cards/charge" => client.charge_card(&card_charge(body), &id).await.map(drop),
        "/payments/cards/auth" => client.auth_card(&card_charge(body), &id).await.map(drop),
        "/payments/cards/post3ds" => {
            let pa_res = text(body, "PaRes").unwrap().into();
            client.post_three_ds(transaction_id(), &pa_res, &id).await.map(drop)
        }
        "/payments/tokens/charge" => client.charge_token(&token_charge(body), &id).await.map(drop),
        "/payments/confirm" => client.confirm(&part(body), &id).await,
        "/payments/void" => client.void(transaction_id(), &id).await,
        "/payments/refund" => client.refund(&part(body), &id).await.map(drop),
        "/payments/get" => client.get(transaction_id()).await.map(drop),
        "/payments/find" | "/v2/payments/find" => client.find(&text(body, "InvoiceId").unwrap()).await.map(drop),
        "/v2/payments/list" => {
            let page = body["PageNumber"].as_u64().unwrap();
            client.list(&list(body), page.try_into().unwrap()).await.map(drop)
        }
        path => panic!("no method for {path}"),
    }
}

fn card_charge(body: &Map<String, Value>) -> CardCharge {
    CardCharge {
        invoice_id: text(body, "InvoiceId"),
        account_id: text(body, "AccountId"),
        name: text(body, "Name"),
        payment_url: text(body, "PaymentUrl"),
        description: text(body, "Description"),
        culture_name: text(body, "CultureName"),
        email: text(body, "Email"),
        payer: payer(body),
        json_data: json_data(body),
        save_card: body.get("SaveCard").and_then(Value::as_bool),
        ..CardCharge::new(
            amount(body),
            text(body, "Currency").unwrap_or_default(),
            text(body, "IpAddress").unwrap_or_default(),
            text(body, "CardCryptogramPacket").unwrap().into(),
        )
    }
}

fn token_charge(body: &Map<String, Value>) -> TokenCharge {
    let code = |name| body.get(name).and_then(Value::as_i64);
    let initiator = match (code("TrInitiatorCode"), code("PaymentScheduled")) {
        (Some(1), _) => Initiator::Cardholder,
        (_, Some(0)) => Initiator::Merchant,
        _ => Initiator::Schedule,
    };
    TokenCharge {
        invoice_id: text(body, "InvoiceId"),
        description: text(body, "Description"),
        ip_address: text(body, "IpAddress"),
        email: text(body, "Email"),
        payer: payer(body),
        json_data: json_data(body),
        ..TokenCharge::new(
            amount(body),
            text(body, "Currency").unwrap_or_default(),
            text(body, "AccountId").unwrap_or_default(),
            text(body, "Token").unwrap().into(),
            initiator,
        )
    }
}

fn part(body: &Map<String, Value>) -> TransactionPart {
    TransactionPart {
        json_data: json_data(body),
        ..TransactionPart::new(body["TransactionId"].as_i64().unwrap(), amount(body))
    }
}

fn list(body: &Map<String, Value>) -> ListRequest {
    let moment = |name| DateTime::parse_from_rfc3339(body[name].as_str().unwrap()).unwrap();
    let statuses = body.get("Statuses").and_then(Value::as_array);
    ListRequest {
        time_zone: text(body, "TimeZone"),
        statuses: statuses.into_iter().flatten().map(status).collect(),
        ..ListRequest::created_between(moment("CreatedDateGte"), moment("CreatedDateLte"))
    }
}

fn status(name: &Value) -> TransactionStatus {
    [
        TransactionStatus::Authorized,
        TransactionStatus::Completed,
        TransactionStatus::Cancelled,
        TransactionStatus::Declined,
    ]
    .into_iter()
    .find(|status| name == status.as_str())
    .unwrap()
}

fn payer(body: &Map<String, Value>) -> Option<Payer> {
    let payer = body.get("Payer")?.as_object()?;
    Some(Payer {
        first_name: text(payer, "FirstName"),
        last_name: text(payer, "LastName"),
        middle_name: text(payer, "MiddleName"),
        birth: text(payer, "Birth"),
        street: text(payer, "Street"),
        address: text(payer, "Address"),
        city: text(payer, "City"),
        country: text(payer, "Country"),
        phone: text(payer, "Phone"),
        postcode: text(payer, "Postcode"),
    })
}

fn text(body: &Map<String, Value>, name: &str) -> Option<String> {
    match body.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn amount(body: &Map<String, Value>) -> Amount {
    body["Amount"].to_string().parse().unwrap()
}

fn json_data(body: &Map<String, Value>) -> Option<Box<serde_json::value::RawValue>> {
    let data = body.get("JsonData").filter(|data| !data.is_null())?;
    Some(to_raw_value(data).unwrap())
}

fn captured_header<'a>(capture: &'a Value, name: &str) -> Option<&'a str> {
    let headers = capture["headers"].as_array().unwrap();
    headers
        .iter()
        .find(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name))
        .map(|header| header[1].as_str().unwrap())
}

fn assert_same_body(name: &str, ours: &Recorded, theirs: Map<String, Value>) {
    let mut ours = ours.json();
    let mut theirs = Value::Object(theirs);
    // Required since 24 August 2023; two of the clients are older and leave them out.
    if ours.get("Token").is_some() && theirs.get("TrInitiatorCode").is_none() {
        let ours = ours.as_object_mut().unwrap();
        assert!(ours.remove("TrInitiatorCode").is_some() && ours.remove("PaymentScheduled").is_some());
    }
    // One client can only send whole numbers; documented is text.
    if let Some(invoice) = theirs.get_mut("InvoiceId")
        && invoice.is_number()
    {
        *invoice = invoice.to_string().into();
    }
    normalise(&mut ours);
    normalise(&mut theirs);
    assert_eq!(ours, theirs, "{name}");
}

/// Drops nulls and writes every number the same way. Key order does not matter to `Value`.
fn normalise(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(normalise);
        }
        Value::Array(values) => values.iter_mut().for_each(normalise),
        Value::Number(number) => *value = number.as_f64().into(),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
