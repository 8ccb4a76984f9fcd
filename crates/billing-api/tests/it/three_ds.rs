use billing::clock;
use billing::payment::Outcome;
use billing_api::proto::{CreatePaymentRequest, GetPaymentRequest, Payment, PaymentStatus, SubmitThreeDsRequest};
use chrono::TimeDelta;
use tonic::{Code, Status};

use crate::refused::{Refusal, refusal, refused};
use crate::worker::{TRANSACTION, completed, three_ds_required};
use crate::world::{FRONTEND, World, by};

const PA_RES: &str = "eJzVWNmSo8iS\r\n/RWi+5ElFgEC";

async fn awaiting(world: &World) -> Payment {
    let payment = world.payment().await;
    world.charged(&payment.payment_id, three_ds_required()).await;
    let request = GetPaymentRequest { payment_id: payment.payment_id };
    world.payments().get_payment(by(FRONTEND, request)).await.expect("found").into_inner()
}

async fn submit(world: &World, payment_id: &str, md: &str, pa_res: &str) -> Result<Payment, Status> {
    let request = SubmitThreeDsRequest { payment_id: payment_id.into(), md: md.into(), pa_res: pa_res.into() };
    world.payments().submit_three_ds(by(FRONTEND, request)).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customer_is_told_where_to_go_and_the_answer_is_passed_to_a_worker() {
    let world = World::on_real_servers(|_| {}).await;
    let payment = awaiting(&world).await;
    assert_eq!(payment.status(), PaymentStatus::AwaitingThreeDs);
    let page = payment.three_ds.expect("where to go");
    assert_eq!((&*page.acs_url, &*page.pa_req), ("https://bank.example/acs", "eJxVUdtu"));
    assert_eq!(page.md, TRANSACTION.to_string());
    assert!(page.expires_at.expect("a time").seconds > clock::now().timestamp());

    let before = world.waiting().await;
    let submitted = submit(&world, &payment.payment_id, &page.md, PA_RES).await.expect("taken");
    assert_eq!(submitted.status(), PaymentStatus::Processing);
    assert!(submitted.three_ds.is_none());
    assert_eq!(world.waiting().await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_post_the_answer_twice() {
    let world = World::start().await;
    let payment = awaiting(&world).await;
    let md = TRANSACTION.to_string();
    for _ in 0..2 {
        let submitted = submit(&world, &payment.payment_id, &md, PA_RES).await.expect("harmless");
        assert_eq!(submitted.status(), PaymentStatus::Processing);
    }
    world.posted(&payment.payment_id, completed(payment.amount_kopecks)).await;
    let late = submit(&world, &payment.payment_id, &md, PA_RES).await.expect("harmless, also at the end");
    assert_eq!(late.status(), PaymentStatus::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_fit_its_payment_is_refused_and_changes_nothing() {
    let world = World::start().await;
    let (waiting, created) = (awaiting(&world).await, world.payment().await);
    let md = TRANSACTION.to_string();
    let too_long = "A".repeat(32 * 1024 + 1);
    let cases: &[(&str, &Payment, &str, &str, Refusal)] = &[
        ("md of another payment", &waiting, "7", PA_RES, refused(Code::InvalidArgument, "WRONG_TRANSACTION", &["md"])),
        (
            "not asked",
            &created,
            &md,
            PA_RES,
            refused(Code::FailedPrecondition, "NOT_AWAITING_THREE_DS", &["payment_id"]),
        ),
        ("md is no number", &waiting, "12a", PA_RES, refused(Code::InvalidArgument, "INVALID_FIELDS", &["md"])),
        ("no PaRes", &waiting, &md, "", refused(Code::InvalidArgument, "INVALID_FIELDS", &["pa_res"])),
        ("blank PaRes", &waiting, &md, " \r\n", refused(Code::InvalidArgument, "INVALID_FIELDS", &["pa_res"])),
        ("huge PaRes", &waiting, &md, &too_long, refused(Code::InvalidArgument, "INVALID_FIELDS", &["pa_res"])),
        ("neither", &waiting, "", "", refused(Code::InvalidArgument, "INVALID_FIELDS", &["md", "pa_res"])),
    ];
    let messages = world.waiting().await;
    for (what, payment, md, pa_res, expected) in cases {
        let status = submit(&world, &payment.payment_id, md, pa_res).await.expect_err(what);
        assert_eq!(&refusal(&status), expected, "{what}");
    }
    let request = GetPaymentRequest { payment_id: waiting.payment_id.clone() };
    let unchanged = world.payments().get_payment(by(FRONTEND, request)).await.expect("found").into_inner();
    assert_eq!(unchanged, waiting);
    assert_eq!(world.waiting().await, messages, "no worker was told");
    submit(&world, &waiting.payment_id, &md, PA_RES).await.expect("the right answer is still taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_is_refused() {
    let world = World::start().await;
    let payment = world.payment().await;
    let Outcome::ThreeDsRequired { transaction_id, acs_url, pa_req, .. } = three_ds_required() else { unreachable!() };
    let expires_at = clock::now() - TimeDelta::seconds(1);
    world.charged(&payment.payment_id, Outcome::ThreeDsRequired { transaction_id, acs_url, pa_req, expires_at }).await;

    let status = submit(&world, &payment.payment_id, &TRANSACTION.to_string(), PA_RES).await.expect_err("too late");
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "THREE_DS_EXPIRED", &["payment_id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_too_late_may_pay_anew_at_once_as_the_refusal_advises() {
    let world = World::start().await;
    let order = world.order().await;
    let first = world.payments().create_payment(by(FRONTEND, order.clone())).await.expect("created").into_inner();
    let Outcome::ThreeDsRequired { transaction_id, acs_url, pa_req, .. } = three_ds_required() else { unreachable!() };
    let expires_at = clock::now() - TimeDelta::seconds(1);
    world.charged(&first.payment_id, Outcome::ThreeDsRequired { transaction_id, acs_url, pa_req, expires_at }).await;
    let status = submit(&world, &first.payment_id, &TRANSACTION.to_string(), PA_RES).await.expect_err("too late");
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "THREE_DS_EXPIRED", &["payment_id"]));

    let anew = CreatePaymentRequest { idempotency_key: "another".to_owned(), ..order };
    let anew = world.payments().create_payment(by(FRONTEND, anew)).await.expect("there is room").into_inner();
    assert_eq!(anew.status(), PaymentStatus::Created);
    let request = GetPaymentRequest { payment_id: first.payment_id.clone() };
    let left = world.payments().get_payment(by(FRONTEND, request)).await.expect("found").into_inner();
    assert_eq!(left.status(), PaymentStatus::Abandoned);
}
