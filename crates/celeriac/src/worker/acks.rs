//! Which deliveries may be acknowledged together: pure bookkeeping of one consumer.

use std::collections::VecDeque;

use crate::broker::DeliveryTag;

/// The deliveries of one consumer that are not settled yet, in the order of their arrival.
///
/// `basic.ack` with `multiple` settles everything up to its tag, so only the longest finished prefix may be
/// acknowledged that way; whatever has finished behind an unfinished one is acknowledged alone.
#[derive(Debug, Default)]
pub(crate) struct AckTracker {
    generation: u64,
    deliveries: VecDeque<(u64, State)>,
    rejects: Vec<(DeliveryTag, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The task is waiting or running.
    Unfinished,
    /// May be acknowledged.
    Finished,
    /// Acknowledged or rejected already.
    Settled,
}

/// What to send now, in the order of the fields: an acknowledgement with `multiple` must not overtake a reject.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Acks {
    /// Reject each of these; the flag says whether to give it back to its queue.
    pub(crate) rejects: Vec<(DeliveryTag, bool)>,
    /// Acknowledge everything up to this one.
    pub(crate) multiple: Option<DeliveryTag>,
    /// Acknowledge each of these alone.
    pub(crate) single: Vec<DeliveryTag>,
}

impl AckTracker {
    /// A message has arrived. The first of a new generation (a reconnect) means that those of the former are gone:
    /// the broker delivers them again.
    pub(crate) fn delivered(&mut self, tag: DeliveryTag) {
        if tag.generation != self.generation {
            self.generation = tag.generation;
            self.deliveries.clear();
            self.rejects.clear();
        }
        self.deliveries.push_back((tag.tag, State::Unfinished));
    }

    /// A message may be acknowledged with the next [`take`](Self::take).
    pub(crate) fn finished(&mut self, tag: DeliveryTag) {
        self.set(tag, State::Finished);
    }

    /// A message is to be rejected with the next [`take`](Self::take).
    pub(crate) fn rejected(&mut self, tag: DeliveryTag, requeue: bool) {
        if self.set(tag, State::Settled) {
            self.rejects.push((tag, requeue));
        }
    }

    /// What can be sent now; it counts as sent.
    pub(crate) fn take(&mut self) -> Acks {
        let mut acks = Acks { rejects: std::mem::take(&mut self.rejects), ..Acks::default() };
        while let Some((tag, state)) = self.deliveries.front().copied()
            && state != State::Unfinished
        {
            if state == State::Finished {
                acks.multiple = Some(self.tag(tag));
            }
            self.deliveries.pop_front();
        }
        let generation = self.generation;
        for (tag, state) in &mut self.deliveries {
            if *state == State::Finished {
                *state = State::Settled;
                acks.single.push(DeliveryTag { generation, tag: *tag });
            }
        }
        acks
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Messages that have arrived and are not settled, or not taken yet.
    pub(crate) fn unsettled(&self) -> usize {
        self.deliveries.iter().filter(|(_, state)| *state != State::Settled).count() + self.rejects.len()
    }

    /// Returns whether the message was unfinished until now.
    fn set(&mut self, tag: DeliveryTag, state: State) -> bool {
        if tag.generation != self.generation {
            return false;
        }
        let index = self.deliveries.binary_search_by_key(&tag.tag, |(tag, _)| *tag);
        match index.ok().and_then(|index| self.deliveries.get_mut(index)) {
            Some(delivery) if delivery.1 == State::Unfinished => {
                delivery.1 = state;
                true
            }
            _ => false,
        }
    }

    fn tag(&self, tag: u64) -> DeliveryTag {
        DeliveryTag { generation: self.generation, tag }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn tag(tag: u64) -> DeliveryTag {
        DeliveryTag { generation: 1, tag }
    }

    fn tracker(delivered: u64) -> AckTracker {
        let mut tracker = AckTracker::default();
        (1..=delivered).for_each(|number| tracker.delivered(tag(number)));
        tracker
    }

    #[test]
    fn the_finished_prefix_goes_with_one_multiple_and_stragglers_alone() {
        let mut tracker = tracker(6);
        for finished in [2, 1, 5, 6] {
            tracker.finished(tag(finished));
        }
        assert_eq!(tracker.take(), Acks { multiple: Some(tag(2)), single: vec![tag(5), tag(6)], rejects: vec![] });
        assert_eq!(tracker.take(), Acks::default());
        tracker.finished(tag(3));
        tracker.finished(tag(4));
        assert_eq!(tracker.take(), Acks { multiple: Some(tag(4)), ..Acks::default() });
        assert!(tracker.deliveries.is_empty());
    }

    #[test]
    fn a_rejected_message_does_not_hold_back_the_prefix_and_is_not_acknowledged() {
        let mut tracker = tracker(3);
        tracker.rejected(tag(1), true);
        assert_eq!(tracker.take(), Acks { rejects: vec![(tag(1), true)], ..Acks::default() });
        tracker.finished(tag(2));
        tracker.finished(tag(1));
        tracker.rejected(tag(3), false);
        tracker.rejected(tag(3), true);
        let expected = Acks { rejects: vec![(tag(3), false)], multiple: Some(tag(2)), single: vec![] };
        assert_eq!(tracker.take(), expected);
    }

    #[test]
    fn after_a_reconnect_nothing_of_the_old_channel_is_acknowledged() {
        let mut tracker = tracker(3);
        tracker.finished(tag(1));
        tracker.rejected(tag(3), true);
        let new = DeliveryTag { generation: 2, tag: 1 };
        tracker.delivered(new);
        tracker.finished(tag(2));
        assert_eq!(tracker.take(), Acks::default());
        tracker.finished(new);
        assert_eq!(tracker.take(), Acks { multiple: Some(new), ..Acks::default() });
    }

    proptest! {
        /// Whatever the order in which tasks finish: the broker, which applies `multiple` to everything up to the tag,
        /// never sees a message acknowledged that is unfinished, nor one twice; and in the end all are settled.
        #[test]
        fn every_message_is_acknowledged_once_and_never_before_it_has_finished(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            rejected in proptest::collection::btree_set(1..=40_u64, 0..10),
            batch in 1..8_usize,
        ) {
            let mut tracker = tracker(40);
            let mut outstanding: BTreeSet<u64> = (1..=40).collect();
            let mut finished = BTreeSet::new();
            for part in order.chunks(batch) {
                for number in part {
                    if rejected.contains(number) {
                        tracker.rejected(tag(*number), true);
                    } else {
                        tracker.finished(tag(*number));
                        finished.insert(*number);
                    }
                }
                let acks = tracker.take();
                for (reject, _) in acks.rejects {
                    prop_assert!(rejected.contains(&reject.tag));
                    prop_assert!(outstanding.remove(&reject.tag));
                }
                if let Some(multiple) = acks.multiple {
                    let covered: Vec<_> = outstanding.range(..=multiple.tag).copied().collect();
                    prop_assert!(!covered.is_empty());
                    for number in covered {
                        prop_assert!(finished.contains(&number));
                        outstanding.remove(&number);
                    }
                }
                for single in acks.single {
                    prop_assert!(finished.contains(&single.tag));
                    prop_assert!(outstanding.remove(&single.tag));
                }
            }
            prop_assert!(outstanding.is_empty());
            prop_assert!(tracker.deliveries.is_empty());
        }
    }
}
