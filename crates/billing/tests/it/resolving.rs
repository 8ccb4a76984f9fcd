//! When an attempt in doubt is looked up, when it may be repeated, and what "not found" proves.

use billing::payment::Outcome;
use billing::resolve::{ContradictoryPolicy, ResolvePolicy, Sent, Step};
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
