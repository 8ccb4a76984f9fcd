//! Attempts nobody turns to, and attempts nobody knows the fate of.

use billing::PaymentId;
use billing::cipher::Cipher;
use billing::payment::{Outcome, PaymentState};
use billing::resolve::ResolvePolicy;
use billing::store::payments::{self, Begin, Look, Resend, Resolve, Stranded, Wake};
use chrono::{DateTime, Utc};

use crate::shop::{Shop, day, refused, took, unknown};
use crate::support::sample::TRANSACTION;
use crate::support::{hours, minutes, noon};

impl Shop {
    async fn stranded(&self, now: DateTime<Utc>) -> Vec<Stranded> {
        let stranded = payments::stranded(&mut *self.conn().await, now - minutes(1), now, true, 10).await.unwrap();
        self.told(stranded.iter().map(|stranded| stranded.payment_id).collect(), now).await;
        stranded
    }

    async fn unresolved(&self, now: DateTime<Utc>) -> Vec<PaymentId> {
        let due = payments::unresolved(&mut *self.conn().await, now - minutes(2), now, 10).await.unwrap();
        self.told(due.iter().map(|look| look.payment_id).collect(), now).await
    }

    /// A worker was told of them.
    async fn told(&self, ids: Vec<PaymentId>, now: DateTime<Utc>) -> Vec<PaymentId> {
        payments::told(&mut *self.conn().await, &ids, now).await.unwrap();
        ids
    }

    async fn resolving(&self, id: PaymentId, now: DateTime<Utc>) -> Resolve {
        payments::begin_resolving(&mut *self.conn().await, id, now - minutes(2), now).await.unwrap()
    }

