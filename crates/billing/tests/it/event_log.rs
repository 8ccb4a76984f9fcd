//! The log of events: nobody who reads it in order misses a row, and nobody changes it.

use billing::AccountId;
use billing::event::{Event, EventKind, NewEvent, ResumeToken, Source};
use billing::store::events::{self, Gone};
use billing::trail::{self, Trail};
use diesel_async::{AsyncConnection, RunQueryDsl};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::shop::Shop;
use crate::support::{at, noon};

fn registered(account: AccountId) -> NewEvent {
    NewEvent::of_account(EventKind::AccountRegistered, account)
}

async fn append(shop: &Shop, event: NewEvent) {
    events::append(&mut *shop.conn().await, vec![event], noon()).await.unwrap();
}

async fn sequence(shop: &Shop) -> i64 {
    events::sequence(&mut *shop.conn().await, 1_000).await.unwrap()
}

async fn read(shop: &Shop, after: i64) -> Vec<Event> {
    events::read(&mut *shop.conn().await, after, &[], None, 1_000).await.unwrap()
}

async fn accounts_after(shop: &Shop, after: i64) -> Vec<AccountId> {
    read(shop, after).await.into_iter().filter_map(|event| event.account_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_commits_after_a_later_one_was_read_is_not_missed() {
    let shop = Shop::open().await;
    let start = sequence(&shop).await;
    let (slow, quick) = (AccountId::new(), AccountId::new());
    let (written, is_written) = oneshot::channel();
    let (commit, may_commit) = oneshot::channel::<()>();
    let mut conn = shop.conn().await;
    let writing = tokio::spawn(async move {
        conn.transaction(async |conn| {
            events::append(conn, vec![registered(slow)], noon()).await?;
            written.send(()).unwrap();
            may_commit.await.unwrap();
            Ok::<_, billing::store::StoreError>(())
        })
        .await
        .unwrap();
    });
    is_written.await.unwrap();
    append(&shop, registered(quick)).await;
    let position = sequence(&shop).await;
    assert_eq!(accounts_after(&shop, start).await, [quick], "the earlier id is not committed yet");

    commit.send(()).unwrap();
    writing.await.unwrap();
    sequence(&shop).await;
    assert_eq!(accounts_after(&shop, position).await, [slow], "it comes behind what was read");
    let ids: Vec<i64> = read(&shop, start).await.iter().map(|event| event.id).collect();
    assert!(ids[0] > ids[1], "although its id is lower: {ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sequencers_at_once_leave_no_gap_and_no_double() {
    let shop = Shop::open().await;
    let start = sequence(&shop).await;
    let accounts: Vec<AccountId> = (0..60).map(|_| AccountId::new()).collect();
    for chunk in accounts.chunks(5) {
        for &account in chunk {
            append(&shop, registered(account)).await;
        }
        let mut all = Vec::new();
        for _ in 0..4 {
            let mut conn = shop.conn().await;
            all.push(tokio::spawn(async move { events::sequence(&mut conn, 2).await.unwrap() }));
        }
        for one in all {
            one.await.unwrap();
        }
    }
    while shop.count("event where is_public and position is null").await > 0 {
        sequence(&shop).await;
    }
    let read = read(&shop, start).await;
    let positions: Vec<i64> = read.iter().filter_map(|event| event.position).collect();
    assert_eq!(positions, (start + 1..=start + 60).collect::<Vec<_>>());
    assert_eq!(
        read.iter().filter_map(|event| event.account_id).collect::<Vec<_>>(),
        accounts,
        "in the order of their ids"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_staff_sees_is_given_no_position() {
    let shop = Shop::open().await;
    let start = sequence(&shop).await;
    let account = AccountId::new();
    append(&shop, NewEvent::of_account(EventKind::AccountMoved, account).states(Some("Active"), "Overdue")).await;
    assert_eq!(sequence(&shop).await, start);
    assert_eq!(read(&shop, start).await, []);
    let story = events::story_of_account(&mut *shop.conn().await, account, None, 10).await.unwrap();
    assert_eq!(story.len(), 1);
    assert_eq!((story[0].from_state.as_deref(), story[0].to_state.as_deref()), (Some("Active"), Some("Overdue")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_says_on_whose_behalf_it_was_written() {
    let shop = Shop::open().await;
    let account = AccountId::new();
    let trail =
        Trail { task_id: Some("open-renewals-1".into()), trace_id: Some("7f".into()), ..Trail::of(Source::Timetable) };
    trail::follow(trail, append(&shop, registered(account))).await;
    let story = events::story_of_account(&mut *shop.conn().await, account, None, 10).await.unwrap();
    assert_eq!(story[0].source, Source::Timetable);
    assert_eq!(story[0].task_id.as_deref(), Some("open-renewals-1"));
    assert_eq!(story[0].trace_id.as_deref(), Some("7f"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_append_only() {
    let shop = Shop::open().await;
    append(&shop, registered(AccountId::new())).await;
    sequence(&shop).await;
    for statement in [
        "update event set kind = 'access_ended'",
        "update event set position = position + 1",
        "update event set detail = '{\"a\": 1}'",
        "delete from event",
        "truncate event",
    ] {
        let refused = shop.sql(statement).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_place_is_gone_is_told_why() {
    let shop = Shop::open().await;
    append(&shop, registered(AccountId::new())).await;
    sequence(&shop).await;
    let log = events::log(&mut *shop.conn().await).await.unwrap();
    assert_eq!(log.resume(log.end()), Ok(log.last_position));
    assert_eq!(log.resume(ResumeToken { epoch: Uuid::from_u128(1), ..log.end() }), Err(Gone::OtherEpoch));
    assert_eq!(log.resume(ResumeToken { position: log.last_position + 1, ..log.end() }), Err(Gone::Ahead));
    let later = events::Log { dropped_position: log.last_position, ..log };
    assert_eq!(later.resume(ResumeToken { position: log.last_position - 1, ..log.end() }), Err(Gone::Dropped));
}

#[tokio::test(flavor = "multi_thread")]
async fn months_are_made_ahead_and_dropped_when_their_time_is_over() {
    let shop = Shop::open().await;
    let (old, young) = (AccountId::new(), AccountId::new());
    let old_at = at("2020-02-10T00:00:00Z");
    events::append(&mut *shop.conn().await, vec![registered(old)], old_at).await.unwrap();
    append(&shop, registered(young)).await;
    sequence(&shop).await;
    let before = events::log(&mut *shop.conn().await).await.unwrap();
    assert_eq!(shop.count("event_default").await, 2, "neither month was made in time");

    // Made late: what is there already moves in.
    events::keep(&mut *shop.conn().await, old_at, old_at).await.unwrap();
    assert_eq!(shop.count("event_2020_02").await, 1);
    assert_eq!(shop.count("event_default").await, 1);

    let (_, dropped) = events::keep(&mut *shop.conn().await, noon(), at("2026-01-01T00:00:00Z")).await.unwrap();
    assert_eq!(dropped, 3, "three months were made, all of them are over");
    assert_eq!(accounts_after(&shop, 0).await, [young]);
    let after = events::log(&mut *shop.conn().await).await.unwrap();
    assert_eq!(after.resume(ResumeToken { position: 0, ..before.end() }), Err(Gone::Dropped));
    assert_eq!(after.resume(before.end()), Ok(before.last_position));
    assert_eq!(events::keep(&mut *shop.conn().await, noon(), old_at).await.unwrap(), (0, 0), "nothing is left to do");
}

/// Readers and the sequencer look for few rows among many.
#[tokio::test(flavor = "multi_thread")]
async fn readers_and_the_sequencer_use_their_indexes() {
    let shop = Shop::open().await;
    shop.sql(
        "insert into event (at, kind, account_id, source, is_public)
         select '2026-03-10', 'access_granted', gen_random_uuid(), 'worker', n % 2 = 0 from generate_series(1, 20000) n",
    )
    .await
    .unwrap();
    while shop.count("event where is_public and position is null").await > 0 {
        events::sequence(&mut *shop.conn().await, 5_000).await.unwrap();
    }
    shop.sql("analyze event").await.unwrap();
    for (query, index) in [
        ("select * from event where position > 9000 order by position limit 100", "position"),
        (
            "select * from event where account_id = '0193d5b0-0000-7000-8000-000000000001' order by id desc limit 10",
            "account_id",
        ),
        ("select * from event where is_public and position is null order by id limit 100", "id_idx"),
    ] {
        let plan = explain(&shop, query).await;
        assert!(plan.contains(index) && !plan.contains("Seq Scan on event_default"), "{query}\n{plan}");
    }
}

pub(crate) async fn explain(shop: &Shop, query: &str) -> String {
    #[derive(diesel::QueryableByName)]
    struct Line {
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let lines: Vec<Line> = diesel::sql_query(format!("explain {query}")).load(&mut *shop.conn().await).await.unwrap();
    lines.into_iter().map(|line| line.line + "\n").collect()
}
