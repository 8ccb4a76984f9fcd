//! While the gateway is left alone nobody begins to pay.

use std::time::Duration;

use billing::breaker::{BreakerPolicy, Circuit, Signal};
use billing::store::circuits::{self, Watch};
use billing::store::restores;
use billing_api::proto::CreatePaymentRequest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::refused::{refusal, refused};
use crate::world::{FRONTEND, World, by};

async fn create(world: &World, order: CreatePaymentRequest) -> Result<String, Status> {
    Ok(world.payments().create_payment(by(FRONTEND, order)).await?.into_inner().payment_id)
}

/// The gateway does not take our credentials: it is left alone.
pub(crate) async fn refuses_us(world: &World) {
    let mut conn = world.services.db.conn().await.expect("a connection");
    let (refusing, now) = ([(Circuit::Gateway, Signal::Refused)], world.services.db.now());
    circuits::heard(&mut conn, Watch::UNASKED, &refusing, "401", &BreakerPolicy::default(), now).await.expect("heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_pay_is_told_when_to_come_back_and_nothing_is_written() {
    let world = World::start().await;
    let (before, order) = (world.order().await, world.order().await);
    let order = CreatePaymentRequest { idempotency_key: "another".into(), ..order };
    let made = create(&world, before.clone()).await.unwrap();
    refuses_us(&world).await;
    // The API believes for a second what it has read.
    let unknown = CreatePaymentRequest { account_id: billing::AccountId::new().to_string(), ..order.clone() };
    testkit::eventually(Duration::from_secs(20), async || match create(&world, unknown.clone()).await {
        Err(status) if status.code() == Code::Unavailable => Ok(()),
        other => Err(other),
    })
    .await;

    let rows = world.rows().await;
    let status = create(&world, order.clone()).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::Unavailable, "GATEWAY_UNAVAILABLE", &[]));
    let after = status.get_error_details().retry_info().and_then(|info| info.retry_delay).unwrap();
    assert!(after > Duration::ZERO && after <= Duration::from_secs(30), "{after:?}");
    assert_eq!(world.rows().await, rows);
    assert_eq!(create(&world, before).await.unwrap(), made, "what was begun before is told all the same");

    let mut conn = world.services.db.conn().await.unwrap();
    circuits::end_pause(&mut conn, Circuit::Gateway, world.services.db.now()).await.unwrap();
    drop(conn);
    testkit::eventually(Duration::from_secs(20), async || create(&world, order.clone()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_begins_to_pay_while_a_restored_database_is_not_reconciled() {
    let world = World::start().await;
    let (order, now) = (world.order().await, world.services.db.now());
    let mut conn = world.services.db.conn().await.unwrap();
    restores::tell(&mut conn, now - chrono::TimeDelta::hours(1), "anna", now).await.unwrap();
    drop(conn);
    let rows = world.rows().await;
    let status = create(&world, order.clone()).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::Unavailable, "GATEWAY_UNAVAILABLE", &[]));
    assert!(status.message().contains("nothing was written"), "{status:?}");
    assert_eq!(world.rows().await, rows);
}
