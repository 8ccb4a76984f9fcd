//! When an attempt in doubt is looked up, when it may be repeated, and what "not found" proves.

use billing::PaymentId;
use billing::payment::Outcome;
use billing::resolve::{ContradictoryPolicy, ResolvePolicy, Sent, Spread, Step, backoff};
use chrono::Duration;
use proptest::prelude::*;

use crate::support::{minutes, noon};

fn sent() -> Sent {
    Sent { first_at: noon(), last_at: noon(), absent_at: None }
}

#[test]
fn nothing_is_repeated_while_the_gateway_may_still_answer_nor_after_it_has_forgotten() {
    let policy = ResolvePolicy::default();
    let step = |minute| policy.step(&sent(), noon() + minutes(minute));
    assert_eq!([0, 1, 5].map(step), [Step::Look; 3]);
    assert_eq!([6, 15, 30, 45, 49].map(step), [Step::LookThenResend; 5]);
    assert_eq!([50, 55, 60].map(step), [Step::Look; 3]);
    assert_eq!([61, 120, 100_000].map(step), [Step::LookEverywhere; 3]);
}

#[test]
fn evidence_counts_from_the_last_time_it_was_sent() {
    let resent = Sent { last_at: noon() + minutes(45), ..sent() };
    let step = |minute| ResolvePolicy::default().step(&resent, noon() + minutes(minute));
    assert_eq!([61, 105].map(step), [Step::Look; 2]);
    assert_eq!(step(106), Step::LookEverywhere);
}

#[test]
fn looks_come_often_at_first_then_hourly_then_daily() {
    let policy = ResolvePolicy::default();
    let mut now = noon();
    let mut seconds = Vec::new();
    while seconds.len() < 11 {
        now = policy.next_look(noon(), now);
        seconds.push((now - noon()).num_seconds());
    }
    assert_eq!(seconds, [15, 60, 120, 360, 900, 1_800, 2_700, 6_300, 9_900, 13_500, 17_100]);
    let after_a_day = noon() + Duration::hours(25);
    assert_eq!(policy.next_look(noon(), after_a_day) - after_a_day, Duration::hours(24));
}

#[test]
fn each_time_of_the_plan_is_good_for_one_repetition() {
    let policy = ResolvePolicy::default();
    let resent = |minute| Sent { last_at: noon() + minutes(minute), ..sent() };
    let step = |sent: Sent, minute| policy.step(&sent, noon() + minutes(minute));
    for (repeated_at, looks_at, next) in [(6, 14, 15), (15, 29, 30), (30, 44, 45)] {
        assert_eq!(step(resent(repeated_at), looks_at), Step::Look, "{looks_at}");
        assert_eq!(step(resent(repeated_at), next), Step::LookThenResend, "{next}");
    }
    assert_eq!(step(resent(45), 49), Step::Look, "there is no fifth");
    // Nobody looked at its time: it is made up for once.
    assert_eq!(step(resent(6), 33), Step::LookThenResend);
    assert_eq!(step(resent(33), 44), Step::Look);
}

#[test]
fn after_no_answer_it_is_looked_soon_the_first_time_and_as_planned_after_a_repetition() {
    let policy = ResolvePolicy::default();
    let now = noon() + Duration::seconds(60);
    assert_eq!(policy.after_no_answer(noon(), 1, now), now + Duration::seconds(15));
    let now = noon() + minutes(7);
    assert_eq!(policy.after_no_answer(noon(), 2, now), noon() + minutes(15));
}

/// Looks that all fail at once, up to `end`.
fn failed_looks(end: Duration, asked: Option<Duration>) -> Vec<i64> {
    let (policy, spread) = (ResolvePolicy::default(), Spread::of(PaymentId::new()));
    let mut now = policy.after_no_answer(noon(), 1, noon());
    let mut looks = Vec::new();
    while now < noon() + end {
        looks.push((now - noon()).num_seconds());
        let fruitless = i32::try_from(looks.len()).unwrap();
        let next = policy.after_failed_look(&sent(), fruitless, spread, asked.map(|asked| now + asked), now);
        assert!(next > now);
        now = next;
    }
    looks
}

