//! The life of a subscription.

use billing::account::{Account, AccountEvent, AccountStatus, DOUBT, KeptCard, NextPeriod, renewal_at};
use billing::bill::BillKind;
use billing::decline::{DeclineGroup, GRACE, RetryTerms};
use billing::payment::{Instrument, Payment, PaymentState};
use billing::period::Period;
use billing::{AccountId, TariffId};
use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;

use crate::support::sample::payment;
use crate::support::{at, hours, minutes, noon};

fn month() -> Period {
    Period::months(1).unwrap()
}

fn day() -> Period {
    Period::days(1).unwrap()
}

fn tariff() -> TariffId {
    uuid::Uuid::from_u128(1).into()
}

fn new() -> Account {
    Account::registered(AccountId::new(), Tz::Europe__Moscow)
}

fn paid(kind: BillKind, period: Period, period_no: i32) -> AccountEvent {
    AccountEvent::Paid { kind, tariff_id: tariff(), period, period_no, card: KeptCard::New }
}

fn subscribed(period: Period, now: DateTime<Utc>) -> Account {
    new().apply(paid(BillKind::Primary, period, 1), now).unwrap()
}

/// The renewal after the first period was refused.
fn refused(group: DeclineGroup) -> AccountEvent {
    AccountEvent::RenewalRefused { period_no: 2, terms: RetryTerms::seeded(group), retry_after: None }
}

#[test]
fn the_first_purchase_begins_the_term() {
    let account = subscribed(month(), at("2026-01-31T09:00:00Z"));
    assert_eq!(account.status, AccountStatus::Active);
    assert_eq!((account.period_no, account.has_token), (1, true));
    assert_eq!(account.paid_until, Some(at("2026-02-28T09:00:00Z")));
    assert_eq!(account.expires_on().unwrap().to_string(), "2026-02-28");
    let window = renewal_at(account.id, at("2026-01-31T09:00:00Z"), at("2026-02-28T09:00:00Z"));
    assert_eq!(account.next_charge_at, Some(window));
}

#[test]
fn renewals_count_from_the_anchor_and_do_not_drift() {
    let mut account = subscribed(month(), at("2026-01-31T09:00:00Z"));
    let mut ends = Vec::new();
    for no in 2..=5 {
        let now = account.paid_until.unwrap() - hours(6);
        account = account.apply(AccountEvent::RenewalOpened, now).unwrap();
        assert_eq!(account.next_charge_at, None, "it is being charged");
        account = account.apply(paid(BillKind::Renewal, month(), no), now).unwrap();
        ends.push(account.expires_on().unwrap().to_string());
    }
    assert_eq!(ends, ["2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30"]);
    assert_eq!(account.period_no, 5);
}

/// The first full charge is a renewal like any other: it begins where the trial ends, and later ones count from the anchor.
#[test]
fn a_trial_is_followed_by_periods_of_the_tariff() {
    let days = Period::days(7).unwrap();
    let begun = AccountEvent::TrialBegun { tariff_id: tariff(), period: days, period_no: 1, card: KeptCard::New };
    let mut account = new().apply(begun, at("2026-01-24T09:00:00Z")).unwrap();
    assert_eq!((account.status, account.trial_period_no), (AccountStatus::Active, Some(1)));
    assert!(account.is_on_trial() && account.has_token && account.renews());
    let mut ends = vec![account.paid_until.unwrap().to_rfc3339()];
    for no in 2..=4 {
        let now = account.paid_until.unwrap() - hours(6);
        account = account.apply(AccountEvent::RenewalOpened, now).unwrap();
        account = account.apply(paid(BillKind::Renewal, month(), no), now).unwrap();
        assert!(!account.is_on_trial());
        ends.push(account.paid_until.unwrap().to_rfc3339());
    }
    let noons = ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"].map(|day| format!("{day}T09:00:00+00:00"));
    assert_eq!(ends, noons);
    assert_eq!(account.trial_period_no, Some(1), "it is not had again");
}

