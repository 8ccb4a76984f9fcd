//! What a refusal allows: the gateway's own groups, and never more than two tries in 24 hours.

use billing::decline::{self, BadRule, BadSchedule, DeclineGroup, GRACE, Rule, Ruling, Schedule};
use billing::text::Text;
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

/// What the rules of a new database make of refusals in a row, each try made when it is due: hours after the first.
fn tries(codes: &[i32]) -> Vec<i64> {
    let first = noon();
    let mut now = first;
    let mut tries = Vec::new();
    for (refusal, code) in (1..).zip(codes) {
        let Some(at) = Ruling::seeded(*code).terms().schedule.retry_at(first, refusal, None, now) else { break };
        tries.push((at - first).num_hours());
        now = at;
    }
    tries
}

#[test]
fn every_refusal_is_tried_again_by_the_schedule_of_its_group() {
    for (codes, hours) in [
        // At another hour of the next day, after three days, five, and just before the week of grace is over.
        (&[5051, 5061, 5065][..], &[29, 72, 120, 164][..]),
        // Once the same day, and a day after that.
        (&[5091, 5092, 5096], &[2, 26]),
        // Once, after a day.
        (&[5013, 5030, 5055, 5063], &[29]),
        // These of the same group only with another card.
        (&[5014, 5054], &[]),
        (&[5001, 5003, 5005, 5012, 5017, 5033, 5034, 5057, 5004, 5007, 5036, 5041, 5043, 5062], &[]),
        (&[5206, 5207, 5761], &[]),
        (&[3001, 6001, 6025], &[29]),
        (&[0, 5999], &[29]),
    ] {
        for code in codes {
            assert_eq!(tries(&[*code; 9]), hours, "{code}");
        }
    }
    let soft = tries(&[5051; 9]);
    assert!(soft.iter().all(|hours| *hours < GRACE.num_hours()), "the last try comes before access ends");
    assert_ne!(soft[0] % 24, 0, "at another hour");
}

#[test]
fn a_refusal_of_another_kind_goes_on_in_its_own_schedule() {
    assert_eq!(tries(&[5091, 5051, 5051, 5051, 5051]), [2, 72, 120, 164]);
    assert_eq!(tries(&[5051, 5091, 5091]), [29, 53], "a day after the try before it");
    assert_eq!(tries(&[5051, 5043, 5051]), [29], "a lost card ends it");
    assert_eq!(tries(&[5051, 5063]), [29]);
}

#[test]
fn the_gateways_word_moves_a_try_later_but_never_sooner() {
    let retry = |code, after| Ruling::seeded(code).terms().schedule.retry_at(noon(), 1, Some(noon() + after), noon());
    assert_eq!(retry(5051, hours(1)), Some(noon() + hours(29)));
    assert_eq!(retry(5051, hours(40)), Some(noon() + hours(40)));
    assert_eq!(retry(5043, hours(1)), None);
}

#[test]
fn a_schedule_that_breaks_a_rule_is_refused() {
    use BadSchedule as B;
    use DeclineGroup as G;
    for (group, hours, broken) in [
        (G::Soft, &[1, 2, 3, 4, 5, 6, 7, 8, 9][..], B::TooMany),
        (G::Soft, &[0], B::NotInOrder),
        (G::Soft, &[30, 29], B::NotInOrder),
        (G::Soft, &[29, 29], B::NotInOrder),
        (G::Soft, &[168], B::AfterTheGrace(168)),
        (G::Technical, &[2, 24], B::TooOften(24)),
        (G::Technical, &[26, 30, 50], B::TooOften(50)),
        (G::Hard, &[29], B::CardIsBarred(G::Hard)),
        (G::CustomerAction, &[29], B::CardIsBarred(G::CustomerAction)),
    ] {
        assert_eq!(Schedule::new(group, hours), Err(broken), "{group} {hours:?}");
    }
    for group in DeclineGroup::ALL {
        let seeded = Schedule::seeded(*group);
        assert_eq!(Schedule::new(*group, seeded.hours()), Ok(seeded), "{group}");
    }
    assert_eq!(Schedule::new(G::Technical, &[2, 25]).map(|schedule| schedule.hours().to_vec()), Ok(vec![2, 25]));
}

#[test]
fn a_rule_that_breaks_a_rule_is_refused() {
    let good = Rule::unlisted(5051);
    assert_eq!(good.check(), Ok(()));
    let message = |en: &str, ru: &str| Text::new(en, ru);
    let long = "x".repeat(301);
    for (rule, broken) in [
        (Rule { max_retries: -1, ..good.clone() }, BadRule::Retries),
        (Rule { max_retries: 9, ..good.clone() }, BadRule::Retries),
        (Rule { group: DeclineGroup::Hard, ..good.clone() }, BadRule::CardIsBarred(DeclineGroup::Hard)),
        (Rule { message: message(" ", "да"), ..good.clone() }, BadRule::Message("English")),
        (Rule { message: message("yes", &long), ..good.clone() }, BadRule::Message("Russian")),
    ] {
        assert_eq!(rule.check(), Err(broken));
    }
    for rule in decline::seed() {
        assert_eq!(rule.check(), Ok(()), "{}", rule.code);
        assert!(!rule.wording().ru.is_empty());
    }
}

proptest! {
    #[test]
    fn never_more_than_two_tries_in_24_hours(
        groups in prop::collection::vec(proptest::sample::select(DeclineGroup::ALL), 1..8),
        schedules in prop::collection::vec(prop::collection::btree_set(1_i32..168, 0..8), 6),
        lateness in prop::collection::vec(0_i64..200, 8),
    ) {
        let first = noon();
        let mut tries = vec![first];
        for (refusal, group) in groups.iter().enumerate() {
            let now = *tries.last().unwrap();
            let refusals = u32::try_from(refusal + 1).unwrap();
            let wanted: Vec<i32> = schedules[*group as usize].iter().copied().collect();
            let schedule = Schedule::new(*group, &wanted).unwrap_or_else(|_| Schedule::seeded(*group));
            let Some(at) = schedule.retry_at(first, refusals, None, now) else { break };
            prop_assert!(at > now);
            tries.push(at + Duration::hours(lateness[refusal]));
        }
        for three in tries.windows(3) {
            prop_assert!(three[2] - three[0] >= Duration::hours(24), "{:?}", tries);
        }
    }
}
