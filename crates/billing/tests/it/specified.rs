//! The two tables that say how a subscription lives, row by row: what moves it, and when a refusal is tried again.

use billing::account::{Account, AccountEvent, AccountStatus, DOUBT, KeptCard, WINDOW};
use billing::bill::BillKind;
use billing::decline::{DeclineGroup, GRACE, RetryTerms, Ruling};
use billing::period::Period;
use billing::{AccountId, TariffId};
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

use crate::support::{at, hours, minutes, noon};

use AccountStatus::{Active, Canceled, Inactive, Overdue};

fn tariff() -> TariffId {
    uuid::Uuid::from_u128(1).into()
}

fn paid(kind: BillKind, period_no: i32) -> AccountEvent {
    let period = Period::months(1).unwrap();
    AccountEvent::Paid { kind, tariff_id: tariff(), period, period_no, card: KeptCard::New }
}

fn refused(group: DeclineGroup) -> AccountEvent {
    AccountEvent::RenewalRefused { period_no: 2, terms: RetryTerms::seeded(group), retry_after: None }
}

/// Where the month that is paid at noon on 10 March ends.
fn end() -> DateTime<Utc> {
    at("2026-04-10T09:00:00Z")
}

fn new() -> Account {
    Account::registered(AccountId::new(), Tz::Europe__Moscow)
}

/// A subscription after these events.
fn after(events: &[(AccountEvent, DateTime<Utc>)]) -> Account {
    events.iter().fold(new(), |account, (event, now)| {
        account.apply(*event, *now).unwrap_or_else(|error| panic!("{event:?} at {now}: {error}"))
    })
}

fn active() -> Account {
    after(&[(paid(BillKind::Primary, 1), noon())])
}

fn charged() -> Account {
    active().apply(AccountEvent::RenewalOpened, end() - hours(6)).unwrap()
}

fn overdue() -> Account {
    charged().apply(refused(DeclineGroup::Soft), end() - hours(6)).unwrap()
}

fn canceled() -> Account {
    overdue().apply(AccountEvent::AccessRanOut, end() + GRACE).unwrap()
}

fn called_off() -> Account {
    active().apply(AccountEvent::CancelRequested, noon() + hours(1)).unwrap()
}

