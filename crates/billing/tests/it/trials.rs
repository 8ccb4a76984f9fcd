//! Trials: one for an account, one for a card; what is charged, and what comes after.

use std::sync::Arc;

use billing::account::AccountStatus;
use billing::bill::{BillKind, BillStatus, TrialRefusal};
use billing::event::EventKind;
use billing::models::Trial;
use billing::payment::{CardMask, Outcome, PaymentState};
use billing::store::payments::{self, Begin, ChargeInstrument, CreateError, Effect, NewPayment, NoTrial, PaymentView};
use billing::store::subscriptions::{self, Request, Verb, VerbError};
use billing::store::{announcements, events, tariffs};
use billing::{AccountId, Currency, Kopecks};
use chrono::{DateTime, Duration, Utc};

use crate::shop::{Shop, charged_early, month, page, purchase, refused, took, year};
use crate::support::sample::TRANSACTION;
use crate::support::{at, hours, minutes, noon};

/// Where a week that began at noon of 10 March ends.
const TRIAL_ENDS: &str = "2026-03-17T09:00:00Z";

const FOR_NOTHING: Trial = Trial { days: 7, amount: Kopecks::ZERO, currency: Currency::RUB };
const FOR_A_ROUBLE: Trial = Trial { days: 7, amount: Kopecks::new(100), currency: Currency::RUB };
const FOR_TEN: Trial = Trial { days: 7, amount: Kopecks::new(1_000), currency: Currency::RUB };

fn card(last_four: &str) -> CardMask {
    CardMask {
        first_six: Some("424242".into()),
        last_four: Some(last_four.into()),
        expires: Some("12/39".into()),
        ..CardMask::default()
    }
}

fn trying(account: AccountId, trial: Trial) -> NewPayment {
    NewPayment { trial: Some(trial), ..purchase(account) }
}

/// The money of this payment is held on this card.
fn held(payment: &PaymentView, transaction_id: i64, card: CardMask) -> Outcome {
    Outcome::Authorized {
        transaction_id,
        token: Some(format!("tk_{transaction_id}").into()),
        amount: payment.amount,
        currency: payment.currency,
        card: Some(card),
    }
}

/// It is taken.
fn taken(payment: &PaymentView, transaction_id: i64, card: CardMask) -> Outcome {
    Outcome::Completed {
        transaction_id,
        token: Some(format!("tk_{transaction_id}").into()),
        amount: payment.amount,
        currency: payment.currency,
        card: Some(card),
    }
}

impl Shop {
    async fn sells_a_trial(&self, trial: Trial) {
        tariffs::set_trial(&mut *self.conn().await, month(), Some(trial), noon()).await.unwrap();
    }

    /// Tries a month, for what it may be tried for, with this card.
    async fn tries(&self, account: AccountId, trial: Trial, transaction_id: i64, card: CardMask) -> PaymentView {
        let payment = self.create(trying(account, trial)).await.unwrap().payment;
        let outcome = match trial.amount {
            Kopecks::ZERO => held(&payment, transaction_id, card),
            _ => taken(&payment, transaction_id, card),
        };
        self.charge(payment.id, outcome, noon()).await.payment
    }

    async fn told_publicly(&self, account: AccountId) -> Vec<EventKind> {
        let story = events::story_of_account(&mut *self.conn().await, account, None, 100).await.unwrap();
        story.into_iter().rev().map(|event| event.kind).filter(|kind| kind.is_public()).collect()
    }
}

