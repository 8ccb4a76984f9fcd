//! Connections that are silent, many or slow, and who is served all the same.

use std::time::Duration;

use billing_api::proto::{CheckAccessRequest, ListTariffsRequest};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use crate::refused::{refusal, refused};
use crate::worker::declined;
use crate::world::{AUTH, FRONTEND, SOON, World, by};

const SHORT: Duration = Duration::from_millis(500);

/// Waits until the server closes the connection.
async fn ended(mut connection: TcpStream) {
    let ending = async { while let Ok(1..) = connection.read(&mut [0; 1024]).await {} };
    tokio::time::timeout(SOON, ending).await.expect("the server closes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_ask_for_nothing_are_closed() {
    let world = World::with(|config| config.handshake_timeout = SHORT).await;
    for beginning in [&b""[..], b"PRI * HTTP/2.0\r\n", b"POST /billing.v1.Tariffs/ListTariffs HTTP/1.1\r\n"] {
        let mut silent = TcpStream::connect(world.address).await.expect("accepted");
        silent.write_all(beginning).await.expect("sent");
        ended(silent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_watched_keeps_its_connection_however_little_happens() {
    let world = World::with(|config| {
        config.handshake_timeout = SHORT;
        config.idle_timeout = SHORT;
    })
    .await;
    let payment = world.payment().await;
    let mut changes = world.watch(&payment.payment_id).await;
    changes.message().await.expect("no error").expect("what is known now");
    for _ in 0..3 {
        ended(TcpStream::connect(world.address).await.expect("accepted")).await;
    }
    world.charged(&payment.payment_id, declined()).await;
    world.tell_charged(&payment.payment_id).await;
    let last = tokio::time::timeout(SOON, changes.message()).await.expect("told").expect("no error");
    assert!(last.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_silent_connections_shuts_no_client_out() {
    let world = World::with(|config| config.max_connections_per_address = 20).await;
    let connects = (0..200).map(|_| TcpStream::connect(world.address));
    let _flood: Vec<_> = join_all(connects).await;
    for _ in 0..3 {
        world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect("served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_messages_never_come_starves_no_other_client() {
    let world = World::with(|config| config.message_timeout = Duration::from_secs(5)).await;
    let account = world.account().await;
    let method = "/billing.v1.Payments/GetPayment";
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..600 {
        calls.spawn(world.never_says(method, Some(FRONTEND)));
    }
    let first = calls.join_next().await.expect("600 calls").expect("no panic");
    assert_eq!(refusal(&first), refused(Code::ResourceExhausted, "TOO_MANY_REQUESTS", &[]));

    let request = CheckAccessRequest { account_id: account };
    let asked = world.access().check_access(by(AUTH, request)).await;
    asked.expect("another client is served meanwhile");
    let mut ended = [0, 0];
    while let Some(call) = calls.join_next().await {
        match call.expect("no panic").code() {
            Code::ResourceExhausted => ended[0] += 1,
            Code::DeadlineExceeded => ended[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ended, [87, 512], "as many as one client may have wait, and not for ever");
    world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect("all have ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_never_comes_is_told_what_is_wrong() {
    let world = World::with(|config| config.message_timeout = Duration::from_millis(300)).await;
    let status = world.never_says("/billing.v1.Tariffs/ListTariffs", Some(FRONTEND)).await;
    assert_eq!(refusal(&status), refused(Code::DeadlineExceeded, "MESSAGE_LATE", &[]));
    assert!(status.message().contains("300ms"), "{}", status.message());
}
