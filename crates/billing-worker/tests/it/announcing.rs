//! Subscribers are told beforehand, once, however often the timetable says so.

use billing::event::EventKind;
use billing::payment::PaymentState;
use billing::store::{accounts, events};
use billing::tasks::Announce;
use chrono::Days;

use crate::world::{PAYS, World};

#[tokio::test(flavor = "multi_thread")]
async fn two_beats_and_three_deliveries_announce_a_renewal_once() {
    let world = World::start().await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let mut conn = world.services.db.conn().await.unwrap();
    let soon = billing::clock::now().date_naive() + Days::new(3);
    assert!(accounts::move_expiration(&mut conn, payment.account_id, soon).await.unwrap());
    drop(conn);
    let told = tokio::join!(
        world.tick(Announce {}),
        world.tick(Announce {}),
        world.tick(Announce {}),
        world.tick(Announce {}),
        world.tick(Announce {}),
        world.tick(Announce {})
    );
    let told =
        [told.0, told.1, told.2, told.3, told.4, told.5].iter().filter_map(serde_json::Value::as_u64).sum::<u64>();
    assert_eq!(told, 1);
    let mut conn = world.services.db.conn().await.unwrap();
    let story = events::story_of_account(&mut conn, payment.account_id, None, 100).await.unwrap();
    let upcoming: Vec<_> = story.iter().filter(|event| event.kind == EventKind::RenewalUpcoming).collect();
    assert_eq!(upcoming.len(), 1);
    assert_eq!(upcoming[0].detail["amount"], payment.amount.get());
}