#[test]
fn access_lasts_as_long_as_is_paid_and_a_doubt_longer() {
    let account = subscribed(month(), noon());
    let end = account.paid_until.unwrap();
    let has = |account: &Account, now| account.access(now).has_access;
    assert!(has(&account, noon()) && has(&account, end) && has(&account, end + DOUBT - minutes(1)));
    assert!(!has(&account, end + DOUBT));
    assert!(!new().access(noon()).has_access);
    assert_eq!(new().access(noon()).tariff_id, None);
    assert_eq!(account.access(noon()).tariff_id, Some(tariff()));
}

#[test]
fn a_soft_refusal_costs_no_access_during_the_week_of_grace() {
    let account = subscribed(month(), noon());
    let end = account.paid_until.unwrap();
    let opened = account.apply(AccountEvent::RenewalOpened, end - hours(6)).unwrap();
    let overdue = opened.apply(refused(DeclineGroup::Soft), end - hours(6)).unwrap();
    assert_eq!(overdue.status, AccountStatus::Overdue);
    assert_eq!(overdue.next_charge_at, Some(end - hours(6) + hours(29)));
    assert!(overdue.access(end + GRACE - minutes(1)).has_access);
    assert!(!overdue.access(end + GRACE).has_access);

    let tried = overdue.apply(AccountEvent::RenewalOpened, end + hours(23)).unwrap();
    let again = tried.apply(refused(DeclineGroup::Soft), end + hours(23)).unwrap();
    assert_eq!(again.access_until, Some(end + GRACE), "grace is not prolonged by another try");
    assert_eq!(again.declines, 2);

    let renewed = again.apply(paid(BillKind::Renewal, month(), 2), end + hours(72)).unwrap();
    assert_eq!((renewed.status, renewed.declines, renewed.first_declined_at), (AccountStatus::Active, 0, None));
    assert_eq!(renewed.paid_until, Some(at("2026-05-10T09:00:00Z")), "the anchor is kept");
}

#[test]
fn a_hard_refusal_is_not_tried_again() {
    for group in [DeclineGroup::Hard, DeclineGroup::CustomerAction] {
        let opened = subscribed(month(), noon()).apply(AccountEvent::RenewalOpened, noon()).unwrap();
        let overdue = opened.apply(refused(group), noon()).unwrap();
        assert_eq!((overdue.status, overdue.next_charge_at), (AccountStatus::Overdue, None));
        assert!(overdue.access(noon()).has_access);
    }
}

#[test]
fn an_account_without_a_card_goes_overdue_when_it_is_due() {
    let forgotten = subscribed(month(), noon()).apply(AccountEvent::CardForgotten, noon()).unwrap();
    assert!(!forgotten.has_token);
    let overdue = forgotten.apply(AccountEvent::NoCard, noon()).unwrap();
    assert_eq!((overdue.status, overdue.next_charge_at), (AccountStatus::Overdue, None));
}

#[test]
fn our_own_failure_is_tried_again_and_punishes_nobody() {
    let opened = subscribed(month(), noon()).apply(AccountEvent::RenewalOpened, noon()).unwrap();
    let after = opened.apply(AccountEvent::RenewalNotCharged { period_no: 2 }, noon()).unwrap();
    assert_eq!((after.status, after.declines), (AccountStatus::Active, 0));
    assert_eq!(after.next_charge_at, Some(noon() + hours(1)));
}

#[test]
fn grace_ends_in_cancellation() {
    let opened = subscribed(month(), noon()).apply(AccountEvent::RenewalOpened, noon()).unwrap();
    let overdue = opened.apply(refused(DeclineGroup::Hard), noon()).unwrap();
    let end = overdue.access_until.unwrap();
    assert!(overdue.clone().apply(AccountEvent::AccessRanOut, end - minutes(1)).is_err());
    let canceled = overdue.apply(AccountEvent::AccessRanOut, end).unwrap();
    assert_eq!(canceled.status, AccountStatus::Canceled);
    assert!(!canceled.access(end).has_access);
}

