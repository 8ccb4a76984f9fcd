//! Two beats with one store, any of which may die at any step.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::beat::CatchUp;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

fn plan(schedule: Schedule, catch_up: CatchUp) -> Plan {
    Plan {
        timetable: Timetable { schedule, start: None, end: None, catch_up },
        is_stored: false,
        one_off: false,
        is_spent: false,
        last_run_at: None,
    }
}

fn every(seconds: u64, catch_up: CatchUp) -> Plan {
    plan(Schedule::Every(Duration::from_secs(seconds)), catch_up)
}

fn plans(plan: Plan) -> HashMap<String, Plan> {
    HashMap::from([("a".to_owned(), plan)])
}

/// The store: what is recorded, by whoever holds the last term.
#[derive(Default)]
struct Store {
    term: u64,
    progress: HashMap<String, Progress>,
}

impl Store {
    fn record(&mut self, term: u64, records: &[Record]) -> bool {
        if term != self.term {
            return false;
        }
        for record in records {
            match record.progress {
                Some(progress) => drop(self.progress.insert(record.entry.clone(), progress)),
                None => drop(self.progress.remove(&record.entry)),
            }
        }
        true
    }
}

/// A beat, which believes to lead until it hears otherwise.
struct Model {
    term: u64,
    ticker: Ticker,
}

impl Model {
    fn lead(store: &mut Store, plan: &Plan) -> Self {
        store.term += 1;
        Self { term: store.term, ticker: Ticker::new(plans(plan.clone()), &store.progress) }
    }

    /// False: it has heard that it leads no longer.
    fn record(&mut self, store: &mut Store, now: DateTime<Utc>) -> bool {
        let records = self.ticker.records(now);
        let is_held = records.is_empty() || store.record(self.term, &records);
        if is_held {
            self.ticker.recorded(&records);
        }
        is_held
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The wall clock of all goes on, or is set back.
    Clock(i64),
    /// What is due is claimed, and what was sent is recorded.
    Record,
    Send,
    /// The broker takes it, but its confirmation is lost.
    SendUnconfirmed,
    /// Another leads: the one before has died, or its lease has run out before it did anything more.
    Succession,
    /// The one before, if it lives, tries to record once more.
    Ghost,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_i64..40).prop_map(Step::Clock),
        1 => (-30_i64..0).prop_map(Step::Clock),
        6 => Just(Step::Record),
        5 => Just(Step::Send),
        1 => Just(Step::SendUnconfirmed),
        2 => Just(Step::Succession),
        1 => Just(Step::Ghost),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn every_tick_is_sent_and_a_second_time_only_after_a_death_or_a_lost_confirmation_and_marked(steps in steps()) {
        let plan = every(10, CatchUp::All);
        let (mut store, mut now, mut instant) = (Store::default(), at(5), Instant::now());
        let mut beat = Model::lead(&mut store, &plan);
        prop_assert!(beat.record(&mut store, now));
        let mut ghost: Option<Model> = None;
        let (mut sent, mut accidents) = (Vec::<Tick>::new(), 0);
        let mut latest = now;
        for step in steps {
            instant += Duration::from_secs(2);
            match step {
                Step::Clock(seconds) => now += TimeDelta::seconds(seconds),
                Step::Record => prop_assert!(beat.record(&mut store, now)),
                Step::Send => for tick in beat.ticker.take_claimed(instant) {
                    beat.ticker.sent(&tick, now);
                    sent.push(tick);
                },
                Step::SendUnconfirmed => for tick in beat.ticker.take_claimed(instant) {
                    beat.ticker.failed(&tick, instant);
                    sent.push(tick);
                    accidents += 1;
                },
                Step::Succession => {
                    ghost = Some(std::mem::replace(&mut beat, Model::lead(&mut store, &plan)));
                    accidents += 1;
                }
                Step::Ghost => if let Some(ghost) = &mut ghost {
                    let before = store.progress.clone();
                    let wrote = ghost.record(&mut store, now);
                    prop_assert_eq!(&store.progress, &before, "a former leader wrote: {}", wrote);
                },
            }
            latest = latest.max(now);
        }
        // The last one works off what is left.
        now = now.max(latest);
        for _ in 0..2000 {
            instant += Duration::from_secs(2);
            prop_assert!(beat.record(&mut store, now));
            for tick in beat.ticker.take_claimed(instant) {
                beat.ticker.sent(&tick, now);
                sent.push(tick);
            }
            if beat.ticker.records(now).is_empty() {
                break;
            }
        }
        let expected: Vec<_> = (1..).map(|tick| at(tick * 10)).take_while(|tick| *tick <= now).collect();
        let mut distinct: Vec<_> = sent.iter().map(|tick| tick.time).collect();
        distinct.dedup();
        prop_assert_eq!(distinct, expected, "all, in order, and a resend right after what it repeats");
        prop_assert!(sent.len() - sent.iter().map(|tick| tick.time).collect::<std::collections::HashSet<_>>().len() <= accidents);
        let mut seen = std::collections::HashSet::new();
        for tick in &sent {
            prop_assert!(seen.insert(tick.time) || tick.again, "sent again without a mark: {:?}", tick);
        }
    }