    pub(crate) async fn resend(&self, id: PaymentId, now: DateTime<Utc>) -> Resend {
        let policy = ResolvePolicy::default();
        payments::begin_resend(&mut *self.conn().await, id, &policy, &self.cipher, now).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_message_was_lost_is_found_and_found_once() {
    let shop = Shop::open().await;
    let waiting = shop.created().await;
    let sent = shop.created().await;
    shop.send(sent.id, noon()).await;
    assert_eq!(shop.stranded(noon()).await, [], "its message may still be on the way");
    let found = [Stranded { payment_id: waiting.id, wake: Wake::ChargePayment }];
    assert_eq!(shop.stranded(noon() + minutes(1)).await, found);
    assert_eq!(shop.stranded(noon() + minutes(1)).await, [], "a worker was told just now");
    assert_eq!(shop.stranded(noon() + minutes(2)).await, found, "and again, should that be lost too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_is_told_to_the_right_worker() {
    let shop = Shop::open().await;
    let answered = shop.on_the_bank_page().await;
    shop.answer(answered.id, noon()).await;
    let account = shop.subscribed(day(), 5).await;
    let now = shop.account_of(account).await.paid_until.unwrap();
    let renewal = shop.open_due(now).await[0];
    let found = shop.stranded(now + minutes(1)).await;
    assert_eq!(found.len(), 2);
    assert!(found.contains(&Stranded { payment_id: answered.id, wake: Wake::CompleteThreeDs }));
    assert!(found.contains(&Stranded { payment_id: renewal, wake: Wake::ChargeRenewal }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_put_off_is_not_stranded() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let put_off = Outcome::NotSent { why: "429".into(), retry_after: Some(noon() + minutes(10)) };
    shop.charge(payment.id, put_off, noon()).await;
    assert_eq!(shop.stranded(noon() + minutes(9)).await, []);
    assert_eq!(shop.stranded(noon() + minutes(10)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_sender_died_is_in_doubt_after_a_while() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.send(payment.id, noon()).await;
    let early = noon() + minutes(1);
    assert_eq!(shop.unresolved(early).await, []);
    assert_eq!(shop.resolving(payment.id, early).await, Resolve::NotNow(PaymentState::Sending));

    let later = noon() + minutes(2);
    assert_eq!(shop.unresolved(later).await, [payment.id]);
    assert_eq!(shop.unresolved(later).await, [], "one resolver is told at a time");
    let Resolve::Look(look) = shop.resolving(payment.id, later).await else { panic!("it is in doubt") };
    assert_eq!(look.payment.state, PaymentState::Unknown);
    assert_eq!(look.payment.sent.unwrap().first_at, noon());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_passed_on_is_no_doubt() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    shop.answer(payment.id, noon() + minutes(10)).await;
    let later = noon() + minutes(20);
    assert_eq!(shop.unresolved(later).await, [], "it is stranded, not in doubt");
    assert_eq!(shop.resolving(payment.id, later).await, Resolve::NotNow(PaymentState::PostingThreeDs));
    shop.post(payment.id, later).await;
    assert_eq!(shop.unresolved(later + minutes(2)).await, [payment.id]);
    assert!(matches!(shop.resolving(payment.id, later + minutes(2)).await, Resolve::Look(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn doubt_is_looked_into_when_it_is_time() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, unknown(noon()), noon()).await;
    assert_eq!(shop.unresolved(noon()).await, []);
    assert_eq!(shop.unresolved(noon() + minutes(1)).await, [payment.id]);
    let nothing_yet = Outcome::NotFound { absent: false, look_again_at: noon() + minutes(2) };
    shop.apply(payment.id, nothing_yet, noon() + minutes(1)).await;
    assert_eq!(shop.unresolved(noon() + minutes(1)).await, []);
    assert_eq!(shop.unresolved(noon() + minutes(2)).await, [payment.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identical_request_is_repeated_only_while_the_gateway_remembers_it() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let first = shop.send(payment.id, noon()).await;
    shop.apply(payment.id, unknown(noon()), noon()).await;
    for minute in [0, 5, 50, 61] {
        let refused = shop.resend(payment.id, noon() + minutes(minute)).await;
        assert!(matches!(refused, Resend::NotNow(PaymentState::Unknown)), "{minute} minutes");
    }
    let Resend::Charge(again) = shop.resend(payment.id, noon() + minutes(6)).await else { panic!("it is time") };
    assert_eq!((&again.request_id, again.invoice_no), (&first.request_id, first.invoice_no));
    assert_eq!((again.first_sent_at, again.resend_no), (noon(), 2));
    let second = shop.resend(payment.id, noon() + minutes(6)).await;
    assert!(matches!(second, Resend::NotNow(PaymentState::Sending)), "by one at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_is_not_repeated_and_stays_in_doubt() {
    let shop = Shop::open().await;
    let account = shop.subscribed(day(), 1).await;
    let due = shop.account_of(account).await.next_charge_at.unwrap();
    let renewal = shop.open_due(due).await[0];
    shop.charge(renewal, unknown(due), due).await;
    let other_key = "other:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    let (cipher, policy) = (Cipher::from_keys(&other_key.into()).unwrap(), ResolvePolicy::default());
    let later = due + minutes(7);
    let resent = payments::begin_resend(&mut *shop.conn().await, renewal, &policy, &cipher, later).await.unwrap();
    assert!(matches!(resent, Resend::CannotOpen(_)));
    assert_eq!(shop.state(renewal).await, PaymentState::Unknown, "only the gateway's word can end it");
    let Resend::Charge(again) = shop.resend(renewal, later).await else { panic!("the key is back") };
    assert_eq!(again.resend_no, 2, "what was not sent does not count");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_the_bank_page_is_repeated_as_itself() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    let posted_at = noon() + minutes(20);
    shop.answer(payment.id, posted_at).await;
    shop.post(payment.id, posted_at).await;
    shop.apply(payment.id, unknown(posted_at), posted_at).await;
    let early = shop.resend(payment.id, posted_at + minutes(1)).await;
    assert!(matches!(early, Resend::NotNow(_)), "the minutes on the page do not count");
    let Resend::ThreeDs(again) = shop.resend(payment.id, posted_at + minutes(6)).await else { panic!("it is time") };
    assert_eq!((again.transaction_id, again.resend_no), (TRANSACTION, 2));
    assert_eq!(again.request_id, format!("post3ds:{}", payment.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn doubt_is_never_failed_by_age_only_by_evidence() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, unknown(noon()), noon()).await;
    let policy = ResolvePolicy::default();
    let mut now = noon();
    // A gateway that cannot be reached for a month teaches nothing.
    for _ in 0..60 {
        now = policy.next_look(noon(), now);
        let nothing = Outcome::Unknown { why: "no answer".into(), look_again_at: policy.next_look(noon(), now) };
        assert_eq!(shop.apply(payment.id, nothing, now).await.payment.state, PaymentState::Unknown);
    }
    assert!(now - noon() > hours(24 * 20));

    for expected in [PaymentState::Unknown, PaymentState::NotExecuted] {
        let sent = shop.view(payment.id).await.sent.unwrap();
        let after = shop.apply(payment.id, policy.not_found(&sent, true, now), now).await.payment;
        assert_eq!(after.state, expected);
        now += minutes(10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_at_the_gateway_ends_the_doubt() {
    let shop = Shop::open().await;
    let later = noon() + minutes(5);
    let payment = shop.created().await;
    shop.charge(payment.id, unknown(noon()), noon()).await;
    let found = shop.apply(payment.id, took(&payment, 77), later).await.payment;
    assert_eq!((found.state, found.look_again_at), (PaymentState::Succeeded, None));
    assert_eq!(shop.resolving(payment.id, later).await, Resolve::NotNow(PaymentState::Succeeded));

    let other = shop.created().await;
    shop.charge(other.id, unknown(noon()), noon()).await;
    assert_eq!(shop.apply(other.id, refused(5051), later).await.payment.state, PaymentState::Declined);
}

/// A look that is under way, of whoever was told of it first.
async fn look(shop: &Shop, id: PaymentId, now: DateTime<Utc>) -> Look {
    match shop.resolving(id, now).await {
        Resolve::Look(look) => *look,
        Resolve::NotNow(state) => panic!("{id} is {state} and not looked at"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_leases_its_own_payment_and_when_its_worker_dies_it_is_begun_again_after_that_lease() {
    let shop = Shop::open().await;
    let [first, second] = [shop.created().await, shop.created().await];
    for payment in [&first, &second] {
        shop.charge(payment.id, unknown(noon()), noon()).await;
    }
    let due = noon() + minutes(1);
    let ordered = payments::unresolved(&mut *shop.conn().await, due - minutes(2), due, 10).await.unwrap();
    assert_eq!(ordered.len(), 2, "one batch");
    let found_again = payments::unresolved(&mut *shop.conn().await, due - minutes(2), due, 10).await.unwrap();
    assert_eq!(found_again, ordered, "who found them died before a worker was told");
    shop.told(ordered.iter().map(|look| look.payment_id).collect(), due).await;
    let begun = look(&shop, first.id, due).await;
    assert_eq!(begun.leased_until, due + minutes(2));
    for _ in 0..3 {
        let redelivered = shop.resolving(first.id, due + minutes(1)).await;
        assert_eq!(redelivered, Resolve::NotNow(PaymentState::Unknown), "another look is under way");
    }
    assert_eq!(shop.unresolved(due + minutes(1)).await, []);
    // The worker is dead. What it had not begun waits for nobody.
    look(&shop, second.id, due + minutes(1)).await;
    let over = due + minutes(2);
    let again = payments::unresolved(&mut *shop.conn().await, over - minutes(2), over, 10).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].payment_id, first.id);
    assert_ne!(again[0].due_at, ordered[0].due_at, "another look, and so another task");
    look(&shop, first.id, over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_whose_workers_die_are_never_given_up_and_come_ever_more_seldom() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, unknown(noon()), noon()).await;
    let (mut now, mut waits) = (noon() + minutes(1), Vec::new());
    for _ in 0..12 {
        assert_eq!(shop.unresolved(now).await, [payment.id]);
        let leased_until = look(&shop, payment.id, now).await.leased_until;
        waits.push((leased_until - now).num_minutes());
        now = leased_until;
    }
    assert_eq!(waits, [2, 2, 2, 2, 2, 4, 8, 16, 32, 60, 60, 60]);
    // One that comes to its end forgets the others.
    look(&shop, payment.id, now).await.succeed(&mut *shop.conn().await).await.unwrap();
    assert_eq!(look(&shop, payment.id, now + minutes(60)).await.fruitless, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_failed_says_when_the_next_is_due_unless_another_has_begun() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, unknown(noon()), noon()).await;
    let due = noon() + minutes(1);
    let late = look(&shop, payment.id, due).await;
    let present = look(&shop, payment.id, late.leased_until).await;
    late.fail(&mut *shop.conn().await, "429", due + minutes(7)).await.unwrap();
    assert_eq!(shop.view(payment.id).await.look_again_at, Some(present.leased_until), "it is not its look any more");
    present.fail(&mut *shop.conn().await, "429", due + minutes(9)).await.unwrap();
    let view = shop.view(payment.id).await;
    assert_eq!((view.look_again_at, view.info.as_deref()), (Some(due + minutes(9)), Some("429")));
    assert_eq!(shop.unresolved(due + minutes(8)).await, []);
    assert_eq!(shop.unresolved(due + minutes(9)).await, [payment.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sent_is_told_again_for_as_long_as_that_is_so_and_ever_more_seldom() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let mut told = Vec::new();
    for minute in 1..=600 {
        told.extend(shop.stranded(noon() + minutes(minute)).await.iter().map(|_| minute));
    }
    assert_eq!(told[..5], [1, 2, 3, 4, 6]);
    let waits: Vec<_> = told.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| *wait <= 60) && told.last() > Some(&540), "{told:?}");
    assert!(told.len() < 25, "{told:?}");
    assert_eq!(shop.state(payment.id).await, PaymentState::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_put_off_is_sent_by_nobody_before_its_time() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let put_off = Outcome::NotSent { why: "429".into(), retry_after: Some(noon() + minutes(10)) };
    shop.charge(payment.id, put_off, noon()).await;
    assert!(matches!(shop.begin(payment.id, noon() + minutes(9)).await, Begin::NotNow(PaymentState::Created)));
    assert!(matches!(shop.begin(payment.id, noon() + minutes(10)).await, Begin::Send(_)));
}