#[test]
fn doubt_about_a_renewal_makes_overdue_only_after_48_hours() {
    let account = subscribed(month(), noon());
    let end = account.paid_until.unwrap();
    let opened = account.apply(AccountEvent::RenewalOpened, end).unwrap();
    assert!(opened.clone().apply(AccountEvent::AccessRanOut, end + hours(47)).is_err());
    let overdue = opened.apply(AccountEvent::AccessRanOut, end + hours(48)).unwrap();
    assert_eq!(overdue.status, AccountStatus::Overdue);
    assert!(overdue.access(end + hours(49)).has_access);
    assert!(!overdue.access(end + GRACE).has_access);
}

#[test]
fn an_account_nobody_has_tried_to_charge_is_not_closed() {
    let account = subscribed(month(), noon());
    let long_after = noon() + Duration::days(90);
    assert!(account.apply(AccountEvent::AccessRanOut, long_after).is_err(), "the timetable was down: charge first");
}

#[test]
fn after_an_outage_only_the_present_period_is_charged() {
    let account = subscribed(month(), at("2026-01-31T09:00:00Z"));
    let next = account.next_period(month(), at("2026-05-10T00:00:00Z")).unwrap();
    assert_eq!(next, NextPeriod { no: 4, ends_at: at("2026-05-31T09:00:00Z"), skipped: 2 });
    let now = at("2026-05-10T00:00:00Z");
    let opened = account.apply(AccountEvent::RenewalOpened, now).unwrap();
    assert!(opened.access(now).has_access, "access is back while it is charged");
    let renewed = opened.apply(paid(BillKind::Renewal, month(), 4), now).unwrap();
    assert_eq!((renewed.period_no, renewed.expires_on().unwrap().to_string()), (4, "2026-05-31".to_owned()));
}

#[test]
fn a_day_that_is_due_before_it_ends_renews_the_next_day() {
    let account = subscribed(day(), noon());
    let next = account.next_period(day(), noon()).unwrap();
    assert_eq!((next.no, next.skipped), (2, 0));
    let renewed = account.apply(paid(BillKind::Renewal, day(), 2), noon()).unwrap();
    assert_eq!(renewed.paid_until, Some(noon() + hours(48)));
}

#[test]
fn who_buys_a_day_in_the_evening_is_not_charged_again_the_same_evening() {
    for _ in 0..200 {
        let evening = subscribed(day(), at("2026-03-10T17:00:00Z"));
        let due = evening.next_charge_at.unwrap();
        assert!(at("2026-03-11T05:00:00Z") <= due && due < at("2026-03-11T17:00:00Z"), "{due}");
    }
}

#[test]
fn a_tariff_of_another_length_goes_on_where_the_paid_time_ends() {
    let account = subscribed(month(), at("2026-01-31T09:00:00Z"));
    let renewed = account.apply(paid(BillKind::Renewal, day(), 2), at("2026-02-28T00:00:00Z")).unwrap();
    assert_eq!(renewed.paid_until, Some(at("2026-03-01T09:00:00Z")));
    let next = renewed.next_period(day(), at("2026-03-01T09:00:00Z")).unwrap();
    assert_eq!((next.no, next.ends_at), (3, at("2026-03-02T09:00:00Z")));
}

