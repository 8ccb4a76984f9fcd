//! Changing the prefetch count of a consumer that runs.
//!
//! With `global=false`, which is all that RabbitMQ 4 allows, `basic.qos` reaches only consumers that start after it.
//! Stopping a consumer to start it again with another count would forget how many deliveries it still holds, and each
//! change would fetch a whole window more. So a consumer is a stack of consumers on one channel whose counts add up:
//! raising puts one on top, lowering takes from the top.

/// What to do to the stack, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// So many consumers are cancelled, from the top.
    pub(super) cancel: usize,
    /// A consumer with this count is started (0: without a limit).
    pub(super) start: Option<u16>,
}

/// How to get from the stack `counts` (bottom first; 0 is without a limit) to `wanted` deliveries in all.
///
/// A raise is rounded up to an eighth of what is there, so that a worker which holds thousands of tasks with an ETA,
/// each worth one more, ends with dozens of consumers and not with thousands. It never fetches less than wanted.
pub(super) fn change(counts: &[u16], wanted: u16) -> Change {
    if wanted == 0 || counts.contains(&0) {
        let same = counts == [wanted];
        return Change { cancel: if same { 0 } else { counts.len() }, start: (!same).then_some(wanted) };
    }
    let mut keep = counts.len();
    let mut sum: u32 = counts.iter().map(|count| u32::from(*count)).sum();
    let wanted = u32::from(wanted);
    // Take from the top what is too much as a whole.
    while let Some(top) = keep.checked_sub(1).map(|top| u32::from(counts[top])) {
        if sum <= wanted || (sum - top < wanted && sum - wanted <= slack(wanted)) {
            break;
        }
        sum -= top;
        keep -= 1;
    }
    let missing = wanted.saturating_sub(sum);
    let start = (missing > 0).then(|| missing.max(slack(sum)).min(u32::from(u16::MAX)));
    Change { cancel: counts.len() - keep, start: start.and_then(|count| u16::try_from(count).ok()) }
}

/// How much more than wanted is fine.
fn slack(count: u32) -> u32 {
    count / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn apply(stack: &mut Vec<u16>, wanted: u16) {
        let change = change(stack, wanted);
        stack.truncate(stack.len() - change.cancel);
        stack.extend(change.start);
    }

    #[test]
    fn raising_and_lowering_by_one_leaves_the_rest_alone() {
        let mut stack = vec![4];
        for (wanted, expected) in [(5, vec![4, 1]), (6, vec![4, 1, 1]), (5, vec![4, 1]), (4, vec![4])] {
            apply(&mut stack, wanted);
            assert_eq!(stack, expected, "{wanted}");
        }
    }

    #[test]
    fn nothing_is_done_for_the_same_count() {
        assert_eq!(change(&[8], 8), Change { cancel: 0, start: None });
        assert_eq!(change(&[0], 0), Change { cancel: 0, start: None });
    }

    #[test]
    fn less_than_the_bottom_starts_it_anew() {
        assert_eq!(change(&[8], 2), Change { cancel: 1, start: Some(2) });
        assert_eq!(change(&[8, 2], 2), Change { cancel: 2, start: Some(2) });
    }

    #[test]
    fn without_a_limit_and_back() {
        assert_eq!(change(&[4, 1], 0), Change { cancel: 2, start: Some(0) });
        assert_eq!(change(&[0], 4), Change { cancel: 1, start: Some(4) });
    }

    #[test]
    fn thousands_of_held_tasks_need_few_consumers() {
        let mut stack = vec![8];
        for wanted in 9..=20_000 {
            apply(&mut stack, wanted);
        }
        assert!(stack.len() < 80, "{}", stack.len());
        for wanted in (8..20_000).rev() {
            apply(&mut stack, wanted);
        }
        let sum: u32 = stack.iter().map(|count| u32::from(*count)).sum();
        assert!((8..=9).contains(&sum), "{stack:?}");
    }

    proptest! {
        #[test]
        fn the_sum_is_never_less_than_wanted_and_little_more(steps in prop::collection::vec(0_u16..2000, 1..40)) {
            let mut stack = vec![4];
            for wanted in steps {
                apply(&mut stack, wanted);
                if wanted == 0 {
                    prop_assert_eq!(&stack, &[0]);
                } else {
                    let sum: u32 = stack.iter().map(|count| u32::from(*count)).sum();
                    let wanted = u32::from(wanted);
                    prop_assert!(sum >= wanted && sum <= wanted + wanted / 8 + 1, "{:?} for {}", stack, wanted);
                    prop_assert!(!stack.contains(&0));
                }
            }
        }
    }
}
