//! What a refusal allows: the gateway's own groups, and never more than two tries in 24 hours.

use billing::decline::{DeclineGroup, GRACE};
use chrono::Duration;
use proptest::prelude::*;

use crate::support::{hours, noon};

#[test]
fn the_groups_are_the_gateways_where_it_has_some() {
    use DeclineGroup as G;
    let unconditional = [5001, 5003, 5005, 5012, 5017, 5033, 5034, 5057];
    let conditional = [5013, 5030, 5055, 5063];
    let temporary = [5051, 5065];
    assert!(unconditional.iter().all(|code| G::of(*code) == G::Hard));
    assert!(conditional.iter().all(|code| G::of(*code) == G::Conditional));
    assert!(temporary.iter().all(|code| G::of(*code) == G::Soft));
    assert_eq!(G::of(5096), G::Technical, "temporary too, and worth a try the same day");
    assert!([5014, 5054].iter().all(|code| G::of(*code) == G::CustomerAction), "needs another card");
}

#[test]
fn the_codes_it_leaves_ungrouped_are_placed() {
    use DeclineGroup as G;
    for (codes, group) in [
        (&[5004, 5007, 5036, 5041, 5043, 5062, 5015, 5031, 5082, 5113][..], G::Hard),
        (&[5006, 5019, 5058, 5059, 5204, 5300], G::Conditional),
        (&[5061, 5303], G::Soft),
        (&[5091, 5092], G::Technical),
        (&[5206, 5207, 5761, 5762, 5763], G::CustomerAction),
        (&[6001, 6025, 3001, 3008], G::Configuration),
        (&[0, -1, 5999, 7000, i32::MAX, i32::MIN], G::Conditional),
    ] {
        for code in codes {
            assert_eq!(G::of(*code), group, "{code}");
        }
    }
}

#[test]
fn a_soft_refusal_is_tried_again_over_the_days_of_grace() {
    let first = noon();
    let mut now = first;
    let mut tries = Vec::new();
    for refusals in 1.. {
        let Some(at) = DeclineGroup::Soft.retry_at(first, refusals, None, now) else { break };
        tries.push((at - first).num_hours());
        now = at;
    }
    assert_eq!(tries, [29, 72, 120, 164]);
    assert!(now - first < GRACE, "the last try comes before access ends");
}

#[test]
fn other_refusals_are_tried_less_or_never() {
    let tries = |group: DeclineGroup| {
        let next = |refusals| group.retry_at(noon(), refusals, None, noon()).map(|at| (at - noon()).num_hours());
        [next(1), next(2), next(3)]
    };
    assert_eq!(tries(DeclineGroup::Technical), [Some(2), Some(29), None]);
    assert_eq!(tries(DeclineGroup::Conditional), [Some(29), None, None]);
    assert_eq!(tries(DeclineGroup::Configuration), [Some(29), None, None]);
    assert_eq!(tries(DeclineGroup::Hard), [None; 3]);
    assert_eq!(tries(DeclineGroup::CustomerAction), [None; 3]);
}

#[test]
fn the_gateways_word_moves_a_try_later_but_never_sooner() {
    let retry = |after| DeclineGroup::Soft.retry_at(noon(), 1, Some(noon() + after), noon());
    assert_eq!(retry(hours(1)), Some(noon() + hours(29)));
    assert_eq!(retry(hours(40)), Some(noon() + hours(40)));
    assert_eq!(DeclineGroup::Hard.retry_at(noon(), 1, Some(noon() + hours(1)), noon()), None);
}

proptest! {
    #[test]
    fn never_more_than_two_tries_in_24_hours(
        groups in prop::collection::vec(proptest::sample::select(DeclineGroup::ALL), 1..8),
        lateness in prop::collection::vec(0_i64..200, 8),
    ) {
        let first = noon();
        let mut tries = vec![first];
        for (refusal, group) in groups.iter().enumerate() {
            let now = *tries.last().unwrap();
            let refusals = u32::try_from(refusal + 1).unwrap();
            let Some(at) = group.retry_at(first, refusals, None, now) else { break };
            prop_assert!(at > now);
            tries.push(at + Duration::hours(lateness[refusal]));
        }
        for three in tries.windows(3) {
            prop_assert!(three[2] - three[0] >= Duration::hours(24), "{:?}", tries);
        }
    }
}
