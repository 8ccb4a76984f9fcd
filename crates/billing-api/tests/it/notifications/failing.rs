//! A refusal that is told is a hint: what becomes of the attempt says the response, or a look.

use billing::PaymentId;
use billing::payment::{Outcome, PaymentState};
use billing::store::payments;

use super::gateway::{Reply, pay};
use crate::world::World;

fn fail(payment: &billing::store::payments::PaymentView, transaction_id: i64, more: &[(&str, &str)]) -> String {
    let own = [("Status", ""), ("Reason", "InsufficientFunds"), ("ReasonCode", "5051")];
    pay(payment, transaction_id, &[&own, more].concat())
}

/// C5: one bank refuses, the next does not; in whichever order it is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_before_or_after_a_success_changes_nothing_of_it() {
    let world = World::notified().await;
    for (n, fails_first) in [(10, true), (20, false)] {
        let payment = world.sending().await;
        let refused = fail(&payment, n, &[]);
        let of_refused = n.to_string();
        let taken = pay(&payment, n + 1, &[("FallBackScenarioDeclinedTransactionId", &of_refused)]);
        let told =
            if fails_first { [("fail", &refused), ("pay", &taken)] } else { [("pay", &taken), ("fail", &refused)] };
        for (kind, form) in told {
            assert_eq!(world.notify(kind, form).await, Reply::accepted());
            assert_ne!(world.state_of(payment.id).await, PaymentState::Declined);
        }
        let view = world.view(&payment.id.to_string()).await;
        assert_eq!((view.state, view.transaction_id), (PaymentState::Succeeded, Some(n + 1)));
    }
    assert_eq!(world.count("event where kind = 'payment_declined'").await, 0);
    assert_eq!(world.count("account where declines > 0").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_payment_in_doubt_has_the_gateway_asked_now() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let later = world.services.db.now() + chrono::TimeDelta::hours(1);
    world.apply(payment.id, Outcome::Unknown { why: "no response".into(), look_again_at: later }).await;
    assert_eq!(world.notify("fail", &fail(&payment, 7, &[])).await, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Unknown);
    assert_eq!(world.count("payment where look_again_at <= now()").await, 1);
    assert_eq!(world.count("notification where effect = 'look'").await, 1);
    testkit::eventually(crate::world::SOON, async || {
        let depth = world.services.app.broker().queue_depth("lookups").await.unwrap();
        let waiting = depth.map_or(0, |depth| depth.messages);
        if waiting == 1 { Ok(()) } else { Err(waiting) }
    })
    .await;
}

/// The time is told by the notification alone, before the refusal is known here or after it.
#[tokio::test(flavor = "multi_thread")]
async fn when_a_refused_payment_may_be_tried_again_is_taken_from_its_notification() {
    let world = World::notified().await;
    for told_first in [true, false] {
        let payment = world.sending().await;
        let transaction_id = 1_000 + payment.invoice_no;
        let form =
            fail(&payment, transaction_id, &[("RetryAfter", "2031-01-01 10:00:00"), ("ProviderMessage", "later")]);
        let refused = Outcome::Declined {
            transaction_id: Some(transaction_id),
            code: 5051,
            reason: "InsufficientFunds".into(),
            cardholder_message: String::new(),
            retry_after: None,
        };
        if told_first {
            world.notify("fail", &form).await;
            world.apply(payment.id, refused).await;
        } else {
            world.apply(payment.id, refused).await;
            world.notify("fail", &form).await;
        }
        let view = world.view(&payment.id.to_string()).await;
        assert_eq!(view.state, PaymentState::Declined);
        let until = view.decline.and_then(|decline| decline.retry_after).expect("a time");
        assert_eq!(until.to_rfc3339(), "2031-01-01T10:00:00+00:00", "told first: {told_first}");
    }
}

impl World {
    async fn apply(&self, id: PaymentId, outcome: Outcome) {
        let mut conn = self.services.db.conn().await.expect("the database answers");
        let now = self.services.db.now();
        payments::apply(&mut conn, id, outcome, &self.services.cipher, now).await.expect("applied");
    }
}