#[test]
fn looks_that_fail_are_no_more_than_planned_at_first_and_few_ever_after() {
    assert_eq!(failed_looks(minutes(5), None), [15, 60, 120]);
    let looks = failed_looks(minutes(60), None);
    assert!(looks.starts_with(&[15, 60, 120, 360, 900, 1_800, 2_700]) && looks.len() <= 8, "{looks:?}");
    let day = failed_looks(Duration::hours(24), None).len();
    assert!((24..=36).contains(&day), "{day}");
}

#[test]
fn a_gateway_that_asks_for_time_is_given_it() {
    let looks = failed_looks(Duration::hours(1), Some(minutes(20)));
    assert!(looks.windows(2).all(|pair| pair[1] - pair[0] >= 20 * 60), "{looks:?}");
}

#[test]
fn waits_double_are_spread_and_end_somewhere() {
    let second = Duration::seconds(1);
    for _ in 0..100 {
        let spread = Spread::of(PaymentId::new());
        let mut least = second;
        for tries in 1..100 {
            let wait = backoff(second, tries, minutes(10), spread);
            assert!(least <= wait && wait <= least * 5 / 4, "try {tries}: {wait}");
            least = (least * 2).min(minutes(10));
        }
    }
}

#[test]
fn not_found_proves_something_only_late_everywhere_and_twice() {
    let policy = ResolvePolicy::default();
    let early = policy.not_found(&sent(), true, noon() + minutes(30));
    assert!(matches!(early, Outcome::NotFound { absent: false, .. }));
    let listed = policy.not_found(&sent(), false, noon() + minutes(70));
    assert!(matches!(listed, Outcome::NotFound { absent: false, .. }));

    let first = noon() + minutes(70);
    let Outcome::NotFound { absent: true, look_again_at } = policy.not_found(&sent(), true, first) else {
        panic!("late and nowhere to be found: the first piece of evidence");
    };
    assert_eq!(look_again_at, first + minutes(10));
    let seen_absent = Sent { absent_at: Some(first), ..sent() };
    let soon = policy.not_found(&seen_absent, true, first + minutes(9));
    assert!(matches!(soon, Outcome::NotFound { absent: true, look_again_at: at } if at == first + minutes(10)));
    assert!(matches!(policy.not_found(&seen_absent, true, first + minutes(10)), Outcome::NotExecuted));
    assert!(matches!(
        policy.not_found(&seen_absent, false, first + minutes(10)),
        Outcome::NotFound { absent: false, .. }
    ));
}

#[test]
fn a_page_that_was_asked_for_may_come_by_repetition_and_then_never() {
    let policy = ResolvePolicy::default();
    let waiting = policy.awaiting_authentication(&sent(), 7, noon() + minutes(10));
    assert!(matches!(waiting, Outcome::AwaitingAuthentication { transaction_id: 7, .. }));
    let over = policy.awaiting_authentication(&sent(), 7, noon() + minutes(50));
    assert!(matches!(over, Outcome::NeverAuthenticated { transaction_id: 7 }));
}

#[test]
fn a_policy_that_could_charge_twice_is_refused() {
    let good = ResolvePolicy::default();
    assert_eq!(good.checked(), Ok(good));
    for wrong in [
        ResolvePolicy { first_look: Duration::zero(), ..good },
        ResolvePolicy { look_only: minutes(51), ..good },
        ResolvePolicy { resend_until: minutes(60), ..good },
        ResolvePolicy { not_found_gap: Duration::zero(), ..good },
        ResolvePolicy { first_look: minutes(7), ..good },
    ] {
        assert_eq!(wrong.checked(), Err(ContradictoryPolicy));
    }
}

proptest! {
    #[test]
    fn the_next_look_always_lies_ahead(age in 0_i64..10_000_000) {
        let now = noon() + Duration::seconds(age);
        prop_assert!(ResolvePolicy::default().next_look(noon(), now) > now);
    }

    #[test]
    fn a_request_is_only_repeated_within_the_life_of_its_id(age in 0_i64..100_000) {
        let step = ResolvePolicy::default().step(&sent(), noon() + Duration::seconds(age));
        prop_assert_eq!(step == Step::LookThenResend, (360..3_000).contains(&age));
    }
}
