//! Another card takes the place of the kept one: when a debt is paid with it, when it is only verified, and which card is
//! charged afterwards.

use std::sync::Arc;

use billing::account::AccountStatus;
use billing::bill::{BillKind, BillStatus};
use billing::event::EventKind;
use billing::payment::{CardMask, Outcome, PaymentState};
use billing::store::events;
use billing::store::payments::{Begin, ChargeInstrument, Effect, NewPayment, PaymentView, Resend};
use billing::store::subscriptions::{self, NewCard, Replacing, Request, Verb, VerbError};
use billing::{AccountId, Kopecks, PaymentId};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use crate::shop::{Shop, month, page, purchase, refused, took, unknown};
use crate::support::sample::TRANSACTION;
use crate::support::{at, hours, minutes, noon};

/// Where the month that was bought at noon of 10 March ends.
fn end() -> DateTime<Utc> {
    at("2026-04-10T09:00:00Z")
}

fn card_b(pay_debt: bool) -> NewCard {
    NewCard { cryptogram: "02555555444409090128SMfGq1Uo5".into(), ip_address: [203, 0, 113, 8].into(), pay_debt }
}

fn asked(account_id: AccountId, now: DateTime<Utc>) -> Request {
    let idempotency_key = uuid::Uuid::new_v4().to_string();
    Request { account_id, client: "frontend".into(), idempotency_key, now }
}

impl Shop {
    async fn ask(&self, request: &Request, new: &NewCard) -> Result<Replacing, VerbError> {
        subscriptions::replace_card(&mut *self.conn().await, request, new, &self.cipher).await
    }

    async fn replace(&self, account: AccountId, pay_debt: bool, now: DateTime<Utc>) -> PaymentView {
        self.ask(&asked(account, now), &card_b(pay_debt)).await.unwrap().payment
    }

    /// Card B is sent to be verified, and the gateway says this of it.
    async fn verify(&self, account: AccountId, outcome: Outcome, now: DateTime<Utc>) -> PaymentView {
        let verification = self.replace(account, false, now).await;
        self.charge(verification.id, outcome, now).await.payment
    }

    async fn last_four(&self, account: AccountId) -> Option<String> {
        self.text(&format!("select card->>'last_four' from account where id = '{account}'")).await
    }

    /// A renewal that card A was refused for, with this code.
    async fn refused_renewal(&self, code: i32) -> (AccountId, PaymentId) {
        let account = self.subscribed(month(), 1).await;
        let renewal = self.open_due(end()).await[0];
        self.charge(renewal, refused(code), end()).await;
        assert_eq!(self.account_of(account).await.status, AccountStatus::Overdue);
        (account, renewal)
    }

    /// The token that the next charge of this account sends.
    async fn next_token(&self, now: DateTime<Utc>) -> String {
        let order = self.send(self.open_due(now).await[0], now).await;
        let ChargeInstrument::Token(token) = order.instrument else { panic!("by token") };
        token.expose_secret().to_owned()
    }

    async fn story_of(&self, account: AccountId) -> Vec<EventKind> {
        let story = events::story_of_account(&mut *self.conn().await, account, None, 100).await.unwrap();
        story.into_iter().rev().map(|event| event.kind).collect()
    }
}