#[test]
fn who_returns_begins_a_new_term_in_the_same_series() {
    let opened = subscribed(month(), noon()).apply(AccountEvent::RenewalOpened, noon()).unwrap();
    let overdue = opened.apply(refused(DeclineGroup::Hard), noon()).unwrap();
    let end = overdue.access_until.unwrap();
    let canceled = overdue.apply(AccountEvent::AccessRanOut, end).unwrap();
    let later = at("2026-08-31T12:00:00Z");
    let back = canceled.apply(paid(BillKind::Primary, month(), 3), later).unwrap();
    assert_eq!((back.status, back.period_no), (AccountStatus::Active, 3));
    assert_eq!(back.paid_until, Some(at("2026-09-30T12:00:00Z")));
    let next = back.next_period(month(), later).unwrap();
    assert_eq!((next.no, next.ends_at), (4, at("2026-10-31T12:00:00Z")));
}

#[test]
fn paid_time_is_never_taken_away() {
    let account = subscribed(month(), noon());
    let end = account.paid_until.unwrap();
    // A first purchase believed dead succeeds as well, or another tariff is bought while grace still runs.
    let longer = account.clone().apply(paid(BillKind::Primary, day(), 2), noon() + hours(1)).unwrap();
    assert_eq!(longer.paid_until, Some(end + hours(24)));
    // A renewal that was given up succeeds after its period was paid otherwise.
    let late = account.apply(paid(BillKind::Renewal, month(), 1), noon() + hours(1)).unwrap();
    assert_eq!((late.period_no, late.paid_until), (2, Some(at("2026-05-10T09:00:00Z"))));
}

#[test]
fn a_subscription_called_off_ends_with_its_paid_time() {
    let account = subscribed(month(), noon());
    let end = account.paid_until.unwrap();
    let called_off = account.apply(AccountEvent::CancelRequested, noon()).unwrap();
    assert_eq!((called_off.status, called_off.next_charge_at), (AccountStatus::Active, None));
    assert!(called_off.access(end - minutes(1)).has_access && !called_off.access(end).has_access);

    let resumed = called_off.clone().apply(AccountEvent::Resumed, noon()).unwrap();
    assert_eq!(resumed, subscribed_like(&resumed), "as if nothing had been");
    assert!(resumed.apply(AccountEvent::Resumed, noon()).is_err());

    assert_eq!(called_off.apply(AccountEvent::AccessRanOut, end).unwrap().status, AccountStatus::Canceled);
}

fn subscribed_like(account: &Account) -> Account {
    Account::registered(account.id, Tz::Europe__Moscow).apply(paid(BillKind::Primary, month(), 1), noon()).unwrap()
}

#[test]
fn a_renewal_under_way_when_it_is_called_off_pays_its_period_and_no_further() {
    let opened = subscribed(month(), noon()).apply(AccountEvent::RenewalOpened, noon()).unwrap();
    let called_off = opened.apply(AccountEvent::CancelRequested, noon()).unwrap();
    let paid = called_off.clone().apply(paid(BillKind::Renewal, month(), 2), noon()).unwrap();
    assert_eq!((paid.next_charge_at, paid.cancel_at_period_end), (None, true));
    assert_eq!(paid.access_until, paid.paid_until);
    let refused = called_off.clone().apply(refused(DeclineGroup::Soft), noon()).unwrap();
    assert_eq!(refused, called_off, "no dunning for a period nobody wants");
}

#[test]
fn news_of_a_period_that_is_paid_otherwise_change_nothing() {
    let opened = subscribed(month(), noon()).apply(AccountEvent::RenewalOpened, noon()).unwrap();
    let renewed = opened.apply(paid(BillKind::Renewal, month(), 2), noon()).unwrap();
    for late in [refused(DeclineGroup::Hard), AccountEvent::RenewalNotCharged { period_no: 2 }] {
        assert_eq!(renewed.clone().apply(late, noon()), Ok(renewed.clone()), "{late:?}");
    }
}

#[test]
fn nothing_can_be_renewed_that_does_not_run() {
    for event in
        [AccountEvent::RenewalOpened, AccountEvent::NoCard, AccountEvent::CancelRequested, AccountEvent::Resumed]
    {
        assert!(new().apply(event, noon()).is_err(), "{event:?}");
    }
    assert!(new().next_period(month(), noon()).is_err());
    // News of a charge that was under way when the account was closed are no error.
    assert_eq!(new().apply(refused(DeclineGroup::Soft), noon()).map(|a| a.status), Ok(AccountStatus::Inactive));
}