    #[test]
    fn without_accidents_no_tick_is_marked_or_sent_twice(
        clock in proptest::collection::vec(-5_i64..30, 1..100),
        policy in prop_oneof![Just(CatchUp::All), Just(CatchUp::Once), Just(CatchUp::Skip), (0_u32..5).prop_map(CatchUp::UpTo)],
    ) {
        let (mut store, mut now) = (Store::default(), at(5));
        let mut beat = Model::lead(&mut store, &every(10, policy));
        let mut last = None;
        for seconds in clock {
            now += TimeDelta::seconds(seconds);
            prop_assert!(beat.record(&mut store, now));
            for tick in beat.ticker.take_claimed(Instant::now()) {
                prop_assert!(!tick.again);
                prop_assert!(last < Some(tick.time) && tick.time <= now);
                last = Some(tick.time);
                beat.ticker.sent(&tick, now);
            }
        }
    }
}

#[test]
fn an_entry_that_nobody_has_handled_begins_with_its_next_tick_and_the_successor_knows() {
    let mut store = Store::default();
    let mut beat = Model::lead(&mut store, &every(60, CatchUp::Once));
    assert!(beat.record(&mut store, at(30)));
    assert_eq!(beat.ticker.take_claimed(Instant::now()), []);
    assert_eq!(beat.ticker.pause(at(30), Instant::now()), Some(Duration::from_secs(30)));
    // It dies before the first tick.
    let mut successor = Model::lead(&mut store, &every(60, CatchUp::Once));
    assert!(successor.record(&mut store, at(61)));
    let tick = Tick { entry: "a".to_owned(), time: at(60), again: false, failures: 0 };
    assert_eq!(successor.ticker.take_claimed(Instant::now()), [tick]);
}

#[test]
fn a_one_off_entry_of_a_store_is_switched_off_with_the_record_of_its_tick() {
    for late in [false, true] {
        let clocked = plan(Schedule::Clocked(at(60)), CatchUp::Once);
        let clocked = Plan { is_stored: true, one_off: true, ..clocked };
        let mut beat = Model::lead(&mut Store::default(), &clocked);
        let mut now = at(if late { 500 } else { 30 });
        for _ in 0..2 {
            let records = beat.ticker.records(now);
            beat.ticker.recorded(&records);
            now = now.max(at(60));
        }
        let ticks = beat.ticker.take_claimed(Instant::now());
        assert_eq!(ticks.iter().map(|tick| tick.time).collect::<Vec<_>>(), [at(60)]);
        beat.ticker.sent(&ticks[0], now);
        let records = beat.ticker.records(now);
        assert!(records[0].disable && records[0].sent_at == Some(now));
        beat.ticker.recorded(&records);
        assert_eq!((beat.ticker.records(now), beat.ticker.pause(now, Instant::now())), (Vec::new(), None));
    }
}

#[test]
fn an_entry_of_a_store_that_has_expired_is_switched_off_and_one_in_code_is_left() {
    for is_stored in [false, true] {
        let mut plan = Plan { is_stored, ..every(10, CatchUp::Once) };
        plan.timetable.end = Some(at(20));
        let mut store = Store::default();
        let mut beat = Model::lead(&mut store, &plan);
        assert!(beat.record(&mut store, at(5)));
        store.progress.insert("a".to_owned(), Progress { handled: Some(at(10)), sending: None });
        beat = Model::lead(&mut store, &plan);
        let disabled = beat.ticker.records(at(20)).iter().any(|record| record.disable);
        assert_eq!(disabled, is_stored);
    }
}

#[test]
fn an_entry_that_goes_is_forgotten_and_one_that_comes_back_begins_anew() {
    let mut store = Store::default();
    let mut beat = Model::lead(&mut store, &every(10, CatchUp::All));
    assert!(beat.record(&mut store, at(5)));
    beat.ticker.change(HashMap::new());
    assert!(beat.record(&mut store, at(6)));
    assert!(store.progress.is_empty());
    beat.ticker.change(plans(every(10, CatchUp::All)));
    assert!(beat.record(&mut store, at(95)));
    assert_eq!(beat.ticker.take_claimed(Instant::now()), []);
    assert_eq!(store.progress["a"].handled, Some(at(95)));
}