/// One rouble is held on card B.
fn held(token: Option<&str>) -> Outcome {
    Outcome::Authorized {
        transaction_id: 900,
        token: token.map(Into::into),
        amount: Kopecks::new(100),
        currency: billing::Currency::RUB,
        card: Some(CardMask { last_four: Some("4444".into()), ..CardMask::default() }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_card_is_charged_from_then_on_and_gives_nothing_else() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let before = shop.account_of(account).await;
    let verification = shop.replace(account, false, noon() + hours(1)).await;
    assert_eq!((verification.kind, verification.amount), (BillKind::Verification, Kopecks::new(100)));
    let bill = format!("bill where id = '{}' and paid_period is null and period_no = 0", verification.bill_id);
    assert_eq!(shop.count(&bill).await, 1, "it is for no period");

    let order = shop.send(verification.id, noon() + hours(1)).await;
    assert!(matches!(order.instrument, ChargeInstrument::Verification(_)), "held, not charged");
    assert_eq!(shop.next_token_kept(account).await, "tk_1", "until the new one is good the old one stays");
    let applied = shop.apply(verification.id, held(Some("tk_B")), noon() + hours(1)).await;
    assert_eq!(applied.effects, [Effect::CardReplaced { account_id: account }]);
    assert_eq!((applied.payment.state, applied.payment.bill_status), (PaymentState::Authorized, BillStatus::Void));
    assert_eq!(shop.last_four(account).await.as_deref(), Some("4444"));
    assert_eq!(shop.next_token_kept(account).await, "tk_B");

    let released = shop.apply(verification.id, Outcome::Voided, noon() + hours(2)).await;
    assert_eq!((released.payment.state, released.effects), (PaymentState::Verified, vec![]));
    assert_eq!(shop.account_of(account).await, before, "nothing was bought");
    assert_eq!(shop.count("payment where is_success").await, 1, "and nothing earned");
    let mut conn = shop.conn().await;
    let bills = subscriptions::bills(&mut conn, account, None, 10).await.unwrap().unwrap();
    assert_eq!(bills.rows.len(), 1, "it was never owed");
    drop(conn);
    let story = shop.story_of(account).await;
    assert!(story.contains(&EventKind::CardReplaced));
    assert_eq!(story.iter().filter(|kind| **kind == EventKind::PaymentSucceeded).count(), 1);
}

impl Shop {
    /// The token that is kept.
    async fn next_token_kept(&self, account: AccountId) -> String {
        let sealed = self.text(&format!("select payment_token from account where id = '{account}'")).await.unwrap();
        let place = billing::cipher::Place::Token(account);
        self.cipher.open(place, &sealed).unwrap().expose_secret().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_a_debt_is_paid_at_once_and_the_next_charge_uses_the_new_card_only() {
    let shop = Shop::open().await;
    let (account, renewal) = shop.refused_renewal(5051).await;
    shop.sql("update tariff set amount = 99900").await.unwrap();
    let now = end() + hours(1);
    let paying = shop.replace(account, true, now).await;
    assert_eq!((paying.kind, paying.bill_id), (BillKind::Renewal, shop.view(renewal).await.bill_id));
    assert_eq!(paying.amount, Kopecks::new(39_900), "at the price of the bill");
    shop.charge(paying.id, took(&paying, 2), now).await;
    let paid = shop.account_of(account).await;
    assert_eq!((paid.status, paid.paid_until), (AccountStatus::Active, Some(at("2026-05-10T09:00:00Z"))));
    assert_eq!(shop.open_due(end() + hours(30)).await, [], "the try that waited is not made");
    assert_eq!(shop.next_token(at("2026-05-10T08:00:00Z")).await, "tk_2");
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_a_waiting_retry_charges_the_verified_card_only() {
    let shop = Shop::open().await;
    let (account, _) = shop.refused_renewal(5051).await;
    let planned = shop.account_of(account).await.next_charge_at.unwrap();
    shop.verify(account, held(Some("tk_B")), end() + hours(1)).await;
    assert_eq!(shop.account_of(account).await.next_charge_at, Some(planned), "when it was to be tried");
    assert_eq!(shop.next_token(planned).await, "tk_B");
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_a_try_that_was_opened_for_the_old_card_and_waits_charges_the_new_one() {
    let shop = Shop::open().await;
    let (account, _) = shop.refused_renewal(5051).await;
    let now = end() + hours(30);
    let waiting = shop.open_due(now).await[0];
    shop.verify(account, held(Some("tk_B")), now).await;
    let order = shop.send(waiting, now + minutes(1)).await;
    assert!(matches!(order.instrument, ChargeInstrument::Token(token) if token.expose_secret() == "tk_B"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_a_new_card_without_a_token_ends_the_automatic_renewal() {
    let shop = Shop::open().await;
    let (account, _) = shop.refused_renewal(5051).await;
    let verification = shop.replace(account, false, end() + hours(1)).await;
    let applied = shop.charge(verification.id, held(None), end() + hours(1)).await;
    assert_eq!(applied.effects, [Effect::CardNotKept { account_id: account }]);
    assert!(!applied.payment.renews, "the customer is told");
    assert!(shop.story_of(account).await.contains(&EventKind::CardForgotten));
    assert_eq!(shop.count("card where token is not null").await, 0);
    for later in [30, 80, 130] {
        assert_eq!(shop.open_due(end() + hours(later)).await, [], "card A is never charged again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_a_new_card_that_is_declined_leaves_the_old_one_unless_it_was_refused_for_good() {
    for (code, is_charged_again) in [(5051, true), (5043, false)] {
        for pay_debt in [true, false] {
            let shop = Shop::open().await;
            let (account, _) = shop.refused_renewal(code).await;
            let tried = shop.replace(account, pay_debt, end() + hours(1)).await;
            let declined = shop.charge(tried.id, refused(5041), end() + hours(1)).await.payment;
            assert_eq!(declined.state, PaymentState::Declined);
            assert_eq!(shop.account_of(account).await.can_be_charged(), is_charged_again, "{code}");
            assert_eq!(shop.next_token_kept(account).await, "tk_1");
            assert_eq!(shop.open_due(end() + hours(30)).await.len(), usize::from(is_charged_again), "{code}");
            let declines = shop.story_of(account).await;
            let told = declines.iter().filter(|kind| **kind == EventKind::PaymentDeclined).count();
            assert_eq!(told, if pay_debt { 2 } else { 1 }, "a card that is not good was no payment");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_what_was_refused_for_good_to_the_old_card_is_tried_with_the_new_one() {
    let shop = Shop::open().await;
    let (account, _) = shop.refused_renewal(5043).await;
    assert_eq!(shop.account_of(account).await.next_charge_at, None);
    shop.verify(account, held(Some("tk_B")), end() + hours(1)).await;
    let after = shop.account_of(account).await;
    assert!(after.can_be_charged());
    assert_eq!(after.next_charge_at, Some(end() + hours(25)));
    assert_eq!(shop.next_token(end() + hours(25)).await, "tk_B");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_renewal_is_in_doubt_the_card_is_only_verified_and_its_refusal_is_not_the_new_ones() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    shop.charge(renewal, unknown(end()), end()).await;
    shop.sql("update account set status = 'Overdue', access_until = paid_until + interval '7 days'").await.unwrap();
    let verification = shop.replace(account, true, end() + minutes(1)).await;
    assert_eq!(verification.kind, BillKind::Verification, "the money may have been taken already");
    shop.charge(verification.id, held(Some("tk_B")), end() + minutes(2)).await;

    let again = shop.resend(renewal, end() + minutes(7)).await;
    assert!(matches!(again, Resend::CardIsGone), "the old card is not charged again: {again:?}");
    shop.apply(renewal, refused(5043), end() + minutes(8)).await;
    let after = shop.account_of(account).await;
    assert!(after.can_be_charged(), "lost is the other card");
    assert_eq!(after.next_charge_at, Some(end() + minutes(8) + hours(24)));
    assert_eq!(shop.next_token(end() + minutes(8) + hours(24)).await, "tk_B");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_charge_of_the_old_card_does_not_bring_it_back() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    shop.charge(renewal, unknown(end()), end()).await;
    shop.verify(account, held(Some("tk_B")), end()).await;
    let view = shop.view(renewal).await;
    let paid = shop.apply(renewal, took(&view, 2), end() + minutes(1)).await.payment;
    assert_eq!(paid.state, PaymentState::Succeeded);
    assert_eq!(shop.next_token_kept(account).await, "tk_B");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_was_taken_to_verify_a_card_goes_back_and_the_card_is_good() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let verification = shop.replace(account, false, noon() + hours(1)).await;
    let applied = shop.charge(verification.id, took(&verification, 900), noon() + hours(1)).await;
    assert_eq!(applied.payment.state, PaymentState::SucceededDuplicate);
    let owed = Effect::RefundOwed { payment_id: verification.id, transaction_id: 900 };
    assert_eq!(applied.effects, [owed, Effect::CardReplaced { account_id: account }]);
    assert_eq!(shop.next_token_kept(account).await, "tk_900");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cards_at_once_are_verified_one_after_the_other() {
    let shop = Arc::new(Shop::open().await);
    let account = shop.subscribed(month(), 1).await;
    let asking = (0..2).map(|_| {
        let shop = Arc::clone(&shop);
        tokio::spawn(async move { shop.ask(&asked(account, noon() + hours(1)), &card_b(false)).await })
    });
    let mut begun = Vec::new();
    let mut in_progress = Vec::new();
    for asking in asking.collect::<Vec<_>>() {
        match asking.await.unwrap() {
            Ok(replacing) => begun.push(replacing.payment.id),
            Err(VerbError::PaymentInProgress { payment_id }) => in_progress.push(payment_id),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((begun.len(), &begun), (1, &in_progress), "the other is told which to follow");
    assert_eq!(shop.count("bill where kind = 'verification'").await, 1);

    // On the bank's page the customer may think again.
    shop.charge(begun[0], page(), noon() + hours(1)).await;
    let second = shop.replace(account, false, noon() + hours(2)).await;
    assert_eq!(shop.state(begun[0]).await, PaymentState::Abandoned);
    shop.charge(second.id, held(Some("tk_B")), noon() + hours(2)).await;
    // Letting the money go is not the customer's matter: another card may come meanwhile.
    assert_eq!(shop.state(second.id).await, PaymentState::Authorized);
    let third = shop.replace(account, false, noon() + hours(3)).await;
    assert_eq!(third.state, PaymentState::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_left_and_answered_all_the_same_brings_no_card_back_and_its_money_is_let_go() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let first = shop.replace(account, false, noon()).await;
    shop.charge(first.id, page(), noon()).await;
    shop.verify(account, held(Some("tk_B")), noon() + minutes(1)).await;
    let late = Outcome::Authorized {
        transaction_id: TRANSACTION,
        token: Some("tk_late".into()),
        amount: Kopecks::new(100),
        currency: billing::Currency::RUB,
        card: None,
    };
    let late = shop.apply(first.id, late, noon() + minutes(2)).await.payment;
    assert_eq!(late.state, PaymentState::Authorized, "it is held, so it is let go");
    assert_eq!(shop.next_token_kept(account).await, "tk_B");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_begins_one_verification_and_never_another() {
    let shop = Shop::open().await;
    let (account, other) = (shop.subscribed(month(), 1).await, shop.subscribed(month(), 2).await);
    let request = asked(account, noon());
    let first = shop.ask(&request, &card_b(false)).await.unwrap();
    assert!(!first.replayed);
    shop.charge(first.payment.id, held(Some("tk_B")), noon()).await;
    let again = shop.ask(&request, &card_b(false)).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.payment.id, again.payment.state), (first.payment.id, PaymentState::Authorized), "as it is now");
    let everything = shop.everything().await;
    for (request, new) in [
        (request.clone(), card_b(true)),
        (request.clone(), NewCard { cryptogram: "another".into(), ..card_b(false) }),
        (Request { account_id: other, ..request.clone() }, card_b(false)),
    ] {
        let conflict = shop.ask(&request, &new).await.unwrap_err();
        assert!(matches!(conflict, VerbError::IdempotencyConflict), "{conflict:?}");
    }
    assert_eq!(shop.everything().await, everything);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_subscription_has_no_card_to_replace() {
    let shop = Shop::open().await;
    let never_paid = shop.account().await;
    let refused = shop.ask(&asked(never_paid, noon()), &card_b(true)).await.unwrap_err();
    assert!(matches!(refused, VerbError::NoSubscription), "{refused:?}");
    let over = shop.subscribed(month(), 1).await;
    shop.sql(&format!("update account set status = 'Canceled', next_charge_at = null where id = '{over}'"))
        .await
        .unwrap();
    let refused = shop.ask(&asked(over, noon()), &card_b(true)).await.unwrap_err();
    assert!(matches!(refused, VerbError::Ended), "{refused:?}");
    assert_eq!(shop.count("api_request").await + shop.count("bill where kind = 'verification'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c26_a_card_that_is_forgotten_while_it_is_verified_is_not_kept() {
    for is_sent in [false, true] {
        let shop = Shop::open().await;
        let account = shop.subscribed(month(), 1).await;
        let verification = shop.replace(account, false, noon()).await;
        if is_sent {
            shop.send(verification.id, noon()).await;
        }
        let request = asked(account, noon());
        subscriptions::perform(&mut *shop.conn().await, &request, Verb::ForgetCard).await.unwrap();
        if is_sent {
            let held = shop.apply(verification.id, held(Some("tk_B")), noon()).await;
            assert_eq!(
                (held.payment.state, held.effects),
                (PaymentState::Authorized, vec![]),
                "what is held is let go"
            );
        } else {
            assert!(matches!(shop.begin(verification.id, noon()).await, Begin::NotNow(PaymentState::NotExecuted)));
            assert_eq!(shop.view(verification.id).await.bill_status, BillStatus::Void);
        }
        assert_eq!(shop.count("account where payment_token is not null or card is not null").await, 0);
        assert_eq!(shop.count("card where token is not null or mask is not null").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_that_could_not_be_sent_for_too_long_is_not_sent_and_owes_nothing() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let verification = shop.replace(account, false, noon()).await;
    assert!(matches!(shop.begin(verification.id, noon() + hours(1)).await, Begin::NotNow(PaymentState::NotExecuted)));
    let view = shop.view(verification.id).await;
    assert_eq!(view.bill_status, BillStatus::Void);
    assert_eq!(shop.count("bill where card_cryptogram_packet is not null").await, 0, "its secret is wiped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_charges_a_day_is_one_of_each_card() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    for n in 0..2 {
        shop.due_at(account, end() + hours(n)).await;
        let renewal = shop.open_due(end() + hours(n)).await[0];
        shop.charge(renewal, refused(5051), end() + hours(n)).await;
    }
    let third = end() + hours(3);
    shop.due_at(account, third).await;
    assert_eq!(shop.open_due(third).await, [], "card A was charged twice within a day");
    shop.verify(account, held(Some("tk_B")), third).await;
    shop.due_at(account, third).await;
    assert_eq!(shop.next_token(third).await, "tk_B", "card B was not");
}

impl Shop {
    /// As a person could plan it.
    async fn due_at(&self, account: AccountId, at: DateTime<Utc>) {
        let at = at.to_rfc3339();
        self.sql(&format!("update account set next_charge_at = '{at}' where id = '{account}'")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_may_go_on_while_a_card_is_verified() {
    let shop = Shop::open().await;
    let (account, _) = shop.refused_renewal(5051).await;
    shop.replace(account, false, end() + hours(1)).await;
    let paying = NewPayment { now: end() + hours(1), ..purchase(account) };
    let paying = shop.create(paying).await.unwrap().payment;
    assert_eq!(paying.kind, BillKind::Renewal, "what is owed is another matter");
    shop.close(end() + hours(24 * 8)).await;
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Overdue, "it is being paid");
}
