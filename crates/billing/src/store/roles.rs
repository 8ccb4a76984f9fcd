//! The roles that the auth service is to know. A reader of the event log writes down what each account's role came to be;
//! whoever pushes takes rows that are due, each leased to one caller at a time, and gives them back with what came of it.
//!
//! The order within an account is kept by the version, which is the position of the event; a role that changes again
//! before it was told is told once.

use std::collections::HashMap;

use chrono::{DateTime, SubsecRound, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::{StoreError, events};
use crate::event::{Event, EventKind, Position, ResumeToken};
use crate::schema::{event_reader, role_push, tariff};
use crate::{AccountId, TariffId};

/// The role of who has no access.
pub const BASE_USER: &str = "BaseUser";

/// The name of this reader.
const READER: &str = "role_push";

/// What a look at the log came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// There may be more: look again.
    More,
    CaughtUp,
    /// Somebody else is reading.
    Busy,
}

/// Reads on in the log, at most `limit` events, and writes down what roles they give. The place is kept in the same
/// transaction. If it is gone – the database was restored, or the events are kept no longer – all roles are written down
/// as they are now.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn follow(conn: &mut AsyncPgConnection, now: DateTime<Utc>, limit: i64) -> Result<Followed, StoreError> {
    events::sequence_all(conn, i32::try_from(limit).unwrap_or(i32::MAX)).await?;
    conn.transaction(async |conn| {
        let place = event_reader::table.find(READER).select((event_reader::epoch, event_reader::position));
        let place: Option<(uuid::Uuid, Position)> = place.for_update().skip_locked().first(conn).await.optional()?;
        let Some((epoch, position)) = place else { return Ok(Followed::Busy) };
        // Before the events: all up to its end are seen by the next statement.
        let log = events::log(conn).await?;
        let (read_to, followed) = match log.resume(ResumeToken { epoch, position }) {
            Ok(from) => {
                let kinds = [EventKind::AccessGranted, EventKind::AccessEnded];
                let told = events::read(conn, from, &kinds, None, limit).await?;
                write_down(conn, &told, now).await?;
                match told.last().and_then(|event| event.position) {
                    Some(last) if told.len() as i64 >= limit => (last, Followed::More),
                    last => (log.last_position.max(last.unwrap_or(from)), Followed::CaughtUp),
                }
            }
            Err(gone) => {
                let accounts = write_down_all(conn, log.last_position, now).await?;
                tracing::warn!(%gone, accounts, "all roles are told to the auth service anew");
                (log.last_position, Followed::CaughtUp)
            }
        };
        if (epoch, position) != (log.epoch, read_to) {
            diesel::update(event_reader::table.find(READER))
                .set((event_reader::epoch.eq(log.epoch), event_reader::position.eq(read_to)))
                .execute(conn)
                .await?;
        }
        Ok(followed)
    })
    .await
}

/// The last role that these events give each of their accounts.
async fn write_down(conn: &mut AsyncPgConnection, told: &[Event], now: DateTime<Utc>) -> Result<(), StoreError> {
    if told.is_empty() {
        return Ok(());
    }
    let roles = roles_of_tariffs(conn).await?;
    let mut last: HashMap<AccountId, (&str, Position)> = HashMap::new();
    for event in told {
        let (Some(account_id), Some(position)) = (event.account_id, event.position) else { continue };
        match role(event, &roles) {
            Some(role) => drop(last.insert(account_id, (role, position))),
            None => tracing::error!(%account_id, event = event.id, "access was granted by no tariff: no role follows"),
        }
    }
    let ids: Vec<uuid::Uuid> = last.keys().map(|id| id.get()).collect();
    let (roles, versions): (Vec<&str>, Vec<Position>) = last.values().copied().unzip();
    diesel::sql_query(WRITE_DOWN)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Text>, _>(roles)
        .bind::<Array<BigInt>, _>(versions)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// The same role again – a subscription was renewed – is no news. One that is just being told is told anew only when that
/// call has ended.
const WRITE_DOWN: &str = "
    insert into role_push (account_id, role, version, due_at)
    select account_id, role, version, $4
    from unnest($1, $2, $3) as fresh (account_id, role, version)
    on conflict (account_id) do update
    set role = excluded.role, version = excluded.version, due_at = greatest(excluded.due_at, role_push.leased_until)
    where role_push.version < excluded.version and role_push.role <> excluded.role";

async fn roles_of_tariffs(conn: &mut AsyncPgConnection) -> Result<HashMap<String, String>, StoreError> {
    let rows: Vec<(TariffId, String, Option<String>)> =
        tariff::table.select((tariff::id, tariff::name, tariff::role)).load(conn).await?;
    Ok(rows.into_iter().map(|(id, name, role)| (id.to_string(), role.unwrap_or(name))).collect())
}

fn role<'a>(event: &Event, roles: &'a HashMap<String, String>) -> Option<&'a str> {
    match event.kind {
        EventKind::AccessEnded => Some(BASE_USER),
        _ => roles.get(event.detail.get("tariff_id")?.as_str()?).map(String::as_str),
    }
}