#[test]
fn only_a_charge_without_the_customer_says_anything_about_the_kept_card() {
    let typed = payment(PaymentState::Declined);
    assert_eq!(AccountEvent::of_failure(PaymentState::Sending, &typed, None, 2, true), None);
    let by_token = |state| Payment { instrument: Instrument::Token, ..payment(state) };
    let event = |state| AccountEvent::of_failure(PaymentState::Sending, &by_token(state), None, 2, true);
    for state in [PaymentState::Rejected, PaymentState::NotExecuted, PaymentState::Voided] {
        assert_eq!(event(state), Some(AccountEvent::RenewalNotCharged { period_no: 2 }));
    }
    assert_eq!(event(PaymentState::Abandoned), Some(refused(DeclineGroup::CustomerAction)));
    assert_eq!(event(PaymentState::Unknown), None);
    assert_eq!(
        AccountEvent::of_failure(PaymentState::Declined, &by_token(PaymentState::Declined), None, 2, true),
        None
    );
}

#[test]
fn what_a_card_is_refused_that_is_not_kept_any_more_says_nothing_of_the_one_that_is() {
    let declined = Payment { instrument: Instrument::Token, ..payment(PaymentState::Declined) };
    let event = AccountEvent::of_failure(PaymentState::Unknown, &declined, None, 2, false).unwrap();
    assert_eq!(event, AccountEvent::ReplacedCardRefused { period_no: 2 });
    let now = noon() + Duration::days(31);
    let charged = subscribed(month(), noon()).apply(AccountEvent::RenewalOpened, now).unwrap();
    let after = charged.clone().apply(event, now).unwrap();
    assert_eq!((after.status, after.declines, after.card_barred), (AccountStatus::Overdue, 1, false));
    assert_eq!(after.next_charge_at, Some(now + hours(24)));
    let without_card = Account { has_token: false, ..charged }.apply(event, now).unwrap();
    assert_eq!((without_card.status, without_card.next_charge_at), (AccountStatus::Overdue, None));
}

#[test]
fn a_replaced_card_lifts_what_was_refused_for_good_and_leaves_what_is_planned() {
    let now = noon() + Duration::days(31);
    let opened = subscribed(month(), noon()).apply(AccountEvent::RenewalOpened, now).unwrap();
    let replaced = |card, debt_waits| AccountEvent::CardReplaced { card, debt_waits };
    for (group, planned) in [(DeclineGroup::Hard, false), (DeclineGroup::Soft, true)] {
        let overdue = opened.clone().apply(refused(group), now).unwrap();
        assert_eq!(overdue.next_charge_at.is_some(), planned);
        let after = overdue.clone().apply(replaced(KeptCard::New, true), now).unwrap();
        assert!(after.can_be_charged());
        assert_eq!(after.next_charge_at, overdue.next_charge_at.or(Some(now + hours(24))), "{group}");
        assert_eq!(after.access_until, overdue.access_until, "access does not grow by it");
        let being_charged = overdue.clone().apply(replaced(KeptCard::New, false), now).unwrap();
        assert_eq!(being_charged.next_charge_at, overdue.next_charge_at, "{group}: nothing waits");
        let none = overdue.clone().apply(replaced(KeptCard::None, true), now).unwrap();
        assert_eq!((none.can_be_charged(), none.next_charge_at), (false, overdue.next_charge_at));
        let late = overdue.access_until.unwrap() - hours(1);
        let last = overdue.apply(replaced(KeptCard::New, true), late).unwrap();
        assert_eq!(last.next_charge_at.is_some(), planned, "never after the grace");
    }
}
