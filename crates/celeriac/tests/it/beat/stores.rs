//! What every schedule store does.

use std::sync::Arc;
use std::time::Duration;

use celeriac::beat::store::{Change, EntryDefinition, Lease, Progress, Record, ScheduleStore, StoreError};
use celeriac::beat::{MemoryScheduleStore, PostgresScheduleStore, RedisScheduleStore, Schedule};
use chrono::{DateTime, Utc};
use testkit::{RedisDb, TestDatabase};
use tokio_postgres::NoTls;

use crate::worker::setup::SOON;

const TIMEOUT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);

/// A store, and the hands of the operator who edits its entries.
pub(super) struct Place {
    pub(super) store: Arc<dyn ScheduleStore>,
    operator: Operator,
}

enum Operator {
    Memory(Arc<MemoryScheduleStore>),
    Redis { connection: redis::aio::MultiplexedConnection, _server: RedisDb },
    Postgres { client: tokio_postgres::Client, _database: TestDatabase },
}

impl Place {
    pub(super) fn memory() -> Self {
        let store = Arc::new(MemoryScheduleStore::default());
        Self { store: store.clone(), operator: Operator::Memory(store) }
    }

    pub(super) async fn redis() -> Self {
        let server = testkit::redis().await;
        let client = redis::Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let store = RedisScheduleStore::connect(server.url(), TIMEOUT).await.unwrap();
        Self { store: Arc::new(store), operator: Operator::Redis { connection, _server: server } }
    }

    pub(super) async fn postgres() -> Self {
        let database = testkit::postgres().await;
        let store = PostgresScheduleStore::connect(database.url(), TIMEOUT).await.unwrap();
        let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        Self { store: Arc::new(store), operator: Operator::Postgres { client, _database: database } }
    }

    /// Adds an interval entry, or changes it.
    pub(super) async fn put(&mut self, entry: &EntryDefinition) {
        match &mut self.operator {
            Operator::Memory(store) => store.set_entry(entry.clone()),
            Operator::Redis { connection, .. } => redis::pipe()
                .hset("celeriac:{beat}:entries", &entry.name, entry.to_json())
                .incr("celeriac:{beat}:version", 1)
                .exec_async(connection)
                .await
                .unwrap(),
            Operator::Postgres { client, .. } => {
                let Schedule::Every(every) = entry.schedule else { panic!("only intervals here") };
                let micros = i32::try_from(every.as_micros()).unwrap();
                let sql = "WITH interval AS (
                        INSERT INTO django_celery_beat_intervalschedule (every, period) VALUES ($1, 'microseconds') RETURNING id
                    ) INSERT INTO django_celery_beat_periodictask (name, task, args, kwargs, headers, interval_id, enabled,
                        one_off, total_run_count, date_changed, description)
                    SELECT $2, $3, $4, $5, '{}', id, $6, $7, 0, now(), '' FROM interval
                    ON CONFLICT (name) DO UPDATE SET interval_id = excluded.interval_id, enabled = excluded.enabled,
                        one_off = excluded.one_off";
                let (args, kwargs) = (entry.args.as_str(), entry.kwargs.as_str());
                client
                    .execute(sql, &[&micros, &entry.name, &entry.task, &args, &kwargs, &entry.enabled, &entry.one_off])
                    .await
                    .unwrap();
                self.tell().await;
            }
        }
    }

    /// What Django does after each change.
    async fn tell(&self) {
        if let Operator::Postgres { client, .. } = &self.operator {
            let sql = "INSERT INTO django_celery_beat_periodictasks (ident, last_update) VALUES (1, clock_timestamp())
                       ON CONFLICT (ident) DO UPDATE SET last_update = excluded.last_update";
            client.execute(sql, &[]).await.unwrap();
        }
    }

    pub(super) async fn remove(&mut self, name: &str) {
        match &mut self.operator {
            Operator::Memory(store) => store.remove_entry(name),
            Operator::Redis { connection, .. } => redis::pipe()
                .hdel("celeriac:{beat}:entries", name)
                .incr("celeriac:{beat}:version", 1)
                .exec_async(connection)
                .await
                .unwrap(),
            Operator::Postgres { client, .. } => {
                client.execute("DELETE FROM django_celery_beat_periodictask WHERE name = $1", &[&name]).await.unwrap();
                self.tell().await;
            }
        }
    }

    pub(super) async fn entry(&self, name: &str) -> EntryDefinition {
        let stored = self.store.entries(None).await.unwrap().unwrap();
        stored.entries.into_iter().find(|entry| entry.name == name).unwrap()
    }
}

macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        mod memory { $(#[tokio::test] async fn $test() { super::$test(super::Place::memory()).await; })* }
        mod redis_server { $(#[tokio::test] async fn $test() { super::$test(super::Place::redis().await).await; })* }
        mod postgres { $(#[tokio::test] async fn $test() { super::$test(super::Place::postgres().await).await; })* }
    };
}

on_every_store!(
    one_beat_leads_at_a_time_and_a_new_one_has_a_greater_term,
    a_lease_that_is_not_extended_ends,
    only_the_leader_records_and_all_of_it_is_found_again,
    entries_are_read_again_when_they_have_changed,
    what_was_sent_is_counted_once_and_a_one_off_entry_is_switched_off,
);

async fn lead(place: &Place, beat: &str, ttl: Duration) -> Option<Lease> {
    let term = place.store.lead(beat, ttl).await.unwrap()?;
    Some(Lease { beat: beat.to_owned(), term })
}

fn at(text: &str) -> Option<DateTime<Utc>> {
    Some(text.parse().unwrap())
}

fn record(entry: &str, handled: Option<DateTime<Utc>>, sending: Option<DateTime<Utc>>) -> Record {
    Record { entry: entry.to_owned(), progress: Some(Progress { handled, sending }), sent_at: None, disable: false }
}

async fn one_beat_leads_at_a_time_and_a_new_one_has_a_greater_term(place: Place) {
    assert_eq!(place.store.leader().await.unwrap(), None);
    let first = lead(&place, "a", LONG).await.unwrap();
    assert_eq!(place.store.leader().await.unwrap(), Some(first.clone()));
    assert_eq!(lead(&place, "b", LONG).await, None);
    assert_eq!(lead(&place, "a", LONG).await, Some(first.clone()), "extended");
    place.store.resign(&first).await.unwrap();
    assert_eq!(place.store.leader().await.unwrap(), None, "nobody can be told from the last one");
    let second = lead(&place, "b", LONG).await.unwrap();
    assert!(second.term > first.term);
    place.store.resign(&first).await.unwrap();
    assert_eq!(lead(&place, "a", LONG).await, None, "only the holder can give it back");
    place.store.resign(&second).await.unwrap();
    assert!(lead(&place, "b", LONG).await.unwrap().term > second.term, "given back, it is taken anew");
}

async fn a_lease_that_is_not_extended_ends(place: Place) {
    let first = lead(&place, "a", Duration::from_millis(100)).await.unwrap();
    let second = testkit::eventually(SOON, async || lead(&place, "b", LONG).await).await;
    assert!(second.term > first.term);
    let refused = place.store.record(&first, &[record("x", at("2026-01-01T00:00:00Z"), None)]).await;
    assert!(matches!(refused, Err(StoreError::NotLeading)), "{refused:?}");
}

async fn only_the_leader_records_and_all_of_it_is_found_again(place: Place) {
    let lease = lead(&place, "a", LONG).await.unwrap();
    let (one, two) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:10.000125Z"));
    place.store.record(&lease, &[record("x", one, two), record("y ü\"", one, None)]).await.unwrap();
    let progress = place.store.progress().await.unwrap();
    assert_eq!(progress.len(), 2);
    assert_eq!(progress["x"], Progress { handled: one, sending: two });
    assert_eq!(progress["y ü\""], Progress { handled: one, sending: None });
    for other in [Lease { beat: "b".to_owned(), ..lease.clone() }, Lease { term: lease.term + 1, ..lease.clone() }] {
        let refused = place.store.record(&other, &[record("x", two, None)]).await;
        assert!(matches!(refused, Err(StoreError::NotLeading)), "{refused:?}");
    }
    assert_eq!(place.store.progress().await.unwrap(), progress);
    let forgotten = Record { progress: None, ..record("x", None, None) };
    place.store.record(&lease, &[forgotten, record("y ü\"", two, None)]).await.unwrap();
    let progress = place.store.progress().await.unwrap();
    assert_eq!(
        progress.into_iter().collect::<Vec<_>>(),
        [("y ü\"".to_owned(), Progress { handled: two, sending: None })]
    );
}

fn hourly(name: &str) -> EntryDefinition {
    EntryDefinition::new(name, "tick", Schedule::Every(Duration::from_secs(2000)))
}

async fn entries_are_read_again_when_they_have_changed(mut place: Place) {
    let empty = place.store.entries(None).await.unwrap().unwrap();
    assert!(empty.entries.is_empty());
    place.put(&hourly("x")).await;
    let found = place.store.entries(Some(&empty.version)).await.unwrap().unwrap();
    let [entry] = &found.entries[..] else { panic!("{found:?}") };
    assert_eq!((entry.name.as_str(), entry.task.as_str(), entry.enabled), ("x", "tick", true));
    assert_eq!(entry.schedule, Schedule::Every(Duration::from_secs(2000)));
    assert!(place.store.entries(Some(&found.version)).await.unwrap().is_none());
    place.put(&EntryDefinition { enabled: false, ..hourly("x") }).await;
    let found = place.store.entries(Some(&found.version)).await.unwrap().unwrap();
    assert!(!found.entries[0].enabled);
    place.remove("x").await;
    assert!(place.store.entries(Some(&found.version)).await.unwrap().unwrap().entries.is_empty());
}

async fn what_was_sent_is_counted_once_and_a_one_off_entry_is_switched_off(mut place: Place) {
    let lease = lead(&place, "a", LONG).await.unwrap();
    place.put(&hourly("x")).await;
    place.put(&hourly("y")).await;
    let version = place.store.entries(None).await.unwrap().unwrap().version;
    let (tick, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:01Z"));
    place.store.record(&lease, &[record("x", None, tick)]).await.unwrap();
    assert_eq!(place.entry("x").await.total_run_count, 0);
    let sent = Record { sent_at: now, ..record("x", tick, None) };
    for _ in 0..2 {
        place.store.record(&lease, std::slice::from_ref(&sent)).await.unwrap();
        let entry = place.entry("x").await;
        assert_eq!((entry.total_run_count, entry.last_run_at), (1, now));
    }
    assert!(place.store.entries(Some(&version)).await.unwrap().is_none(), "counting is no change");
    place.store.record(&lease, &[Record { disable: true, sent_at: now, ..record("y", tick, None) }]).await.unwrap();
    let changed = place.store.entries(Some(&version)).await.unwrap().unwrap();
    assert_eq!(changed.entries.iter().filter(|entry| entry.enabled).count(), 1);
    assert!(!place.entry("y").await.enabled);
}

/// What a person changes from a page: seen by beats, as Django's admin pages would have written it.
#[tokio::test]
async fn entries_are_switched_and_moved_by_a_person() {
    for mut place in [Place::memory(), Place::redis().await, Place::postgres().await] {
        let store = Arc::clone(&place.store);
        let nothing = Change::Enabled(false);
        assert!(!store.change("report", &nothing).await.unwrap(), "there is none");
        place.put(&EntryDefinition::new("report", "shop.report", Schedule::Every(Duration::from_secs(60)))).await;
        let version = store.entries(None).await.unwrap().unwrap().version;

        assert!(store.change("report", &Change::Enabled(false)).await.unwrap());
        let changed = store.entries(Some(&version)).await.unwrap().expect("the change is seen");
        assert!(!changed.entries[0].enabled);
        assert!(store.change("report", &Change::Enabled(true)).await.unwrap());

        let mondays = Schedule::Crontab("30 4 * * 1".parse().unwrap(), chrono_tz::Europe::Moscow);
        for schedule in
            [mondays, Schedule::Every(Duration::from_millis(1_500)), Schedule::Every(Duration::from_secs(60))]
        {
            assert!(store.change("report", &Change::Schedule(schedule.clone())).await.unwrap());
            let entries = store.entries(None).await.unwrap().unwrap().entries;
            assert_eq!((entries.len(), entries[0].enabled, &entries[0].schedule), (1, true, &schedule));
        }
    }
}