/// Everybody who ever paid, with the role that is right now.
async fn write_down_all(
    conn: &mut AsyncPgConnection,
    version: Position,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    // Unlike an event it says nothing of what was told before: also the same role is told again.
    const ALL: &str = "
        insert into role_push (account_id, role, version, due_at)
        select a.id, case when a.status in ('Active', 'Overdue') then coalesce(t.role, t.name, $3) else $3 end, $1, $2
        from account a left join tariff t on t.id = a.tariff_id
        where a.status <> 'Inactive'
        on conflict (account_id) do update
        set role = excluded.role, version = excluded.version, due_at = greatest(excluded.due_at, role_push.leased_until)
        where role_push.version < excluded.version";
    let writing = diesel::sql_query(ALL)
        // An empty log has no position; a version is above 0.
        .bind::<BigInt, _>(version.max(1))
        .bind::<Timestamptz, _>(now)
        .bind::<Text, _>(BASE_USER);
    Ok(writing.execute(conn).await?)
}

/// A role to be told now, by whoever has claimed it.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Push {
    #[diesel(sql_type = SqlUuid)]
    pub account_id: AccountId,
    #[diesel(sql_type = Text)]
    pub role: String,
    #[diesel(sql_type = BigInt)]
    pub version: Position,
    /// Which call in a row it is that has not been acknowledged yet, 1 for the first.
    #[diesel(sql_type = Integer)]
    pub tries: i32,
    /// Nobody else tells this account a role until then.
    #[diesel(sql_type = Timestamptz)]
    pub leased_until: DateTime<Utc>,
}

/// What was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub due: Vec<Push>,
    /// As many calls are under way, from all workers together, as may be: what else is due waits for one of them to end.
    pub is_full: bool,
}

/// Whoever claims is alone while it counts the calls that are under way.
const ONE_CLAIMS: i64 = 7_216_309_245_014;

/// Claims at most `limit` roles that are due, those first that have waited longest, and no more than leave at most
/// `at_once` calls under way from all who claim. One whose lease is over is not under way any more: its caller has given it
/// up before.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn claim(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    leased_until: DateTime<Utc>,
    limit: i64,
    at_once: i64,
) -> Result<Claimed, StoreError> {
    conn.transaction(async |conn| {
        diesel::sql_query("select pg_advisory_xact_lock($1)").bind::<BigInt, _>(ONE_CLAIMS).execute(conn).await?;
        let under_way: i64 = role_push::table.filter(role_push::leased_until.gt(now)).count().get_result(conn).await?;
        let room = (at_once - under_way).max(0);
        let due = if room == 0 { Vec::new() } else { take(conn, now, leased_until, limit.min(room)).await? };
        let is_full = i64::try_from(due.len()).unwrap_or(i64::MAX) >= room;
        Ok(Claimed { due, is_full })
    })
    .await
}

async fn take(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    leased_until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Push>, StoreError> {
    const CLAIM: &str = "
        with due as (
            select account_id from role_push where version > acknowledged and due_at <= $1
            order by due_at limit $3 for update skip locked
        )
        update role_push set leased_until = $2, due_at = $2, tries = tries + 1
        from due where role_push.account_id = due.account_id
        returning role_push.account_id, role, version, tries, leased_until";
    let claiming = diesel::sql_query(CLAIM)
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(leased_until.trunc_subsecs(6))
        .bind::<BigInt, _>(limit);
    Ok(claiming.load(conn).await?)
}

/// When the next role is to be told; `None`: all are.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn next_due(conn: &mut AsyncPgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let waiting = role_push::table.filter(role_push::version.gt(role_push::acknowledged));
    Ok(waiting.order(role_push::due_at).select(role_push::due_at).first(conn).await.optional()?)
}

/// The auth service has taken it. If the role has changed meanwhile the new one is due.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn acknowledge(conn: &mut AsyncPgConnection, push: &Push, now: DateTime<Utc>) -> Result<(), StoreError> {
    const TAKEN: &str = "
        update role_push
        set acknowledged = greatest(acknowledged, $2), tries = 0, last_error = null,
            due_at = case when leased_until = $3 then $4 else due_at end,
            leased_until = case when leased_until = $3 then null else leased_until end
        where account_id = $1";
    let taking = diesel::sql_query(TAKEN)
        .bind::<SqlUuid, _>(push.account_id)
        .bind::<BigInt, _>(push.version)
        .bind::<Timestamptz, _>(push.leased_until)
        .bind::<Timestamptz, _>(now);
    taking.execute(conn).await?;
    Ok(())
}

/// The longest error kept, in characters.
const MAX_ERROR: usize = 1_000;

/// It was not acknowledged: the account's role – as it is then – is told again at `again_at`. Changes nothing if the lease
/// was over and somebody else has claimed it.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn put_off(
    conn: &mut AsyncPgConnection,
    push: &Push,
    error: &str,
    again_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let error: String = error.replace('\0', "").chars().take(MAX_ERROR).collect();
    let ours = role_push::table.find(push.account_id).filter(role_push::leased_until.eq(push.leased_until));
    diesel::update(ours)
        .set((
            role_push::leased_until.eq(None::<DateTime<Utc>>),
            role_push::due_at.eq(again_at),
            role_push::last_error.eq(error),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
