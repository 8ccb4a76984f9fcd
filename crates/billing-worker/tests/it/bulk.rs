//! One action of the staff on many rows, through a worker and the gateway.

use billing::payment::PaymentState;
use billing::refund::{AccessEffect, RefundState};
use billing::staff::Role;
use billing::store::browse::PaymentFilter;
use billing::store::staff::{self, BulkAsk, BulkState, BulkWord, By};
use billing::tasks::{ResumeRefunds, RunBulks};
use billing::{PaymentId, clock};

use crate::world::{PAYS, SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn told_three_times_everybody_gets_their_money_back_once() {
    let world = World::start().await;
    for _ in 0..4 {
        let payment = world.pays(PAYS).await;
        world.ends_as(payment.id, PaymentState::Succeeded).await;
    }
    let (mut conn, now) = (world.services.db.conn().await.unwrap(), clock::now());
    let (by, boris) = (By::command_line("a test"), By::command_line("boris"));
    let anna = staff::add(&mut conn, "anna", Role::ChiefAccountant, "no hash", &by, now).await.unwrap();
    let anna = By::staff(&anna, "127.0.0.1");
    let ask = BulkAsk::Refund { effect: AccessEffect::Keep, of: PaymentFilter::default() };
    let bulk = staff::freeze_bulk(&mut conn, PaymentId::new().get(), ask, "", &anna, now).await.unwrap();
    staff::ask_bulk(&mut conn, bulk.id, "an outage", &anna, now).await.unwrap();
    staff::tell_bulk(&mut conn, bulk.id, BulkWord::Approve, &boris, now).await.unwrap();
    drop(conn);

    let (one, two, three) = tokio::join!(world.tick(RunBulks {}), world.tick(RunBulks {}), world.tick(RunBulks {}));
    let rows: i64 = [one, two, three].iter().filter_map(serde_json::Value::as_i64).sum();
    assert_eq!(rows, 4, "each row once");
    let back = format!("refund where state = '{}' and client = 'bulk'", RefundState::Succeeded);
    testkit::eventually(SOON, || async {
        world.tick(ResumeRefunds {}).await;
        let done = world.count(&back).await;
        if done == 4 { Ok(()) } else { Err(done) }
    })
    .await;
    assert_eq!(world.count("refund").await, 4);
    assert_eq!(world.count("(select payment_id from refund group by 1 having count(*) > 1) x").await, 0);
    let ended = staff::bulk_by_id(&mut world.services.db.conn().await.unwrap(), bulk.id).await.unwrap().unwrap();
    assert_eq!(ended.state, BulkState::Done);
    assert_eq!(world.count("event where kind = 'refund_moved' and source = 'staff'").await, 4, "it was the staff");
}
