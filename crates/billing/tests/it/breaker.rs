//! When the gateway is left alone, and who finds out that it works again.

use billing::account::{Account, AccountEvent, AccountStatus, DOUBT, KeptCard};
use billing::bill::BillKind;
use billing::breaker::{Admission, Breaker, BreakerPolicy, CircuitState, Signal, Turn};
use billing::decline::GRACE;
use billing::period::Period;
use billing::{AccountId, TariffId};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use crate::support::{minutes, noon};

fn policy() -> BreakerPolicy {
    BreakerPolicy::default()
}

/// By what fails in a row alone.
fn in_a_row() -> BreakerPolicy {
    BreakerPolicy { calls: 1_000, ..policy() }
}

fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

/// A circuit that opened at noon.
fn opened() -> Breaker {
    let (open, turn) = Breaker::closed(noon()).heard(Signal::Refused, false, &policy(), noon());
    assert_eq!(turn, Some(Turn::Opened));
    open
}

fn probe(breaker: &Breaker, now: DateTime<Utc>) -> Breaker {
    match breaker.admit(now) {
        Admission::Probe(half_open) => half_open,
        other => panic!("{other:?} at {now}"),
    }
}

#[test]
fn failures_in_a_row_open_it_and_one_success_forgets_them() {
    let mut breaker = Breaker::closed(noon());
    for _ in 0..3 {
        for _ in 0..4 {
            let (next, turn) = breaker.heard(Signal::Failed, false, &in_a_row(), noon());
            assert_eq!((turn, next.admit(noon())), (None, Admission::Pass));
            breaker = next.heard(Signal::Neither, false, &in_a_row(), noon()).0;
        }
        assert_eq!(breaker.failures, 4);
        breaker = breaker.heard(Signal::Well, false, &in_a_row(), noon()).0;
        assert_eq!(breaker.failures, 0);
    }
    let mut turns = Vec::new();
    for _ in 0..7 {
        let (next, turn) = breaker.heard(Signal::Failed, false, &in_a_row(), noon());
        turns.push(turn);
        breaker = next;
    }
    assert_eq!(turns, [None, None, None, None, Some(Turn::Opened), None, None], "said once");
    assert_eq!(breaker.admit(noon() + seconds(29)), Admission::Wait(noon() + seconds(30)));
    assert_eq!(breaker.rests_until(noon() + seconds(29)), Some(noon() + seconds(30)));
    assert_eq!(breaker.rests_until(noon() + seconds(30)), None);
}

/// What comes of these requests, one each second.
fn after(signals: impl IntoIterator<Item = Signal>, apart: TimeDelta) -> (Breaker, Vec<usize>) {
    let (mut breaker, mut opened) = (Breaker::closed(noon()), Vec::new());
    for (n, signal) in signals.into_iter().enumerate() {
        let now = noon() + apart * i32::try_from(n).unwrap();
        let (next, turn) = breaker.heard(signal, false, &policy(), now);
        opened.extend(turn.map(|_| n + 1));
        breaker = next;
    }
    (breaker, opened)
}

#[test]
fn half_of_the_last_requests_that_fail_open_it_though_others_go_well() {
    use Signal::{Failed, Well};
    let every_other = || [Failed, Well].into_iter().cycle().take(100);
    assert_eq!(after(every_other(), seconds(1)).1, [19], "with the tenth failure of twenty requests");
    // Before the first failure nothing was counted.
    let late = std::iter::repeat_n(Well, 500).chain(every_other());
    assert_eq!(after(late, seconds(1)).1, [519]);
    let two_of_five = [Failed, Well, Failed, Well, Well].into_iter().cycle().take(500);
    assert_eq!(after(two_of_five, seconds(1)).1, Vec::<usize>::new(), "less than half is no reason");
    assert_eq!(after(every_other(), seconds(40)).1, Vec::<usize>::new(), "nor are failures long ago");
}

