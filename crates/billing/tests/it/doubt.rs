//! Attempts nobody turns to, and attempts nobody knows the fate of.

use billing::PaymentId;
use billing::payment::{Outcome, PaymentState};
use billing::resolve::ResolvePolicy;
use billing::store::payments::{self, Resend, Resolve, Stranded, Wake};
use chrono::{DateTime, Utc};

use crate::shop::{Shop, day, refused, took, unknown};
use crate::support::sample::TRANSACTION;
use crate::support::{hours, minutes, noon};

impl Shop {
    async fn stranded(&self, now: DateTime<Utc>) -> Vec<Stranded> {
        payments::stranded(&mut *self.conn().await, now - minutes(1), now, 10).await.unwrap()
    }

    async fn unresolved(&self, now: DateTime<Utc>) -> Vec<PaymentId> {
        payments::unresolved(&mut *self.conn().await, now - minutes(2), now, 10).await.unwrap()
    }

    async fn resolving(&self, id: PaymentId, now: DateTime<Utc>) -> Resolve {
        payments::begin_resolving(&mut *self.conn().await, id, now - minutes(2), now).await.unwrap()
    }

    async fn resend(&self, id: PaymentId, now: DateTime<Utc>) -> Resend {
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
    let Resolve::Look(doubted) = shop.resolving(payment.id, later).await else { panic!("it is in doubt") };
    assert_eq!(doubted.state, PaymentState::Unknown);
    assert_eq!(doubted.sent.unwrap().first_at, noon());
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
