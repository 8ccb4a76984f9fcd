//! The plan of tries, by example and by property.

use proptest::prelude::*;

use super::*;

fn start() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn notice(outbox: &Outbox, plan: Plan) -> Notice {
    Notice {
        id: outbox.next_id(),
        kind: Kind::Pay,
        transaction_id: None,
        account_id: None,
        invoice_id: None,
        fields: Vec::new(),
        created_at: start(),
        plan,
    }
}

fn add(outbox: &mut Outbox, plan: Plan) -> NoticeId {
    let notice = notice(outbox, plan);
    let id = notice.id;
    outbox.add(notice, 1000);
    id
}

fn tried(outbox: &mut Outbox, id: NoticeId, at: DateTime<Utc>, outcome: Outcome) {
    outbox.tried(Try { notice_id: id, at, outcome });
}

/// The plan of the documentation.
#[test]
fn a_notification_is_tried_a_hundred_times_at_1_2_5_10_and_then_every_30_minutes() {
    let mut outbox = Outbox::default();
    let id = add(&mut outbox, Plan::At(start()));
    let mut minutes = Vec::new();
    while let Some(due) = outbox.next_due() {
        assert!(outbox.take_due(due - TimeDelta::milliseconds(1), 10).is_empty(), "not before its time");
        assert_eq!(outbox.take_due(due, 10)[0].id, id);
        assert!(outbox.take_due(due, 10).is_empty(), "one sender at a time");
        minutes.push((due - start()).num_minutes());
        tried(&mut outbox, id, due, Outcome::Status(500));
    }
    assert_eq!(minutes[..8], [0, 1, 3, 8, 18, 48, 78, 108]);
    assert_eq!(minutes.len(), 100);
    assert_eq!(outbox.get(id).unwrap().state, State::GivenUp);
}

#[test]
fn what_waits_for_another_is_sent_after_it_or_at_its_time() {
    let late = start() + TimeDelta::minutes(1);
    let mut outbox = Outbox::default();
    let held = add(&mut outbox, Plan::AfterAnother(late));
    assert!(outbox.take_due(start(), 10).is_empty());
    let other = add(&mut outbox, Plan::At(start()));
    assert_eq!(outbox.take_due(start(), 10)[0].id, other);
    assert!(outbox.take_due(start(), 10).is_empty());
    tried(&mut outbox, other, start(), Outcome::Code(0));
    assert_eq!(outbox.take_due(start(), 10)[0].id, held);

    let alone = add(&mut outbox, Plan::AfterAnother(late));
    assert_eq!(outbox.take_due(late, 10)[0].id, alone);
}

#[test]
fn a_withheld_one_is_sent_by_hand_only() {
    let mut outbox = Outbox::default();
    let id = add(&mut outbox, Plan::ByHand);
    assert_eq!(outbox.next_due(), None);
    assert!(outbox.take(id).is_some() && outbox.take(id).is_none());
    tried(&mut outbox, id, start(), Outcome::Status(500));
    assert_eq!((outbox.get(id).unwrap().state, outbox.next_due()), (State::Withheld, None));
}

proptest! {
    /// Whatever happens in whatever order: nothing is sent after its acceptance by itself, nothing more than a
    /// hundred times, and what is open has a time or a sender.
    #[test]
    fn every_notification_ends(steps in prop::collection::vec((0u8..4, 0u64..6, 0i64..90), 0..400)) {
        let mut outbox = Outbox::default();
        let mut now = start();
        for (what, which, minutes) in steps {
            now += TimeDelta::minutes(minutes);
            match what {
                0 => { add(&mut outbox, if which < 3 { Plan::At(now) } else { Plan::AfterAnother(now + TimeDelta::minutes(5)) }); }
                1 => { outbox.take(NoticeId(which)); }
                _ => for notice in outbox.take_due(now, 3) {
                    prop_assert!(outbox.get(notice.id).unwrap().tries < MAX_TRIES);
                    let outcome = if which == 0 { Outcome::Code(0) } else { Outcome::Unreadable };
                    tried(&mut outbox, notice.id, now, outcome);
                },
            }
            for delivery in outbox.deliveries() {
                let id = delivery.notice.id;
                let times = outbox.due.iter().filter(|(_, other)| *other == id).count();
                prop_assert_eq!(times, usize::from(matches!(delivery.state, State::Waiting(_))));
                let accepted = delivery.last.as_ref().is_some_and(|tried| tried.outcome.is_accepted());
                prop_assert!(!(accepted && matches!(delivery.state, State::Waiting(_))));
            }
        }
    }
}
