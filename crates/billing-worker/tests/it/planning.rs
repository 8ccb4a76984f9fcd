//! Many accounts are due at once, as after an outage.

use billing::tasks::{OpenRenewals, RENEWALS, RepublishStranded};

use crate::world::World;

/// As many messages as may wait, and some more accounts.
const MOST_WAITING: usize = 10_000;
const DUE: usize = MOST_WAITING + 250;

/// Nobody takes renewals from their queue.
const NO_RENEWALS: [&str; 2] = ["--worker-queues", "payments,lookups,billing"];

async fn waiting(world: &World) -> usize {
    let depth = world.services.app.broker().queue_depth(RENEWALS).await.unwrap();
    depth.map_or(0, |depth| usize::try_from(depth.messages).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_renewals_are_opened_than_may_wait_and_none_is_sent_again_that_does() {
    let world = World::with(&NO_RENEWALS).await;
    world.are_due(DUE).await;
    assert_eq!(world.tick(OpenRenewals {}).await, MOST_WAITING);
    assert_eq!(waiting(&world).await, MOST_WAITING);
    assert_eq!(world.tick(OpenRenewals {}).await, 0, "a later tick opens the rest");
    world.tick(RepublishStranded {}).await;
    assert_eq!(waiting(&world).await, MOST_WAITING, "no copies");

    world.services.app.broker().purge(RENEWALS).await.unwrap();
    assert_eq!(world.tick(OpenRenewals {}).await, DUE - MOST_WAITING);
}
