//! Two beats, of which one dies.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac::beat::store::{EntryDefinition, Lease, Progress, Record, ScheduleStore, StoreError, StoredEntries};
use celeriac::beat::{CatchUp, SENT_AGAIN, Schedule};
use celeriac::broker::Delivery;
use celeriac::protocol::Value;
use celeriac::{App, Beat, Entry};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::stores::Place;
use super::{Tick, id};
use crate::worker::setup::{SOON, Setup, drain};

const EVERY: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_secs(1);

/// Where a beat dies in the work on a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    BeforeTheClaim,
    AfterTheClaim,
    AfterTheSending,
    AfterTheRecord,
}

/// A store that hangs for ever at one step, at which the beat is then killed: it writes, sends and renews no more.
struct Deadly {
    store: Arc<dyn ScheduleStore>,
    step: Step,
    is_reached: CancellationToken,
}

impl Deadly {
    async fn reach(&self, step: Step) {
        if step == self.step {
            self.is_reached.cancel();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl ScheduleStore for Deadly {
    async fn lead(&self, beat: &str, ttl: Duration) -> Result<Option<u64>, StoreError> {
        self.store.lead(beat, ttl).await
    }

    async fn leader(&self) -> Result<Option<Lease>, StoreError> {
        self.store.leader().await
    }

    async fn resign(&self, lease: &Lease) -> Result<(), StoreError> {
        self.store.resign(lease).await
    }

    async fn entries(&self, seen: Option<&str>) -> Result<Option<StoredEntries>, StoreError> {
        self.store.entries(seen).await
    }

    async fn progress(&self) -> Result<HashMap<String, Progress>, StoreError> {
        self.store.progress().await
    }

    async fn record(&self, lease: &Lease, records: &[Record]) -> Result<(), StoreError> {
        let claims = records.iter().any(|record| record.progress.is_some_and(|progress| progress.sending.is_some()));
        let is_sent = records.iter().any(|record| record.sent_at.is_some());
        if is_sent {
            self.reach(Step::AfterTheSending).await;
        } else if claims {
            self.reach(Step::BeforeTheClaim).await;
        }
        self.store.record(lease, records).await?;
        if is_sent {
            self.reach(Step::AfterTheRecord).await;
        } else if claims {
            self.reach(Step::AfterTheClaim).await;
        }
        Ok(())
    }
}

fn start(app: &App, store: Arc<dyn ScheduleStore>, stop: &CancellationToken) -> JoinHandle<()> {
    let entry = Entry::every("ticking", EVERY, Tick { number: 1 }).catch_up(CatchUp::All);
    let beat = Beat::builder(app.clone()).entry(entry).store(store).lease(LEASE).build();
    tokio::spawn(beat.run(stop.clone()))
}

/// The tick of a task by its id, which is a promise: the same in every version.
fn tick_of(id: &str, around: i64) -> i64 {
    let namespace = Uuid::from_u128(0x3e29_b00a_7ec4_56b5_976c_a112_5c45_b78b);
    let id: Uuid = id.parse().unwrap();
    let period = i64::try_from(EVERY.as_micros()).unwrap();
    let ticks = (around / period - 600)..(around / period + 600);
    let is_it = |tick: &i64| Uuid::new_v5(&namespace, format!("ticking@{}", tick * period).as_bytes()) == id;
    ticks.into_iter().find(is_it).expect("a tick of the last minute")
}

fn is_marked(delivery: &Delivery) -> bool {
    delivery.message.headers.get(SENT_AGAIN) == Some(&Value::Bool(true))
}

async fn dies_at_each_step(place: Place) {
    let setup = Setup::memory().await;
    for step in [Step::BeforeTheClaim, Step::AfterTheClaim, Step::AfterTheSending, Step::AfterTheRecord] {
        let app = setup.app().await;
        app.declare_queue("ticks").await.unwrap();
        let stop = CancellationToken::new();
        let is_reached = CancellationToken::new();
        let deadly = Deadly { store: place.store.clone(), step, is_reached: is_reached.clone() };
        let first = start(&app, Arc::new(deadly), &CancellationToken::new());
        tokio::time::timeout(SOON, is_reached.cancelled()).await.unwrap();
        let second = start(&app, place.store.clone(), &stop);
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let died = Instant::now();
        let around = celeriac::clock::now().timestamp_micros();
        let early = usize::from(matches!(step, Step::AfterTheSending | Step::AfterTheRecord));
        let mut ticks = drain(&app, "ticks", early + 1).await;
        assert!(died.elapsed() < LEASE * 4, "{step:?}: another leads soon");
        ticks.extend(drain(&app, "ticks", 15).await);
        stop.cancel();
        tokio::time::timeout(SOON, second).await.unwrap().unwrap();
        let rest = app.broker().queue_depth("ticks").await.unwrap().unwrap().messages;
        ticks.extend(drain(&app, "ticks", usize::try_from(rest).unwrap()).await);

        let times: Vec<_> = ticks.iter().map(|delivery| tick_of(&id(delivery), around)).collect();
        let distinct: HashSet<_> = times.iter().copied().collect();
        let span = times.iter().max().unwrap() - times.iter().min().unwrap() + 1;
        assert_eq!(span, i64::try_from(distinct.len()).unwrap(), "{step:?}: no tick is skipped: {times:?}");
        let twice = usize::from(step == Step::AfterTheSending);
        assert_eq!(times.len() - distinct.len(), twice, "{step:?}: {times:?}");
        let marked = usize::from(matches!(step, Step::AfterTheClaim | Step::AfterTheSending));
        assert_eq!(ticks.iter().filter(|delivery| is_marked(delivery)).count(), marked, "{step:?}");
        // The next beat would catch up what nobody sends between these rounds.
        let lease = Lease { beat: "test".to_owned(), term: place.store.lead("test", LEASE).await.unwrap().unwrap() };
        let forget = Record { entry: "ticking".to_owned(), progress: None, sent_at: None, disable: false };
        place.store.record(&lease, &[forget]).await.unwrap();
        place.store.resign(&lease).await.unwrap();
    }
}

#[tokio::test]
async fn a_beat_that_dies_at_any_step_of_a_tick_has_a_successor_that_skips_nothing_redis() {
    dies_at_each_step(Place::redis().await).await;
}

#[tokio::test]
async fn a_beat_that_dies_at_any_step_of_a_tick_has_a_successor_that_skips_nothing_postgres() {
    dies_at_each_step(Place::postgres().await).await;
}

#[tokio::test]
async fn a_beat_that_stops_in_order_is_followed_at_once_and_no_tick_is_sent_twice_or_skipped() {
    let setup = Setup::memory().await;
    let app = setup.app().await;
    app.declare_queue("ticks").await.unwrap();
    let place = Place::redis().await;
    let entry = || Entry::every("ticking", EVERY, Tick { number: 1 }).catch_up(CatchUp::All);
    let start = |stop: &CancellationToken| {
        // With the default lease, which nobody could wait for here.
        let beat = Beat::builder(app.clone()).entry(entry()).store(place.store.clone()).build();
        tokio::spawn(beat.run(stop.clone()))
    };
    let (stop_first, stop_second) = (CancellationToken::new(), CancellationToken::new());
    let first = start(&stop_first);
    let around = celeriac::clock::now().timestamp_micros();
    let mut ticks = drain(&app, "ticks", 3).await;
    let second = start(&stop_second);
    stop_first.cancel();
    tokio::time::timeout(SOON, first).await.unwrap().unwrap();
    let stopped = Instant::now();
    ticks.extend(drain(&app, "ticks", 12).await);
    assert!(stopped.elapsed() < Duration::from_secs(6), "{:?}", stopped.elapsed());
    stop_second.cancel();
    tokio::time::timeout(SOON, second).await.unwrap().unwrap();
    let times: Vec<_> = ticks.iter().map(|delivery| tick_of(&id(delivery), around)).collect();
    let expected: Vec<_> = (times[0]..).take(times.len()).collect();
    assert_eq!(times, expected);
    assert!(!ticks.iter().any(is_marked));
}

#[tokio::test]
async fn changes_of_the_stored_entries_are_seen_while_a_beat_runs() {
    for mut place in [Place::memory(), Place::redis().await, Place::postgres().await] {
        let setup = Setup::memory().await;
        let app = setup.app().await;
        app.declare_queue("celery").await.unwrap();
        let stop = CancellationToken::new();
        let beat = tokio::spawn(Beat::builder(app.clone()).store(place.store.clone()).build().run(stop.clone()));
        let mut entry = EntryDefinition::new("stored", "tick", Schedule::Every(EVERY));
        place.put(&entry).await;
        let ticks = drain(&app, "celery", 3).await;
        let name = ticks[0].message.headers.get("periodic_task_name");
        assert_eq!(name, Some(&Value::from("stored")));
        assert_eq!(ticks[0].message.headers.get("celery_beat_task"), Some(&Value::Bool(true)));
        testkit::eventually(SOON, async || place.entry("stored").await.total_run_count >= 3).await;
        entry.one_off = true;
        place.put(&entry).await;
        testkit::eventually(SOON, async || !place.entry("stored").await.enabled).await;
        assert_eq!(place.entry("stored").await.total_run_count, 0, "as Celery leaves a one-off entry");
        stop.cancel();
        tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
    }
}
