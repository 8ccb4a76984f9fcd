//! Every state has its reason in both languages, and a next step, a person whose turn it is, or an end.

use billing::account::{Account, AccountStatus};
use billing::bill::{BillKind, BillStatus, TrialRefusal};
use billing::explain::{self, Explanation, Next, PaymentFacts, Text, UnderWay, When, Whom};
use billing::payment::{Instrument, Payment, PaymentState};
use billing::resolve::ResolvePolicy;
use billing::{AccountId, TariffId};
use chrono_tz::Tz;

use crate::support::{hours, minutes, noon, sample};

fn explained(payment: &Payment) -> Explanation {
    let facts = PaymentFacts {
        payment,
        policy: &ResolvePolicy::default(),
        answer_within: minutes(2),
        zone: Tz::Europe__Moscow,
    };
    explain::payment(facts, noon())
}

fn is_told(text: &Text) {
    let cyrillic = |c: char| matches!(c, 'а'..='я' | 'А'..='Я' | 'ё' | 'Ё');
    assert!(text.en.chars().any(|c| c.is_ascii_alphabetic()), "{text:?}");
    assert!(text.ru.chars().any(cyrillic), "{text:?}");
    assert!(!text.en.chars().any(cyrillic), "{text:?}");
}

fn is_whole(explanation: &Explanation, is_over: bool) {
    is_told(&explanation.why);
    match &explanation.next {
        Next::Step { what, .. } | Next::WaitsFor { what, .. } => {
            is_told(what);
            assert!(!is_over, "{explanation:?}");
        }
        Next::Nothing => assert!(is_over, "{explanation:?}"),
    }
}

#[test]
fn every_state_of_a_payment_has_its_reason_and_what_comes_next() {
    for state in PaymentState::ALL {
        for (instrument, verifies) in
            [(Instrument::Cryptogram, false), (Instrument::Cryptogram, true), (Instrument::Token, false)]
        {
            let payment = Payment { instrument, verifies, ..sample::payment(*state) };
            let waits_for_staff = matches!(state, PaymentState::SucceededDuplicate | PaymentState::Rejected);
            is_whole(&explained(&payment), !state.is_live() && !waits_for_staff);
            for why in TrialRefusal::ALL {
                let refused = explained(&Payment { trial_refused: Some(*why), ..payment.clone() });
                is_whole(&refused, !state.is_live() && !waits_for_staff);
                let is_told_of = matches!(
                    state,
                    PaymentState::Authorized
                        | PaymentState::Verified
                        | PaymentState::Voided
                        | PaymentState::SucceededDuplicate
                );
                assert_eq!(refused.why.en.starts_with("No trial begins: "), is_told_of, "{state}");
            }
        }
    }
}

#[test]
fn every_status_of_a_bill_has_its_reason_and_what_comes_next() {
    let attempt = explained(&sample::payment(PaymentState::Sending));
    for kind in BillKind::ALL {
        for status in BillStatus::ALL {
            is_whole(&explain::bill(*status, *kind, None, None), !status.is_open());
            is_whole(&explain::bill(*status, *kind, Some(&attempt), None), !status.is_open());
        }
        let in_work = explain::bill(BillStatus::InWork, *kind, Some(&attempt), None);
        assert_eq!(in_work.next, attempt.next, "as its payment says");
    }
}

#[test]
fn every_status_of_a_subscription_has_its_reason_and_what_comes_next() {
    let attempt = explained(&sample::payment(PaymentState::Unknown));
    for status in AccountStatus::ALL {
        for (has_token, cancel_at_period_end, declines) in
            [(true, false, 0), (false, false, 0), (true, true, 0), (true, false, 2), (false, false, 1)]
        {
            for next_charge_at in [None, Some(noon() - hours(1)), Some(noon() + hours(1))] {
                let account = Account {
                    status: *status,
                    has_token,
                    cancel_at_period_end,
                    declines,
                    next_charge_at,
                    paid_until: Some(noon() + hours(2)),
                    access_until: Some(noon() + hours(3)),
                    ..Account::registered(AccountId::new(), Tz::Europe__Moscow)
                };
                is_whole(&explain::account(&account, None, None, noon()), false);
                let tried = Account { trial_period_no: Some(account.period_no), ..account.clone() };
                let told = explain::account(&tried, None, None, noon());
                is_whole(&told, false);
                let is_told_of = *status == AccountStatus::Active || *status == AccountStatus::Overdue && declines > 0;
                assert_eq!(told != explain::account(&account, None, None, noon()), is_told_of, "the trial is told");
                let chosen = Account { pending_tariff_id: Some(TariffId::new()), ..account.clone() };
                let explained = explain::account(&chosen, None, None, noon());
                is_whole(&explained, false);
                let goes_on =
                    *status == AccountStatus::Overdue || *status == AccountStatus::Active && !cancel_at_period_end;
                assert_eq!(explained != explain::account(&account, None, None, noon()), goes_on, "the choice is told");
                let renewal = UnderWay { kind: BillKind::Renewal, payment: &attempt };
                is_whole(&explain::account(&account, Some(renewal), None, noon()), false);
                let change = UnderWay { kind: BillKind::Change, payment: &attempt };
                let changing = explain::account(&account, Some(change), None, noon());
                is_whole(&changing, false);
                if account.is_running() {
                    is_a_change_that_ends_as_its_payment(&changing, &attempt);
                }
                // Nothing happens to a closed one but the end of its access.
                let closed = Account { closed_at: Some(noon() - hours(1)), ..account };
                is_whole(&explain::account(&closed, None, None, noon()), !closed.is_running());
            }
        }
    }
}

/// It is told that another tariff is being charged, when its payment is turned to, and what comes of it either way.
fn is_a_change_that_ends_as_its_payment(changing: &Explanation, payment: &Explanation) {
    assert!(changing.why.en.contains("Another tariff, from now on") && changing.why.ru.contains("другой тариф"));
    assert!(!changing.why.en.contains("next period is being charged"), "{changing:?}");
    let (Next::Step { at, what }, Next::Step { at: due, what: step }) = (&changing.next, &payment.next) else {
        panic!("{changing:?}")
    };
    assert_eq!(at, due);
    assert!(what.en.starts_with(&step.en) && what.ru.starts_with(&step.ru), "{what:?}");
    assert!(what.en.contains("the present one stays") && what.ru.contains("останется нынешний тариф"), "{what:?}");
}

#[test]
fn the_times_that_are_told_are_those_of_the_row() {
    let look = noon() + minutes(7);
    let payment = Payment { look_again_at: Some(look), ..sample::payment(PaymentState::Unknown) };
    assert!(matches!(explained(&payment).next, Next::Step { at: When::At(at), .. } if at == look));
    let lost = Payment { look_again_at: None, ..payment };
    assert!(matches!(explained(&lost).next, Next::WaitsFor { whom: Whom::Staff, .. }), "nobody looks by itself");

    let charge = noon() + hours(5);
    let account = Account {
        status: AccountStatus::Active,
        has_token: true,
        next_charge_at: Some(charge),
        paid_until: Some(charge + hours(1)),
        ..Account::registered(AccountId::new(), Tz::Europe__Moscow)
    };
    assert!(
        matches!(explain::account(&account, None, None, noon()).next, Next::Step { at: When::At(at), .. } if at == charge)
    );
    let without_card = Account { has_token: false, ..account };
    assert!(matches!(
        explain::account(&without_card, None, None, noon()).next,
        Next::WaitsFor { whom: Whom::Customer, .. }
    ));
}