#[test]
fn a_failure_is_forgotten_after_so_many_requests_or_so_much_time() {
    let well = |n| std::iter::once(Signal::Failed).chain(std::iter::repeat_n(Signal::Well, n));
    assert!(!after(well(19), seconds(1)).0.is_sound());
    assert!(after(well(20), seconds(1)).0.is_sound());
    assert!(after(well(1), minutes(6)).0.is_sound());
    let half_open = probe(&opened(), noon() + seconds(30));
    let (closed, _) = half_open.heard(Signal::Well, true, &policy(), noon() + seconds(31));
    assert!(closed.is_sound(), "what was counted before it opened is over");
}

#[test]
fn refused_credentials_open_it_at_once() {
    assert_eq!(opened().state, CircuitState::Open);
}

#[test]
fn one_request_at_a_time_finds_out() {
    let now = noon() + seconds(30);
    let half_open = probe(&opened(), now);
    assert_eq!(half_open.admit(now), Admission::Wait(now + seconds(5)));
    assert_eq!(half_open.heard(Signal::Well, false, &policy(), now).0, half_open, "what was sent before is no news");
    let (closed, turn) = half_open.heard(Signal::Well, true, &policy(), now);
    assert_eq!((closed, turn), (Breaker::closed(now), Some(Turn::Closed)));
    // The worker of the probe died.
    probe(&half_open, now + minutes(3));
    // It was not processed for another reason.
    let (unasked, turn) = half_open.heard(Signal::Neither, true, &policy(), now);
    assert_eq!(turn, None);
    probe(&unasked, now);
}

#[test]
fn each_probe_in_vain_doubles_the_pause_up_to_a_limit() {
    let mut breaker = opened();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let now = breaker.until.unwrap();
        let (again, turn) = probe(&breaker, now).heard(Signal::Failed, true, &policy(), now);
        assert_eq!((turn, again.since), (None, noon()), "it is open since the first time, and that is told once");
        pauses.push((again.until.unwrap() - now).num_seconds());
        breaker = again;
    }
    assert_eq!(pauses, [60, 120, 240, 480, 960, 960, 960, 960]);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Passes(i64),
    Asks,
    Answers(Signal),
    ProbeAnswers(Signal),
}

fn step() -> impl Strategy<Value = Step> {
    let signal = || proptest::sample::select(vec![Signal::Well, Signal::Failed, Signal::Refused, Signal::Neither]);
    prop_oneof![
        (0_i64..400).prop_map(Step::Passes),
        Just(Step::Asks),
        signal().prop_map(Step::Answers),
        signal().prop_map(Step::ProbeAnswers),
    ]
}

proptest! {
    #[test]
    fn it_lets_one_through_at_a_time_and_never_sticks(steps in prop::collection::vec(step(), 1..200)) {
        let mut now = noon();
        let mut breaker = Breaker::closed(now);
        let mut probing_since: Option<DateTime<Utc>> = None;
        let (mut opened, mut closed) = (0, 0);
        for step in steps {
            let mut turned = None;
            match step {
                Step::Passes(time) => now += seconds(time),
                Step::Asks => match breaker.admit(now) {
                    Admission::Pass => prop_assert_eq!(breaker.state, CircuitState::Closed),
                    Admission::Wait(until) => {
                        prop_assert!(until > now);
                        prop_assert_ne!(breaker.state, CircuitState::Closed);
                    }
                    Admission::Probe(next) => {
                        prop_assert!(probing_since.is_none_or(|since| now - since >= minutes(3)), "two probes");
                        probing_since = Some(now);
                        breaker = next;
                    }
                },
                Step::Answers(signal) => {
                    let before = breaker;
                    (breaker, turned) = before.heard(signal, false, &policy(), now);
                    if before.state != CircuitState::Closed {
                        prop_assert_eq!(breaker, before);
                    }
                }
                Step::ProbeAnswers(signal) if probing_since.is_some() => {
                    (breaker, turned) = breaker.heard(signal, true, &policy(), now);
                    probing_since = None;
                }
                Step::ProbeAnswers(_) => {}
            }
            match turned {
                Some(Turn::Opened) => opened += 1,
                Some(Turn::Closed) => closed += 1,
                None => {}
            }
            prop_assert_eq!(breaker.until.is_some(), breaker.state != CircuitState::Closed);
            prop_assert_eq!(opened - closed, i32::from(breaker.state != CircuitState::Closed), "each is told once");
            prop_assert!(breaker.until.is_none_or(|until| until - now <= policy().pause * BreakerPolicy::LONGEST));
            let in_the_end = now + policy().pause * BreakerPolicy::LONGEST;
            prop_assert!(!matches!(breaker.admit(in_the_end), Admission::Wait(_)), "nobody waits for ever");
        }
    }
}

