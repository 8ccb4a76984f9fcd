//! Servers behind the API that cannot be reached.

use std::time::Duration;

use billing_api::Config;
use billing_api::proto::{ListTariffsRequest, PaymentStatus, RegisterAccountRequest};
use diesel_async::SimpleAsyncConnection;
use testkit::{FaultProxy, eventually};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::refused::{refusal, refused};
use crate::worker::declined;
use crate::world::{AUTH, Addresses, FRONTEND, SOON, World, by, database};

async fn health(world: &World) -> ServingStatus {
    let mut client = HealthClient::new(world.channel());
    client.check(HealthCheckRequest::default()).await.expect("an answer").into_inner().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_callers_are_told_to_come_back_and_health_says_so() {
    let database = database().await;
    let proxy = FaultProxy::start(database.url()).await;
    let addresses = Addresses { database: proxy.url(database.url()), ..Addresses::in_memory(&database) };
    let world = World::at(&addresses, database, None, |_| {}).await;
    eventually(SOON, async || health(&world).await == ServingStatus::Serving).await;

    proxy.refuse().await;
    proxy.cut();
    let status =
        eventually(SOON, async || world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.err()).await;
    assert_eq!(refusal(&status), refused(Code::Unavailable, "UNAVAILABLE", &[]));
    assert!(status.get_error_details().retry_info().is_some());
    assert!(!status.message().contains("127.0.0.1"), "no address is told: {}", status.message());
    eventually(SOON, async || health(&world).await == ServingStatus::NotServing).await;

    proxy.accept().await;
    eventually(SOON, async || health(&world).await == ServingStatus::Serving).await;
    world.tariff().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_short_of_something_is_unavailable_and_no_defect() {
    let world = World::start().await;
    let mut conn = world.services.db.conn().await.expect("the database answers");
    // As PostgreSQL says it: disk full, out of memory, too many connections (appendix A, class 53).
    for code in ["53100", "53200", "53300"] {
        let short = format!(
            "create or replace function short() returns trigger language plpgsql as $$
             begin raise exception 'could not extend file' using errcode = '{code}'; end $$;
             create or replace trigger short before insert on account for each row execute function short()"
        );
        conn.batch_execute(&short).await.expect("a trigger");
        let request = RegisterAccountRequest { account_id: uuid::Uuid::new_v4().to_string() };
        let status = world.access().register_account(by(AUTH, request)).await.expect_err("nothing can be stored");
        assert_eq!(refusal(&status), refused(Code::Unavailable, "UNAVAILABLE", &[]), "{code}");
        assert!(status.get_error_details().retry_info().is_some(), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_taken_without_the_broker_and_left_for_the_timetable() {
    let (database, vhost, redis) = (database().await, testkit::rabbitmq().await, testkit::redis().await);
    let proxy = FaultProxy::start(&vhost.amqp_url()).await;
    let addresses = Addresses {
        database: database.url().to_owned(),
        broker: proxy.url(&vhost.amqp_url()),
        backend: redis.url().to_owned(),
    };
    let world = World::at(&addresses, database, Some((vhost, redis)), |_| {}).await;
    eventually(SOON, async || health(&world).await == ServingStatus::Serving).await;
    let order = world.order().await;

    proxy.refuse().await;
    proxy.cut();
    let answer = world.payments().create_payment(by(FRONTEND, order.clone())).await;
    let payment = answer.expect("it is stored, so it is taken").into_inner();
    assert_eq!(payment.status(), PaymentStatus::Created);
    assert_eq!(world.rows().await, (1, 1, 1));
    eventually(SOON, async || health(&world).await == ServingStatus::NotServing).await;

    proxy.accept().await;
    eventually(SOON, async || health(&world).await == ServingStatus::Serving).await;
    world.payments().create_payment(by(FRONTEND, order)).await.expect("the same key sends the message again");
    assert!(world.waiting().await >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_created_and_watched_without_the_result_backend() {
    let (database, vhost, redis) = (database().await, testkit::rabbitmq().await, testkit::redis().await);
    let proxy = FaultProxy::start(redis.url()).await;
    let addresses =
        Addresses { database: database.url().to_owned(), broker: vhost.amqp_url(), backend: proxy.url(redis.url()) };
    let never = |config: &mut Config| config.watch_reread = Duration::from_secs(3600);
    let world = World::at(&addresses, database, Some((vhost, redis)), never).await;
    proxy.refuse().await;
    proxy.cut();

    let payment = world.payment().await;
    let mut changes = world.watch(&payment.payment_id).await;
    let first = tokio::time::timeout(SOON, changes.message()).await.expect("at once").expect("no error");
    assert_eq!(first, Some(payment.clone()));

    // What happens meanwhile is not told by the backend; that it is back, is.
    world.charged(&payment.payment_id, declined()).await;
    proxy.accept().await;
    let last = tokio::time::timeout(SOON, changes.message()).await.expect("a look").expect("no error");
    assert_eq!(last.expect("no end").status(), PaymentStatus::Declined);
}