#[test]
fn a_change_of_the_schedule_keeps_what_was_handled() {
    let mut store = Store::default();
    let mut beat = Model::lead(&mut store, &every(10, CatchUp::All));
    assert!(beat.record(&mut store, at(5)));
    beat.ticker.change(plans(every(15, CatchUp::All)));
    assert!(beat.record(&mut store, at(16)));
    assert_eq!(beat.ticker.take_claimed(Instant::now())[0].time, at(15));
}

#[test]
fn a_one_off_entry_that_another_beat_has_sent_is_switched_off_and_not_sent_again() {
    let sent =
        Plan { is_stored: true, one_off: true, is_spent: true, last_run_at: Some(at(100)), ..every(10, CatchUp::All) };
    let mut beat = Model::lead(&mut Store::default(), &sent);
    let records = beat.ticker.records(at(500));
    assert!(records.len() == 1 && records[0].disable && records[0].sent_at.is_none(), "{records:?}");
    beat.ticker.recorded(&records);
    assert_eq!(beat.ticker.take_claimed(Instant::now()), []);
}

#[test]
fn an_entry_that_cannot_be_sent_tries_less_often_each_time_up_to_a_minute() {
    let mut store = Store::default();
    let mut beat = Model::lead(&mut store, &every(10, CatchUp::All));
    assert!(beat.record(&mut store, at(5)));
    assert!(beat.record(&mut store, at(10)));
    let mut instant = Instant::now();
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        let ticks = beat.ticker.take_claimed(instant);
        assert_eq!(ticks.len(), 1, "after {pause} s");
        beat.ticker.failed(&ticks[0], instant);
        let pause = Duration::from_secs(pause);
        assert_eq!(beat.ticker.pause(at(10), instant), Some(pause));
        instant += pause;
    }
}

#[test]
fn a_tick_on_its_way_is_not_sent_twice_and_its_end_is_nobody_elses() {
    let mut store = Store::default();
    let mut beat = Model::lead(&mut store, &every(10, CatchUp::All));
    assert!(beat.record(&mut store, at(5)));
    assert!(beat.record(&mut store, at(10)));
    let instant = Instant::now();
    let ticks = beat.ticker.take_claimed(instant);
    assert_eq!((beat.ticker.take_claimed(instant), beat.ticker.pause(at(10), instant)), (Vec::new(), None));
    // The entry goes, and one of its name comes back.
    beat.ticker.change(HashMap::new());
    assert!(beat.record(&mut store, at(11)));
    beat.ticker.change(plans(every(10, CatchUp::All)));
    assert!(beat.record(&mut store, at(12)));
    beat.ticker.sent(&ticks[0], at(13));
    assert_eq!(beat.ticker.records(at(13)), []);
}

#[test]
fn so_many_entries_that_hang_keep_no_more_than_their_places() {
    let names: Vec<_> = (0..300).map(|number| format!("{number:03}")).collect();
    let plans: HashMap<_, _> = names.iter().map(|name| (name.clone(), every(10, CatchUp::All))).collect();
    let before = Progress { handled: Some(at(5)), sending: None };
    let mut beat = Ticker::new(plans, &names.iter().map(|name| (name.clone(), before)).collect());
    for _ in 0..2 {
        let records = beat.records(at(10));
        beat.recorded(&records);
    }
    let instant = Instant::now();
    let first = beat.take_claimed(instant);
    assert_eq!((first.len(), beat.take_claimed(instant).len()), (MAX_SENDING, 0));
    for tick in &first {
        beat.failed(tick, instant);
    }
    // Those that have not failed come first.
    let then = beat.take_claimed(instant + RETRY_AFTER);
    assert!(then[..44].iter().all(|tick| tick.failures == 0) && then.len() == MAX_SENDING);
}

#[test]
fn a_tick_that_cannot_be_sent_is_left_alone_for_a_second_and_holds_no_other_up() {
    let mut beat = Ticker::new(
        HashMap::from([("a".to_owned(), every(10, CatchUp::All)), ("b".to_owned(), every(10, CatchUp::All))]),
        &HashMap::from(["a", "b"].map(|name| (name.to_owned(), Progress { handled: Some(at(5)), sending: None }))),
    );
    let instant = Instant::now();
    let records = beat.records(at(10));
    beat.recorded(&records);
    let ticks = beat.take_claimed(instant);
    assert_eq!(ticks.len(), 2);
    beat.failed(&ticks[0], instant);
    beat.sent(&ticks[1], at(10));
    assert_eq!(beat.take_claimed(instant), []);
    assert_eq!(beat.records(at(10)).len(), 1);
    let again = beat.take_claimed(instant + RETRY_AFTER);
    assert!(again.len() == 1 && again[0].again && again[0].entry == "a");
}