/// How often the timetable looks.
const TICK: TimeDelta = TimeDelta::minutes(20);

/// One of the subscribers of C39.
struct Subscriber {
    account: Account,
    /// Opened, and not sent.
    waits: bool,
    attempts: usize,
}

/// C39: the terminal takes all charges of kept cards for wrong, for three days.
#[test]
fn c39_ten_thousand_renewals_wait_for_a_terminal_that_is_mended_after_three_days() {
    let period = Period::months(1).unwrap();
    let bought = |n: i64| {
        let account = Account::registered(AccountId::new(), Tz::Europe__Moscow);
        let card = KeptCard::New;
        let paid =
            AccountEvent::Paid { kind: BillKind::Primary, tariff_id: TariffId::new(), period, period_no: 1, card };
        // Over one day.
        account.apply(paid, noon() + seconds(n * 8)).unwrap()
    };
    let mut subscribers: Vec<Subscriber> =
        (0..10_000).map(|n| Subscriber { account: bought(n), waits: false, attempts: 0 }).collect();
    let begins = subscribers.iter().filter_map(|one| one.account.next_charge_at).min().unwrap();
    let mended = begins + TimeDelta::days(3);
    let mut breaker = Breaker::closed(begins);
    let mut alarms = 0;
    let mut now = begins;
    while now < mended + TimeDelta::days(4) {
        for one in &mut subscribers {
            let end = one.account.paid_until.unwrap();
            if one.account.next_charge_at.is_some_and(|at| at <= now) {
                one.account = one.account.clone().apply(AccountEvent::RenewalOpened, now).unwrap();
                one.waits = true;
            }
            if one.waits && !matches!(breaker.admit(now), Admission::Wait(_)) {
                let is_probe = matches!(breaker.admit(now), Admission::Probe(_));
                if let Admission::Probe(half_open) = breaker.admit(now) {
                    breaker = half_open;
                }
                one.waits = false;
                let works = now >= mended;
                let period_no = one.account.period_no + 1;
                let event = if works {
                    let (kind, card) = (BillKind::Renewal, KeptCard::Same);
                    AccountEvent::Paid { kind, tariff_id: one.account.tariff_id.unwrap(), period, period_no, card }
                } else {
                    one.attempts += 1;
                    AccountEvent::RenewalNotCharged { period_no }
                };
                one.account = one.account.clone().apply(event, now).unwrap();
                let signal = if works { Signal::Well } else { Signal::Failed };
                let (next, turn) = breaker.heard(signal, is_probe, &policy(), now);
                alarms += i32::from(turn == Some(Turn::Opened));
                breaker = next;
            }
            if one.account.access_until.is_some_and(|end| end <= now)
                && let Ok(after) = one.account.clone().apply(AccountEvent::AccessRanOut, now)
            {
                one.account = after;
            }
            if one.account.period_no == 1 {
                let most = end + DOUBT + GRACE + TICK;
                assert!(one.account.access_until.unwrap() <= most, "no more than doubt and grace");
            }
        }
        now += TICK;
    }
    assert_eq!(alarms, 1);
    let attempts = subscribers.iter().map(|one| one.attempts);
    assert!(attempts.clone().all(|attempts| attempts <= 3));
    let in_all: usize = attempts.sum();
    assert!(in_all < 300, "{in_all} charges of ten thousand cards were enough to know");
    // Who found out three times is asked to pay; all others go on by themselves.
    let (exhausted, others): (Vec<_>, Vec<_>) = subscribers.iter().partition(|one| one.attempts == 3);
    assert!(exhausted.len() < 100, "{}", exhausted.len());
    assert!(exhausted.iter().all(|one| one.account.period_no == 1 && one.account.next_charge_at.is_none()));
    assert!(others.iter().all(|one| one.account.status == AccountStatus::Active && one.account.period_no == 2));
}
