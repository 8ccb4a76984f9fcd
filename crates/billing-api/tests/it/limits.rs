use std::time::Duration;

use billing_api::proto::{CreatePaymentRequest, ListTariffsRequest};
use diesel_async::SimpleAsyncConnection;
use testkit::eventually;
use tonic::Code;
use tonic_types::StatusExt;

use crate::refused::{refusal, refused};
use crate::world::{FRONTEND, SOON, World, by};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_long_is_refused_before_it_is_read() {
    let world = World::start().await;
    let order = world.order().await;
    let before = world.rows().await;
    let huge = CreatePaymentRequest { card_cryptogram_packet: "A".repeat(64 * 1024), ..order };
    let status = world.payments().create_payment(by(FRONTEND, huge)).await.expect_err("too long");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert_eq!(world.rows().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_too_long_are_refused() {
    let world = World::start().await;
    let mut request = by(FRONTEND, ListTariffsRequest {});
    request.metadata_mut().insert("x-long", "a".repeat(20 * 1024).parse().expect("ASCII"));
    world.tariffs().list_tariffs(request).await.expect_err("too long");
    world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect("and others are served");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_above_the_limit_are_shed_and_told_to_come_back() {
    let world = World::with(|config| config.max_in_flight = 1).await;
    let mut conn = world.services.db.conn().await.expect("the database answers");
    conn.batch_execute("begin; lock table tariff in access exclusive mode").await.expect("locked");

    let mut client = world.tariffs();
    let slow = tokio::spawn(async move {
        loop {
            match client.list_tariffs(by(FRONTEND, ListTariffsRequest {})).await {
                // One of those below was before it.
                Err(status) if status.code() == Code::ResourceExhausted => {}
                served => return served,
            }
        }
    });
    let shed = eventually(SOON, async || {
        let mut request = by(FRONTEND, billing_api::proto::GetPaymentRequest { payment_id: "x".into() });
        request.set_timeout(SOON);
        // Refused as invalid as long as the slow request has not arrived.
        world.payments().get_payment(request).await.err().filter(|status| status.code() == Code::ResourceExhausted)
    })
    .await;
    assert_eq!(refusal(&shed), refused(Code::ResourceExhausted, "OVERLOADED", &[]));
    let retry = shed.get_error_details().retry_info().and_then(|retry| retry.retry_delay);
    assert_eq!(retry, Some(Duration::from_secs(1)));

    conn.batch_execute("rollback").await.expect("unlocked");
    slow.await.expect("no panic").expect("the one that was let in is served");
    eventually(SOON, async || world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_ended_by_the_server() {
    let world = World::with(|config| config.request_timeout = Duration::from_millis(200)).await;
    let mut conn = world.services.db.conn().await.expect("the database answers");
    conn.batch_execute("begin; lock table tariff in access exclusive mode").await.expect("locked");
    let status = world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect_err("too long");
    assert_eq!(refusal(&status), refused(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]));
    conn.batch_execute("rollback").await.expect("unlocked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_counts_until_it_is_finished_also_without_its_caller() {
    let world = World::with(|config| {
        config.request_timeout = Duration::from_secs(2);
        config.max_in_flight = 1;
    })
    .await;
    let order = world.order().await;
    let mut conn = world.services.db.conn().await.expect("the database answers");
    conn.batch_execute("begin; lock table bill in access exclusive mode").await.expect("locked");
    let status = world.payments().create_payment(by(FRONTEND, order)).await.expect_err("too long");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let status = world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect_err("still at work");
    assert_eq!(refusal(&status), refused(Code::ResourceExhausted, "OVERLOADED", &[]));

    conn.batch_execute("rollback").await.expect("unlocked");
    eventually(SOON, async || world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_has_begun_is_finished_after_its_caller_gave_up() {
    let world = World::with(|config| config.request_timeout = Duration::from_secs(2)).await;
    let order = world.order().await;
    let mut conn = world.services.db.conn().await.expect("the database answers");
    conn.batch_execute("begin; lock table bill in access exclusive mode").await.expect("locked");
    let status = world.payments().create_payment(by(FRONTEND, order.clone())).await.expect_err("too long");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    conn.batch_execute("rollback").await.expect("unlocked");
    drop(conn);

    eventually(SOON, async || world.waiting().await == 1).await;
    assert_eq!(world.rows().await, (1, 1, 1));
    let answer = world.payments().create_payment(by(FRONTEND, order)).await.expect("the same payment");
    assert!(answer.metadata().get("idempotent-replayed").is_some(), "the key tells what became of it");
}