fn asked(account_id: AccountId, now: DateTime<Utc>) -> Request {
    let idempotency_key = uuid::Uuid::new_v4().to_string();
    Request { account_id, client: "frontend".into(), idempotency_key, now }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_for_nothing_verifies_the_card_and_is_charged_in_full_at_its_end() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let payment = shop.create(trying(account, FOR_NOTHING)).await.unwrap().payment;
    assert_eq!((payment.kind, payment.amount, payment.is_trial), (BillKind::Verification, Kopecks::new(100), true));
    let order = shop.send(payment.id, noon()).await;
    assert!(matches!(order.instrument, ChargeInstrument::Verification(_)), "held, not charged");
    let begun = shop.apply(payment.id, held(&payment, 1, card("4242")), noon()).await;
    let expires_on = at(TRIAL_ENDS).date_naive();
    assert_eq!(
        begun.effects,
        [
            Effect::AccessGranted { account_id: account, tariff_id: month(), expires_on },
            Effect::TrialBegan { account_id: account, tariff_id: month() }
        ]
    );
    assert_eq!((begun.payment.state, begun.payment.bill_status), (PaymentState::Authorized, BillStatus::Void));
    let running = shop.account_of(account).await;
    assert!(running.is_on_trial() && running.access(at(TRIAL_ENDS) - minutes(1)).has_access);
    assert_eq!((running.status, running.paid_until), (AccountStatus::Active, Some(at(TRIAL_ENDS))));

    // What was held is let go, and that changes nothing.
    let released = shop.apply(payment.id, Outcome::Voided, noon() + hours(1)).await;
    assert_eq!((released.payment.state, released.effects), (PaymentState::Verified, vec![]));
    assert_eq!(shop.account_of(account).await, running);
    assert_eq!(shop.count("payment where is_success").await, 0, "nothing was earned");

    // The first full charge is a renewal like any other.
    assert_eq!(shop.open_due(at(TRIAL_ENDS) - Duration::days(2)).await, [], "not before the window");
    let due = at(TRIAL_ENDS) - hours(1);
    let renewal = shop.view(shop.open_due(due).await[0]).await;
    assert_eq!((renewal.kind, renewal.amount), (BillKind::Renewal, Kopecks::new(39_900)));
    shop.charge(renewal.id, took(&renewal, 2), due).await;
    let paid = shop.account_of(account).await;
    assert_eq!(paid.paid_until, Some(at("2026-04-17T09:00:00Z")), "a month behind the trial");
    assert!(!paid.is_on_trial());
    use EventKind as K;
    let story = [K::AccountRegistered, K::AccessGranted, K::TrialBegan, K::PaymentSucceeded, K::AccessGranted];
    assert_eq!(shop.told_publicly(account).await, story);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_trial_costs_what_was_shown_and_no_more() {
    let shop = Shop::open().await;
    shop.sells_a_trial(FOR_TEN).await;
    let account = shop.account().await;
    let payment = shop.create(trying(account, FOR_TEN)).await.unwrap().payment;
    assert_eq!((payment.kind, payment.amount), (BillKind::Primary, Kopecks::new(1_000)));
    let paid = shop.charge(payment.id, taken(&payment, 1, card("4242")), noon()).await.payment;
    assert_eq!((paid.state, paid.bill_status, paid.is_trial), (PaymentState::Succeeded, BillStatus::Paid, true));
    let running = shop.account_of(account).await;
    assert!(running.is_on_trial());
    assert_eq!(running.paid_until, Some(at(TRIAL_ENDS)));
    let renewal = shop.view(shop.open_due(at(TRIAL_ENDS) - hours(1)).await[0]).await;
    assert_eq!(renewal.amount, Kopecks::new(39_900));
    use EventKind as K;
    let story = [K::AccountRegistered, K::PaymentSucceeded, K::AccessGranted, K::TrialBegan];
    assert_eq!(shop.told_publicly(account).await, story);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_full_charge_is_announced_as_the_end_of_the_trial() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    shop.tries(account, FOR_NOTHING, 1, card("4242")).await;
    let mut conn = shop.conn().await;
    let notice = Duration::days(3);
    let due = shop.account_of(account).await.next_charge_at.unwrap();
    assert_eq!(announcements::renewals(&mut conn, notice, due - Duration::days(4), 10).await.unwrap(), 0);
    assert_eq!(announcements::renewals(&mut conn, notice, due - Duration::days(2), 10).await.unwrap(), 1);
    let story = events::story_of_account(&mut conn, account, None, 1).await.unwrap();
    let upcoming = &story[0];
    assert_eq!(upcoming.kind, EventKind::RenewalUpcoming);
    assert_eq!(
        (upcoming.detail["amount"].as_i64(), upcoming.detail["ends_trial"].as_bool()),
        (Some(39_900), Some(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_one_trial_for_ever() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    shop.tries(account, FOR_NOTHING, 1, card("4242")).await;
    let running = shop.create(trying(account, FOR_NOTHING)).await.unwrap_err();
    assert!(matches!(running, CreateError::AlreadyActive), "{running:?}");

    let cancel = asked(account, noon() + hours(1));
    subscriptions::perform(&mut *shop.conn().await, &cancel, Verb::Cancel).await.unwrap();
    shop.close(at(TRIAL_ENDS)).await;
    let later = at(TRIAL_ENDS) + hours(1);
    let before = shop.everything().await;
    let again = NewPayment { now: later, ..trying(account, FOR_NOTHING) };
    let refused = shop.create(again.clone()).await.unwrap_err();
    assert!(matches!(refused, CreateError::NoTrial(NoTrial::Used)), "{refused:?}");
    assert_eq!(shop.everything().await, before, "nothing was written");
    // The tariff itself is sold.
    let bought = shop.create(NewPayment { trial: None, ..again }).await.unwrap().payment;
    assert_eq!((bought.amount, bought.is_trial), (Kopecks::new(39_900), false));
    shop.charge(bought.id, took(&bought, 2), later).await;
    let paid = shop.account_of(account).await;
    assert!(!paid.is_on_trial() && paid.access(later).has_access);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_shown_other_terms_is_not_charged_by_the_new_ones() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let before = shop.everything().await;
    let none = NewPayment { tariff_id: year(), ..trying(account, FOR_NOTHING) };
    assert!(matches!(shop.create(none).await.unwrap_err(), CreateError::NoTrial(NoTrial::NotOffered)));
    for shown in [FOR_TEN, Trial { days: 30, ..FOR_NOTHING }, Trial { currency: "USD".parse().unwrap(), ..FOR_NOTHING }]
    {
        let refused = shop.create(trying(account, shown)).await.unwrap_err();
        assert!(matches!(refused, CreateError::NoTrial(NoTrial::Changed(FOR_NOTHING))), "{refused:?}");
    }
    assert_eq!(shop.everything().await, before);
    tariffs::set_trial(&mut *shop.conn().await, month(), None, noon()).await.unwrap();
    let refused = shop.create(trying(account, FOR_NOTHING)).await.unwrap_err();
    assert!(matches!(refused, CreateError::NoTrial(NoTrial::NotOffered)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_has_one_trial_whoever_types_it_in() {
    let shop = Shop::open().await;
    let (first, second) = (shop.account().await, shop.account().await);
    shop.tries(first, FOR_NOTHING, 1, card("4242")).await;
    let payment = shop.create(trying(second, FOR_NOTHING)).await.unwrap().payment;
    let refused = shop.charge(payment.id, held(&payment, 2, card("4242")), noon()).await;
    assert_eq!(refused.payment.trial_refused, Some(TrialRefusal::Used));
    assert_eq!(refused.effects, [Effect::TrialRefused { account_id: second, why: TrialRefusal::Used }]);
    assert_eq!(refused.payment.state, PaymentState::Authorized, "the hold is let go by the timetable");
    shop.apply(payment.id, Outcome::Voided, noon() + minutes(1)).await;
    let nobody = shop.account_of(second).await;
    assert_eq!((nobody.status, nobody.has_token), (AccountStatus::Inactive, false), "no access, and no card kept");
    assert_eq!(shop.count(&format!("trial where account_id = '{second}'")).await, 0);
    assert_eq!(shop.told_publicly(second).await, [EventKind::AccountRegistered, EventKind::TrialRefused]);

    // With another card the trial is theirs.
    let tried = shop.tries(second, FOR_NOTHING, 3, card("5555")).await;
    assert_eq!((tried.trial_refused, shop.account_of(second).await.is_on_trial()), (None, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_money_of_a_paid_trial_by_a_used_card_is_nobodys_debt_and_goes_back() {
    let shop = Shop::open().await;
    shop.sells_a_trial(FOR_TEN).await;
    let (first, second) = (shop.account().await, shop.account().await);
    shop.tries(first, FOR_TEN, 1, card("4242")).await;
    let payment = shop.create(trying(second, FOR_TEN)).await.unwrap().payment;
    let refused = shop.charge(payment.id, taken(&payment, 2, card("4242")), noon()).await;
    assert_eq!(refused.payment.state, PaymentState::SucceededDuplicate);
    assert_eq!(
        (refused.payment.trial_refused, refused.payment.bill_status),
        (Some(TrialRefusal::Used), BillStatus::Void)
    );
    assert_eq!(
        refused.effects,
        [
            Effect::RefundOwed { payment_id: payment.id, transaction_id: 2 },
            Effect::TrialRefused { account_id: second, why: TrialRefusal::Used },
        ]
    );
    let nobody = shop.account_of(second).await;
    assert_eq!((nobody.status, nobody.has_token), (AccountStatus::Inactive, false));
    // Told again it is as it was.
    let again = shop.apply(payment.id, taken(&payment, 2, card("4242")), noon() + minutes(1)).await;
    assert_eq!((again.payment.state, again.effects), (PaymentState::SucceededDuplicate, vec![]));
    // What they try next is a new bill.
    let tried = shop.tries(second, FOR_TEN, 3, card("5555")).await;
    assert_eq!((tried.state, shop.account_of(second).await.is_on_trial()), (PaymentState::Succeeded, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_of_two_stages_a_used_card_is_not_charged_at_all() {
    let shop = Shop::open().await;
    shop.sells_a_trial(FOR_TEN).await;
    let (first, second) = (shop.account().await, shop.account().await);
    shop.tries(first, FOR_TEN, 1, card("4242")).await;
    let payment = shop.create(trying(second, FOR_TEN)).await.unwrap().payment;
    let hold = shop.charge(payment.id, held(&payment, 2, card("4242")), noon()).await;
    assert_eq!(
        hold.effects,
        [
            Effect::Held { payment_id: payment.id, transaction_id: 2 },
            Effect::TrialRefused { account_id: second, why: TrialRefusal::Used },
        ]
    );
    let hold = payments::claim_hold(&mut *shop.conn().await, payment.id, noon() + minutes(5), noon()).await.unwrap();
    assert!(!hold.expect("it is to be ended").is_wanted, "it is let go");
    let released = shop.apply(payment.id, Outcome::Voided, noon() + minutes(1)).await.payment;
    assert_eq!((released.state, released.bill_status), (PaymentState::Voided, BillStatus::Void));
    assert_eq!(released.trial_refused, Some(TrialRefusal::Used));

    // A hold for a card that is new is taken, and then the trial begins.
    let payment = shop.create(trying(second, FOR_TEN)).await.unwrap().payment;
    shop.charge(payment.id, held(&payment, 3, card("5555")), noon()).await;
    assert!(!shop.account_of(second).await.is_on_trial(), "not while it is only held");
    shop.apply(payment.id, taken(&payment, 3, card("5555")), noon() + minutes(1)).await;
    assert!(shop.account_of(second).await.is_on_trial());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_accounts_with_one_card_at_once_one_has_the_trial() {
    for (trial, name) in [(FOR_NOTHING, "verified"), (FOR_TEN, "paid")] {
        let shop = Arc::new(Shop::open().await);
        shop.sells_a_trial(trial).await;
        let mut asked = Vec::new();
        for n in 0..8 {
            let payment = shop.create(trying(shop.account().await, trial)).await.unwrap().payment;
            shop.send(payment.id, noon()).await;
            let outcome = match trial.amount {
                Kopecks::ZERO => held(&payment, 100 + n, card("4242")),
                _ => taken(&payment, 100 + n, card("4242")),
            };
            asked.push((payment, outcome));
        }
        let settling = asked.into_iter().map(|(payment, outcome)| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move { shop.apply(payment.id, outcome, noon()).await.payment })
        });
        let mut begun = 0;
        for settled in futures_util::future::join_all(settling).await {
            let payment = settled.unwrap();
            let has_trial = shop.account_of(payment.account_id).await.is_on_trial();
            assert_eq!(payment.trial_refused.is_none(), has_trial, "{name}: refused, or on trial");
            begun += usize::from(has_trial);
        }
        assert_eq!(begun, 1, "{name}");
        assert_eq!(shop.count("trial").await, 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_of_one_account_at_once_one_is_made() {
    let shop = Arc::new(Shop::open().await);
    let account = shop.account().await;
    let asking = (0..8).map(|n| {
        let shop = Arc::clone(&shop);
        let new = if n % 2 == 0 { trying(account, FOR_NOTHING) } else { purchase(account) };
        tokio::spawn(async move { shop.create(new).await })
    });
    let mut made = 0;
    for asked in futures_util::future::join_all(asking).await {
        match asked.unwrap() {
            Ok(_) => made += 1,
            Err(CreateError::PaymentInProgress { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((made, shop.count("payment where is_success is null").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_is_declined_can_be_tried_with_another_card() {
    for trial in [FOR_NOTHING, FOR_A_ROUBLE] {
        let shop = Shop::open().await;
        shop.sells_a_trial(trial).await;
        let account = shop.account().await;
        let payment = shop.create(trying(account, trial)).await.unwrap().payment;
        let declined = shop.charge(payment.id, refused(5051), noon()).await.payment;
        assert_eq!((declined.state, declined.trial_refused), (PaymentState::Declined, None));
        assert_eq!(shop.count("trial").await, 0, "nothing is used up by it");
        shop.tries(account, trial, 2, card("5555")).await;
        assert!(shop.account_of(account).await.is_on_trial());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_buys_instead_has_left_the_bank_page_of_the_trial_and_the_other_way_round() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let left = shop.create(trying(account, FOR_NOTHING)).await.unwrap().payment;
    shop.charge(left.id, page(), noon()).await;
    let bought = shop.create(purchase(account)).await.unwrap().payment;
    assert_eq!(shop.state(left.id).await, PaymentState::Abandoned);
    let in_progress = shop.create(trying(account, FOR_NOTHING)).await.unwrap_err();
    assert!(matches!(in_progress, CreateError::PaymentInProgress { payment_id } if payment_id == bought.id));
    shop.charge(bought.id, took(&bought, 2), noon()).await;
    // The page was answered all the same: the card is good, but they have bought.
    let late = shop.apply(left.id, held(&left, TRANSACTION, card("4242")), noon() + minutes(5)).await.payment;
    assert_eq!(late.trial_refused, Some(TrialRefusal::Late));
    let paid = shop.account_of(account).await;
    assert!(!paid.is_on_trial() && paid.trial_period_no.is_none());
    assert_eq!(paid.paid_until, Some(at("2026-04-10T09:00:00Z")), "nothing was added");

    let other = shop.account().await;
    let declined = shop.create(purchase(other)).await.unwrap().payment;
    shop.charge(declined.id, refused(5051), noon()).await;
    let tried = shop.tries(other, FOR_NOTHING, 4, card("5555")).await;
    assert_eq!(tried.trial_refused, None);
    assert_eq!(shop.view(declined.id).await.bill_status, BillStatus::Void, "the purchase is not owed any more");
    let renewal = shop.view(shop.open_due(at(TRIAL_ENDS) - hours(1)).await[0]).await;
    assert_eq!((renewal.account_id, renewal.kind), (other, BillKind::Renewal));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_was_given_up_does_not_begin_behind_the_customers_back() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let left = shop.create(trying(account, FOR_NOTHING)).await.unwrap().payment;
    shop.charge(left.id, page(), noon()).await;
    shop.apply(left.id, Outcome::Expired, noon() + minutes(31)).await;
    let late = shop.apply(left.id, held(&left, TRANSACTION, card("4242")), noon() + hours(3)).await.payment;
    assert_eq!(late.trial_refused, Some(TrialRefusal::Late));
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Inactive);
    assert_eq!(shop.count("trial").await, 0, "and it can be tried still");
    shop.tries(account, FOR_NOTHING, 5, card("4242")).await;
    assert!(shop.account_of(account).await.is_on_trial());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_cannot_be_charged_later_gets_no_trial_for_nothing() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let payment = shop.create(trying(account, FOR_NOTHING)).await.unwrap().payment;
    let without = match held(&payment, 1, card("4242")) {
        Outcome::Authorized { transaction_id, amount, currency, card, .. } => {
            Outcome::Authorized { transaction_id, token: None, amount, currency, card }
        }
        other => other,
    };
    let refused = shop.charge(payment.id, without, noon()).await.payment;
    assert_eq!(refused.trial_refused, Some(TrialRefusal::NotKept));
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Inactive);
    shop.tries(account, FOR_NOTHING, 2, card("4242")).await;
    assert!(shop.account_of(account).await.is_on_trial(), "the card is not used up by it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_id_of_a_card_tells_two_that_look_alike_apart() {
    let shop = Shop::open().await;
    let known = |id: &str| CardMask { fingerprint: Some(id.into()), ..card("4242") };
    for (n, (id, begins)) in [("a", true), ("b", true), ("a", false)].into_iter().enumerate() {
        let account = shop.account().await;
        shop.tries(account, FOR_NOTHING, 10 + n as i64, known(id)).await;
        assert_eq!(shop.account_of(account).await.is_on_trial(), begins, "{n}: {id}");
    }
    // A card of which nothing is told is counted by its account.
    let account = shop.account().await;
    shop.tries(account, FOR_NOTHING, 20, CardMask::default()).await;
    assert!(shop.account_of(account).await.is_on_trial());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_card_only_a_hash_is_stored_that_outlives_the_keys() {
    let mut shop = Shop::open().await;
    shop.tries(shop.account().await, FOR_NOTHING, 1, card("4242")).await;
    let stored = shop.text("select encode(card_hash, 'hex') from trial").await.unwrap();
    assert_eq!(stored.len(), 64);
    // Another key seals from now on.
    let keys = format!("new:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=,{}", crate::shop::KEYS);
    shop.cipher = billing::cipher::Cipher::from_keys(&keys.as_str().into()).unwrap();
    let again = shop.tries(shop.account().await, FOR_NOTHING, 2, card("4242")).await;
    assert_eq!(again.trial_refused, Some(TrialRefusal::Used));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cancels_within_the_trial_is_never_charged() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    shop.tries(account, FOR_NOTHING, 1, card("4242")).await;
    let cancel = asked(account, noon() + hours(1));
    subscriptions::perform(&mut *shop.conn().await, &cancel, Verb::Cancel).await.unwrap();
    let cancelled = shop.account_of(account).await;
    assert_eq!(cancelled.access_until, Some(at(TRIAL_ENDS)), "access until the end of the trial");
    assert_eq!(shop.open_due(at(TRIAL_ENDS)).await, []);
    shop.close(at(TRIAL_ENDS)).await;
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Canceled);
    assert_eq!(shop.count("bill where kind <> 'verification'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_first_charge_is_tried_and_ends_like_any_renewal() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    shop.tries(account, FOR_NOTHING, 1, card("4242")).await;
    let due = at(TRIAL_ENDS) - hours(1);
    let renewal = shop.open_due(due).await[0];
    shop.charge(renewal, refused(5051), due).await;
    let overdue = shop.account_of(account).await;
    assert_eq!((overdue.status, overdue.declines), (AccountStatus::Overdue, 1));
    assert_eq!(overdue.access_until, Some(at(TRIAL_ENDS) + Duration::days(7)), "the week of grace");
    shop.close(at(TRIAL_ENDS) + Duration::days(7)).await;
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Canceled);
    assert_eq!(shop.view(renewal).await.bill_status, BillStatus::Uncollectible);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tariff_may_be_chosen_within_the_trial() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    shop.tries(account, FOR_NOTHING, 1, card("4242")).await;
    let mut conn = shop.conn().await;
    let preview = subscriptions::preview_change(&mut conn, account, year(), noon() + hours(1)).await.unwrap();
    let next = shop.account_of(account).await.next_charge_at.map(|at| (at, Kopecks::new(299_000), Currency::RUB));
    assert_eq!(preview.next, next, "the first full charge is of the chosen tariff");
    assert_eq!(preview.at_once.unwrap(), (Kopecks::new(299_000), Currency::RUB), "nothing was paid for the trial");

    let request = asked(account, noon() + hours(1));
    let same = subscriptions::change_tariff_at_once(&mut conn, &request, month(), Kopecks::new(39_900)).await;
    assert!(
        matches!(same.unwrap_err(), VerbError::SameTariff),
        "the tariff that is tried begins at the end of its trial"
    );
    let request = asked(account, noon() + hours(1));
    subscriptions::change_tariff(&mut conn, &request, year()).await.unwrap();
    drop(conn);
    let renewal = shop.view(shop.open_due(at(TRIAL_ENDS) - hours(1)).await[0]).await;
    assert_eq!((renewal.tariff_id, renewal.amount), (year(), Kopecks::new(299_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tariff_that_is_bought_within_a_paid_trial_counts_what_is_left_of_it() {
    let shop = Shop::open().await;
    shop.sells_a_trial(Trial { amount: Kopecks::new(7_000), ..FOR_TEN }).await;
    let account = shop.account().await;
    let trial = Trial { amount: Kopecks::new(7_000), ..FOR_TEN };
    shop.tries(account, trial, 1, card("4242")).await;
    let mut conn = shop.conn().await;
    // Two of seven days are over: five times ten roubles are left.
    let now = noon() + Duration::days(2);
    let (amount, _) = subscriptions::preview_change(&mut conn, account, year(), now).await.unwrap().at_once.unwrap();
    assert_eq!(amount, Kopecks::new(299_000 - 5_000));
    let request = asked(account, now);
    let changing = subscriptions::change_tariff_at_once(&mut conn, &request, year(), amount).await.unwrap();
    drop(conn);
    let (change, _) = changing.subscription.open.unwrap().payment.unwrap();
    shop.charge(change.id, took(&change, 2), now).await;
    let bought = shop.account_of(account).await;
    assert!(!bought.is_on_trial());
    assert_eq!((bought.tariff_id, bought.paid_until), (Some(year()), Some(at("2027-03-12T09:00:00Z"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_gets_no_trial_by_what_was_under_way() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let payment = shop.create(trying(account, FOR_NOTHING)).await.unwrap().payment;
    shop.send(payment.id, noon()).await;
    subscriptions::close(&mut *shop.conn().await, &asked(account, noon()), false).await.unwrap();
    let late = shop.apply(payment.id, held(&payment, 1, card("4242")), noon() + minutes(1)).await.payment;
    assert_eq!(late.trial_refused, Some(TrialRefusal::Late));
    assert_eq!((shop.count("trial").await, shop.account_of(account).await.status), (0, AccountStatus::Inactive));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_one_trial_and_never_another_purchase() {
    let shop = Shop::open().await;
    let account = charged_early();
    shop.known(account).await;
    let new = trying(account, FOR_NOTHING);
    let first = shop.create(new.clone()).await.unwrap();
    let again = shop.create(new.clone()).await.unwrap();
    assert_eq!((again.replayed, again.payment.id), (true, first.payment.id));
    let conflict = shop.create(NewPayment { trial: None, ..new }).await.unwrap_err();
    assert!(matches!(conflict, CreateError::IdempotencyConflict), "{conflict:?}");
    // It is not sent when the customer subscribes otherwise before.
    let sent = shop.begin(first.payment.id, noon()).await;
    assert!(matches!(sent, Begin::Send(_)));
}
