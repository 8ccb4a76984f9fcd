use std::time::Duration;

use billing::clock;
use billing::payment::Outcome;
use billing::store::payments::apply;
use billing_api::proto::{Payment, PaymentStatus, WatchPaymentRequest};
use testkit::eventually;
use tonic::{Code, Status, Streaming};

use crate::refused::{fact, refusal, refused};
use crate::worker::{TRANSACTION, completed, declined, parse, three_ds_required};
use crate::world::{FRONTEND, SOON, World, by};

/// So seldom that no test waits for it.
const NEVER: Duration = Duration::from_secs(3600);

async fn next(changes: &mut Streaming<Payment>) -> Result<Option<Payment>, Status> {
    tokio::time::timeout(SOON, changes.message())
        .await
        .expect("the stream is woken, it does not wait for a second look")
}

async fn follow_through_three_ds(world: World) {
    let payment = world.payment().await;
    let id = &*payment.payment_id;
    let mut changes = world.watch(id).await;
    assert_eq!(next(&mut changes).await.expect("no error"), Some(payment.clone()), "first what is known now");

    world.charged(id, three_ds_required()).await;
    world.tell_charged(id).await;
    let waiting = next(&mut changes).await.expect("no error").expect("not the end");
    assert_eq!(waiting.status(), PaymentStatus::AwaitingThreeDs);
    assert!(waiting.three_ds.is_some());

    let submit = billing_api::proto::SubmitThreeDsRequest {
        payment_id: id.to_owned(),
        md: TRANSACTION.to_string(),
        pa_res: "eJzVWNmS".into(),
    };
    world.payments().submit_three_ds(by(FRONTEND, submit)).await.expect("taken");
    world.posted(id, completed(payment.amount_kopecks)).await;
    world.tell_posted(id).await;
    let paid = next(&mut changes).await.expect("no error").expect("not the end");
    assert_eq!(paid.status(), PaymentStatus::Succeeded);
    assert_eq!(next(&mut changes).await.expect("no error"), None, "a final status is the last");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_wake_the_stream_on_real_servers() {
    follow_through_three_ds(World::on_real_servers(|config| config.watch_reread = NEVER).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_wake_the_stream_in_memory() {
    follow_through_three_ds(World::with(|config| config.watch_reread = NEVER).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_has_ended_is_told_once() {
    let world = World::start().await;
    let payment = world.payment().await;
    world.charged(&payment.payment_id, declined()).await;
    let mut changes = world.watch(&payment.payment_id).await;
    assert_eq!(next(&mut changes).await.expect("no error").expect("one").status(), PaymentStatus::Declined);
    assert_eq!(next(&mut changes).await.expect("no error"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_a_task_of_its_own_is_found_by_the_second_look() {
    let world = World::with(|config| config.watch_reread = Duration::from_millis(50)).await;
    let payment = world.payment().await;
    world.charged(&payment.payment_id, three_ds_required()).await;
    let mut changes = world.watch(&payment.payment_id).await;
    assert_eq!(next(&mut changes).await.expect("no error").expect("now").status(), PaymentStatus::AwaitingThreeDs);

    let (id, cipher) = (parse(&payment.payment_id), &world.services.cipher);
    let mut conn = world.services.db.conn().await.expect("the database answers");
    apply(&mut conn, id, Outcome::Expired, cipher, clock::now()).await.expect("expired");
    drop(conn);
    assert_eq!(next(&mut changes).await.expect("no error").expect("the end").status(), PaymentStatus::Abandoned);
    assert_eq!(next(&mut changes).await.expect("no error"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_a_limit_of_streams_and_a_closed_one_counts_no_more() {
    let world = World::with(|config| config.max_streams = 1).await;
    let payment = world.payment().await;
    let request = WatchPaymentRequest { payment_id: payment.payment_id.clone() };
    let open = world.watch(&payment.payment_id).await;

    let status = world.payments().watch_payment(by(FRONTEND, request.clone())).await.expect_err("the second");
    assert_eq!(refusal(&status), refused(Code::ResourceExhausted, "TOO_MANY_STREAMS", &[]));
    assert_eq!(fact(&status, "limit").as_deref(), Some("1"));

    drop(open);
    eventually(SOON, async || world.payments().watch_payment(by(FRONTEND, request.clone())).await.map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_payment_takes_no_stream_from_the_limit() {
    let world = World::with(|config| config.max_streams = 1).await;
    for _ in 0..3 {
        let request = WatchPaymentRequest { payment_id: uuid::Uuid::new_v4().to_string() };
        let status = world.payments().watch_payment(by(FRONTEND, request)).await.expect_err("unknown");
        assert_eq!(status.code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_at_the_deadline_of_its_caller() {
    let world = World::start().await;
    let payment = world.payment().await;
    let mut request = by(FRONTEND, WatchPaymentRequest { payment_id: payment.payment_id });
    request.set_timeout(Duration::from_secs(2));
    let mut changes = world.payments().watch_payment(request).await.expect("a stream").into_inner();
    assert!(next(&mut changes).await.expect("no error").is_some());
    let status = next(&mut changes).await.expect_err("time is over");
    assert_eq!(refusal(&status), refused(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_limit_of_time_does_not_cut_a_stream() {
    let world = World::with(|config| {
        config.request_timeout = Duration::from_secs(1);
        config.watch_reread = NEVER;
    })
    .await;
    let payment = world.payment().await;
    let mut changes = world.watch(&payment.payment_id).await;
    assert!(next(&mut changes).await.expect("no error").is_some());
    let longer_than_the_limit = tokio::time::timeout(Duration::from_millis(1500), changes.message()).await;
    assert!(longer_than_the_limit.is_err(), "{longer_than_the_limit:?}");

    world.charged(&payment.payment_id, declined()).await;
    world.tell_charged(&payment.payment_id).await;
    assert_eq!(next(&mut changes).await.expect("no error").expect("the end").status(), PaymentStatus::Declined);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_the_streams_and_says_so() {
    let mut world = World::start().await;
    let payment = world.payment().await;
    let mut changes = world.watch(&payment.payment_id).await;
    assert!(next(&mut changes).await.expect("no error").is_some());

    tokio::time::timeout(Duration::from_secs(2), world.stop())
        .await
        .expect("no connection holds it up")
        .expect("no error");
    let status = next(&mut changes).await.expect_err("the end of the server");
    assert_eq!(refusal(&status), refused(Code::Unavailable, "SHUTTING_DOWN", &[]));
}
