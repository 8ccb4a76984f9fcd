//! Browsers: grpc-web over plain HTTP/1.1.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use billing_api::proto::{ListTariffsRequest, ListTariffsResponse, Payment, PaymentStatus, WatchPaymentRequest};
use diesel_async::SimpleAsyncConnection;
use prost::Message;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response, Version};
use uuid::Uuid;

use crate::auth_service::Signer;
use crate::browsers::world_of;
use crate::worker::declined;
use crate::world::{FRONTEND, SOON, World};

const LIST: &str = "/billing.v1.Tariffs/ListTariffs";

fn browser() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().http1_only().no_proxy().timeout(SOON).build().expect("a client")
}

/// One message as gRPC frames it: a flag, four bytes of length, the message.
fn frame(message: &impl Message) -> Vec<u8> {
    framed(&message.encode_to_vec())
}

pub(crate) fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("small").to_be_bytes();
    [&[0][..], &length, bytes].concat()
}

/// The message and the trailers of an answer.
fn unframe(mut body: &[u8]) -> (Option<Vec<u8>>, String) {
    let (mut message, mut trailers) = (None, String::new());
    while let [flag, a, b, c, d, rest @ ..] = body {
        let (frame, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        match flag {
            0x00 => message = Some(frame.to_vec()),
            0x80 => trailers = String::from_utf8(frame.to_vec()).expect("ASCII"),
            other => panic!("a frame of kind {other}"),
        }
        body = rest;
    }
    (message, trailers)
}

async fn post(world: &World, content_type: &str, body: Vec<u8>, headers: &[(&'static str, &str)]) -> Response {
    post_to(LIST, world, content_type, body, headers).await
}

pub(crate) async fn post_to(
    method: &str,
    world: &World,
    content_type: &str,
    body: Vec<u8>,
    headers: &[(&'static str, &str)],
) -> Response {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(*name, HeaderValue::from_str(value).expect("ASCII"));
    }
    browser()
        .post(format!("{}{method}", world.url()))
        .header("content-type", content_type)
        .header("accept", content_type)
        .headers(all)
        .body(body)
        .send()
        .await
        .expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_calls_by_http_1_1() {
    let world = World::start().await;
    let bearer = format!("Bearer {FRONTEND}");
    let body = frame(&ListTariffsRequest {});
    let answer = post(&world, "application/grpc-web+proto", body, &[("authorization", &bearer)]).await;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_11));
    assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto");
    let (message, trailers) = unframe(&answer.bytes().await.expect("a body"));
    assert!(trailers.contains("grpc-status:0"), "{trailers:?}");
    let tariffs = ListTariffsResponse::decode(&*message.expect("a message")).expect("our message").tariffs;
    assert_eq!(tariffs.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_call_in_base64() {
    let world = World::start().await;
    let bearer = format!("Bearer {FRONTEND}");
    let body = BASE64_STANDARD.encode(frame(&ListTariffsRequest {})).into_bytes();
    let answer = post(&world, "application/grpc-web-text+proto", body, &[("authorization", &bearer)]).await;
    let text = answer.text().await.expect("a body");
    let (message, trailers) = unframe(&decode_pieces(&text));
    assert!(trailers.contains("grpc-status:0"), "{trailers:?}");
    assert_eq!(ListTariffsResponse::decode(&*message.expect("a message")).expect("our message").tariffs.len(), 3);
}

/// Each frame is encoded by itself, so padding may stand in the middle.
fn decode_pieces(text: &str) -> Vec<u8> {
    let groups = text.as_bytes().chunks(4);
    groups.flat_map(|group| BASE64_STANDARD.decode(group).expect("base64")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_follow_a_payment() {
    let world = World::start().await;
    let payment = world.payment().await;
    world.charged(&payment.payment_id, declined()).await;
    let bearer = format!("Bearer {FRONTEND}");
    let body = frame(&WatchPaymentRequest { payment_id: payment.payment_id.clone() });
    let method = "/billing.v1.Payments/WatchPayment";
    let answer = post_to(method, &world, "application/grpc-web+proto", body, &[("authorization", &bearer)]).await;
    let (message, trailers) = unframe(&answer.bytes().await.expect("a body"));
    assert!(trailers.contains("grpc-status:0"), "{trailers:?}");
    let told = Payment::decode(&*message.expect("a message")).expect("our message");
    assert_eq!((told.payment_id.as_str(), told.status()), (&*payment.payment_id, PaymentStatus::Declined));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_refused_like_everybody_else() {
    let world = World::start().await;
    let answer = post(&world, "application/grpc-web+proto", frame(&ListTariffsRequest {}), &[]).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.headers()["grpc-status"], "16");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_grpc_is_a_bad_request() {
    let world = World::start().await;
    let answer = post(&world, "application/json", b"{}".to_vec(), &[]).await;
    assert_eq!(answer.status().as_u16(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_of_the_configured_origins_may_call() {
    let signer = Signer::ed("ed-1");
    let world = world_of(&signer, |config| config.web_origins = vec!["https://cinema.example".into()]).await;
    for (origin, allowed) in
        [("https://cinema.example", true), ("http://cinema.example", false), ("https://evil.example", false)]
    {
        let preflight = browser()
            .request(Method::OPTIONS, format!("{}{LIST}", world.url()))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,x-grpc-web")
            .send()
            .await
            .expect("an answer");
        let permission = preflight.headers().get("access-control-allow-origin");
        assert_eq!(permission.map(HeaderValue::as_bytes), allowed.then_some(origin.as_bytes()), "{origin}");
    }
    let bearer = format!("Bearer {}", signer.token(&Uuid::new_v4().to_string()));
    let headers = [("authorization", &*bearer), ("origin", "https://cinema.example")];
    let answer = post(&world, "application/grpc-web+proto", frame(&ListTariffsRequest {}), &headers).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://cinema.example");
    let exposed = answer.headers()["access-control-expose-headers"].to_str().expect("ASCII");
    for header in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"] {
        assert!(exposed.contains(header), "{exposed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_the_caller_is_honoured() {
    let world = World::start().await;
    let mut conn = world.services.db.conn().await.expect("the database answers");
    conn.batch_execute("begin; lock table tariff in access exclusive mode").await.expect("locked");

    let bearer = format!("Bearer {FRONTEND}");
    let headers = [("authorization", &*bearer), ("grpc-timeout", "200m")];
    let asked = post(&world, "application/grpc-web+proto", frame(&ListTariffsRequest {}), &headers);
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await.expect("long before the server's own limit");
    assert_eq!(answer.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED");
    conn.batch_execute("rollback").await.expect("unlocked");
}

/// A client of gRPC would not even send this; what a proxy has held for too long arrives like it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_arrives_after_its_deadline_is_not_begun() {
    let world = World::start().await;
    let order = world.order().await;
    let before = world.rows().await;
    let bearer = format!("Bearer {FRONTEND}");
    let headers = [("authorization", &*bearer), ("grpc-timeout", "1n")];
    let method = "/billing.v1.Payments/CreatePayment";
    let answer = post_to(method, &world, "application/grpc-web+proto", frame(&order), &headers).await;
    let status = answer.headers().get("grpc-status").and_then(|status| status.to_str().ok()).map(str::to_owned);
    let (_, trailers) = unframe(&answer.bytes().await.expect("a body"));
    assert!(status.as_deref() == Some("4") || trailers.contains("grpc-status:4"), "{status:?} {trailers}");
    assert_eq!(world.rows().await, before, "nothing was written");
    assert_eq!(world.waiting().await, 0, "and no worker told");
}