/// A row: from where, what happens and when, to where; and what is true then.
type Row = (&'static str, Account, AccountEvent, DateTime<Utc>, AccountStatus, fn(&Account) -> bool);

#[test]
fn every_row_of_a_subscription() {
    let soon = end() - hours(5);
    let back = end() + GRACE + hours(100);
    let late = end() + hours(40);
    let shortened = AccountEvent::PaidTimeShortened { days: 5 };
    let rows: &[Row] = &[
        ("the first payment", new(), paid(BillKind::Primary, 1), noon(), Active, |account| {
            account.term.unwrap().anchor_at == noon() && account.period_no == 1 && account.paid_until == Some(end())
        }),
        // Periods are counted in one series; the term is new.
        ("a payment after the end", canceled(), paid(BillKind::Primary, 3), back, Active, |account| {
            let begun = end() + GRACE + hours(100);
            account.term.unwrap().anchor_at == begun && account.period_no == 3 && account.paid_until > Some(begun)
        }),
        ("the renewal is opened", active(), AccountEvent::RenewalOpened, soon, Active, |account| {
            account.next_charge_at.is_none() && account.access_until == Some(end() + DOUBT)
        }),
        ("the renewal is paid", charged(), paid(BillKind::Renewal, 2), soon, Active, |account| {
            account.period_no == 2 && account.paid_until == Some(at("2026-05-10T09:00:00Z"))
        }),
        ("the renewal is refused and may pass", charged(), refused(DeclineGroup::Soft), soon, Overdue, |account| {
            account.access_until == Some(end() + GRACE) && account.next_charge_at > Some(end() - hours(5) + hours(24))
        }),
        ("the renewal is refused for good", charged(), refused(DeclineGroup::Hard), soon, Overdue, |account| {
            account.next_charge_at.is_none() && account.access_until == Some(end() + GRACE) && !account.can_be_charged()
        }),
        ("there is no card", active(), AccountEvent::NoCard, soon, Overdue, |account| {
            account.next_charge_at.is_none() && account.access_until == Some(end() + GRACE)
        }),
        ("a try succeeds", overdue(), paid(BillKind::Renewal, 2), late, Active, |account| {
            account.term.unwrap().anchor_at == noon() && account.paid_until == Some(at("2026-05-10T09:00:00Z"))
        }),
        ("grace is over", overdue(), AccountEvent::AccessRanOut, end() + GRACE, Canceled, |account| {
            !account.access(end() + GRACE).has_access && account.next_charge_at.is_none()
        }),
        ("its subscriber cancels", active(), AccountEvent::CancelRequested, soon, Active, |account| {
            account.cancel_at_period_end && account.next_charge_at.is_none() && account.access_until == Some(end())
        }),
        ("and resumes", called_off(), AccountEvent::Resumed, soon, Active, |account| {
            !account.cancel_at_period_end && account.next_charge_at.is_some()
        }),
        ("what was called off ends", called_off(), AccountEvent::AccessRanOut, end(), Canceled, |account| {
            !account.access(end()).has_access
        }),
        ("the card is forgotten", active(), AccountEvent::CardForgotten, soon, Active, |account| {
            !account.has_token && !account.renews() && account.access(end() - minutes(1)).has_access
        }),
        ("the card is forgotten in grace", overdue(), AccountEvent::CardForgotten, soon, Overdue, |account| {
            !account.can_be_charged() && !account.renews()
        }),
        ("its money goes back with the access", active(), AccountEvent::AccessTakenBack, soon, Canceled, |account| {
            !account.access(end() - hours(5)).has_access && account.next_charge_at.is_none()
        }),
        ("a part goes back with its days", active(), shortened, noon() + hours(1), Active, |account| {
            account.paid_until == Some(end() - hours(5 * 24)) && account.next_charge_at < account.paid_until
        }),
        ("nobody knows for 48 hours", charged(), AccountEvent::AccessRanOut, end() + DOUBT, Overdue, |account| {
            account.access_until == Some(end() + GRACE)
        }),
    ];
    for (name, from, event, now, status, holds) in rows {
        let to = from.clone().apply(*event, *now).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(to.status, *status, "{name}");
        assert!(holds(&to), "{name}: {to:?}");
    }
    // What the same rows rule out.
    let refusals: &[(&str, Account, AccountEvent, DateTime<Utc>)] = &[
        ("a renewal of who never paid", new(), AccountEvent::RenewalOpened, noon()),
        ("a renewal of what has ended", canceled(), AccountEvent::RenewalOpened, back),
        ("doubt within 48 hours", charged(), AccountEvent::AccessRanOut, end() + DOUBT - minutes(1)),
        ("the end of a grace that is left", overdue(), AccountEvent::AccessRanOut, end() + GRACE - minutes(1)),
        ("resuming what was not cancelled", active(), AccountEvent::Resumed, noon()),
        ("resuming what has ended", canceled(), AccountEvent::Resumed, back),
    ];
    for (name, from, event, now) in refusals {
        assert!(from.clone().apply(*event, *now).is_err(), "{name}");
    }
    for inactive in [Inactive, Canceled] {
        assert!(!Account { status: inactive, ..active() }.is_running());
    }
}

#[test]
fn a_renewal_is_due_within_the_window_before_the_end() {
    for period in [Period::days(1), Period::days(7), Period::months(1), Period::months(12)] {
        let bought = AccountEvent::Paid {
            kind: BillKind::Primary,
            tariff_id: tariff(),
            period: period.unwrap(),
            period_no: 1,
            card: KeptCard::New,
        };
        for _ in 0..50 {
            let account = new().apply(bought, noon()).unwrap();
            let (due, end) = (account.next_charge_at.unwrap(), account.paid_until.unwrap());
            let window = WINDOW.min((end - noon()) / 2);
            assert!(end - window <= due && due < end, "{due} of {end}");
        }
    }
}

/// The hours after the first refusal at which a card is charged again that is refused with this code each time.
fn tries(code: i32) -> Vec<i64> {
    let terms = Ruling::seeded(code).terms();
    let (mut now, mut tries) = (noon(), Vec::new());
    for refusals in 1.. {
        match terms.schedule.retry_at(noon(), refusals, None, now) {
            Some(next) => now = next,
            None => break,
        }
        tries.push((now - noon()).num_hours());
    }
    tries
}

#[test]
fn every_row_of_what_a_refusal_means() {
    const NEVER: &[i64] = &[];
    let rows: &[(&str, &[i32], &[i64])] = &[
        // The next day at another hour, after 3 and 5 days, and before the week of grace is over.
        ("soft", &[5051, 5061, 5065], &[29, 72, 120, 164]),
        ("technical", &[5091, 5092, 5096], &[2, 26]),
        ("conditional", &[5013, 5030, 5055, 5063], &[29]),
        ("conditional that needs another card", &[5014, 5054], NEVER),
        ("hard", &[5001, 5003, 5004, 5005, 5007, 5012, 5015, 5036, 5041, 5043, 5057, 5062], NEVER),
        ("the customer's turn", &[5206, 5207], NEVER),
        ("nobody has told us of it", &[5999], &[29]),
    ];
    for (name, codes, expected) in rows {
        for code in *codes {
            assert_eq!(tries(*code), *expected, "{name}: {code}");
            let (ruling, first) = (Ruling::seeded(*code), noon() + hours(expected.first().copied().unwrap_or(24)));
            let is_never_again = expected.is_empty();
            assert_eq!(ruling.terms().bars_the_card, is_never_again, "{name}: {code}");
            // The gateway's word moves a try later, and never earlier.
            for (asked, planned) in [(hours(40), first.max(noon() + hours(40))), (hours(1), first)] {
                let retry_at = ruling.terms().schedule.retry_at(noon(), 1, Some(noon() + asked), noon());
                assert_eq!(retry_at, Some(planned).filter(|_| !is_never_again), "{name}: {code}");
            }
            let charges: Vec<i64> = std::iter::once(0).chain(tries(*code)).collect();
            let is_crowded = charges.windows(3).any(|three| three[2] - three[0] <= 24);
            assert!(!is_crowded, "{name}: {code} is charged more than twice in 24 hours: {charges:?}");
            assert!(charges.iter().all(|at| TimeDelta::hours(*at) < GRACE), "{name}: {code}");
            let wording = ruling.rule.wording();
            assert!(!wording.en.is_empty() && !wording.ru.is_empty(), "{name}: {code}");
        }
    }
    assert_ne!((noon() + hours(tries(5051)[0])).hour(), noon().hour(), "at another hour of the day");
}
