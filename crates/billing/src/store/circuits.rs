//! The circuits of the gateway, as all workers share them: a row each, read in the transaction that begins a request, and
//! written only when there is something to say against it.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{exists, sql};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::prepared::Prepare;
use super::{StoreError, events};
use crate::AccountId;
use crate::breaker::{Admission, Breaker, BreakerPolicy, Circuit, CircuitState, PROBE_TAKES, Signal, Turn};
use crate::event::{EventKind, NewEvent};
use crate::schema::{circuit, restore};

/// A circuit with why it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub circuit: Circuit,
    pub breaker: Breaker,
    /// For operators.
    pub reason: Option<String>,
}

/// How all circuits stand.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn all(conn: &mut AsyncPgConnection) -> Result<Vec<Standing>, StoreError> {
    let rows: Vec<Row> = circuit::table.order(circuit::name).select(Row::as_select()).load(conn).await?;
    Ok(rows.into_iter().map(Standing::from).collect())
}

/// How one circuit stands.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn get(conn: &mut AsyncPgConnection, which: Circuit) -> Result<Breaker, StoreError> {
    let row: Row = circuit::table.find(which).select(Row::as_select()).first(conn).await?;
    Ok(Standing::from(row).breaker)
}

/// What a request that may be sent tells the circuits when its response is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// It is the probe of these.
    gateway: bool,
    kept_cards: bool,
    /// Nothing was known against them: that it went well is no news.
    is_sound: bool,
}

impl Watch {
    /// For a request that nothing was asked about.
    pub const UNASKED: Self = Self { gateway: false, kept_cards: false, is_sound: false };

    /// Whether the request is the one that finds out how a circuit is.
    #[must_use]
    pub const fn is_probe_of(self, which: Circuit) -> bool {
        match which {
            Circuit::Gateway => self.gateway,
            Circuit::KeptCards => self.kept_cards,
        }
    }

    /// Whether these responses are news.
    #[must_use]
    pub fn is_news(self, heard: &[(Circuit, Signal)]) -> bool {
        heard.iter().any(|(which, signal)| match signal {
            Signal::Well => !self.is_sound,
            Signal::Neither => self.is_probe_of(*which),
            Signal::Failed | Signal::Refused => true,
        })
    }
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    Send(Watch),
    Wait(DateTime<Utc>),
}

/// After a restore it is looked again so soon whether charging goes on.
const HELD_FOR: TimeDelta = TimeDelta::minutes(1);

/// An account with unexplained money is looked at again so soon.
const UNEXPLAINED_FOR: TimeDelta = TimeDelta::hours(1);

/// Whether a request that these circuits are of may be sent at `now`. Nothing is while a restore is not reconciled; and
/// `by_itself`, without the customer, no account is charged that has money at the gateway which no row is of. Within the transaction that writes it down: if it is
/// a probe, it is the only one.
pub(super) async fn admit(
    conn: &mut AsyncPgConnection,
    of: &[Circuit],
    by_itself: Option<AccountId>,
    now: DateTime<Utc>,
) -> Result<Admitted, StoreError> {
    let standing = match read(conn, of, by_itself, now).await? {
        Read::Standing(standing) => standing,
        Read::Held(until) => return Ok(Admitted::Wait(until)),
    };
    let mut watch =
        Watch { gateway: false, kept_cards: false, is_sound: standing.iter().all(|at| at.breaker.is_sound()) };
    let mut probes = Vec::new();
    for Standing { circuit, breaker, .. } in standing {
        match breaker.admit(now) {
            Admission::Pass => {}
            Admission::Wait(until) => return Ok(Admitted::Wait(until)),
            Admission::Probe(next) => probes.push((circuit, breaker, next)),
        }
    }
    for (which, before, next) in probes {
        if !claim(conn, which, &before, &next).await? {
            give_back(conn, watch, now).await?;
            return Ok(Admitted::Wait(now + PROBE_TAKES));
        }
        match which {
            Circuit::Gateway => watch.gateway = true,
            Circuit::KeptCards => watch.kept_cards = true,
        }
    }
    Ok(Admitted::Send(watch))
}

/// What a request would find.
enum Read {
    Standing(Vec<Standing>),
    /// Nothing is sent before then, however the circuits stand.
    Held(DateTime<Utc>),
}

async fn read(
    conn: &mut AsyncPgConnection,
    of: &[Circuit],
    by_itself: Option<AccountId>,
    now: DateTime<Utc>,
) -> Result<Read, StoreError> {
    // One round trip for all of it.
    let is_held = exists(restore::table.filter(restore::lifted_at.is_null()));
    let is_unexplained = sql::<Bool>(
        "exists (select from difference where kind = 'missing_here' and state = 'open' and lower(account_id) = ",
    )
    .bind::<Nullable<Text>, _>(by_itself.map(|account| account.to_string()))
    .sql(")");
    let found: Vec<(Row, bool, bool)> = circuit::table
        .filter(circuit::name.eq_any(of))
        .order(circuit::name)
        .select((Row::as_select(), is_held, is_unexplained))
        .prepared()
        .load(conn)
        .await?;
    if found.iter().any(|(_, is_held, _)| *is_held) {
        return Ok(Read::Held(now + HELD_FOR));
    }
    if found.iter().any(|(.., is_unexplained)| *is_unexplained) {
        return Ok(Read::Held(now + UNEXPLAINED_FOR));
    }
    let rows = found.into_iter().map(|(row, ..)| row);
    Ok(Read::Standing(rows.map(Standing::from).collect()))
}

/// Until when a request that these circuits are of would have to wait, if it would. Claims nothing.
pub(super) async fn waits_until(
    conn: &mut AsyncPgConnection,
    of: &[Circuit],
    by_itself: Option<AccountId>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let waits = |standing: &Standing| match standing.breaker.admit(now) {
        Admission::Wait(until) => Some(until),
        Admission::Pass | Admission::Probe(_) => None,
    };
    Ok(match read(conn, of, by_itself, now).await? {
        Read::Held(until) => Some(until),
        Read::Standing(standing) => standing.iter().filter_map(waits).max(),
    })
}

/// Makes a request the probe, unless another has become it.
async fn claim(
    conn: &mut AsyncPgConnection,
    which: Circuit,
    before: &Breaker,
    next: &Breaker,
) -> Result<bool, StoreError> {
    let as_read = circuit::table.find(which).filter(circuit::state.eq(before.state));
    let claiming = diesel::update(as_read.filter(circuit::until.eq(before.until)))
        .set((circuit::state.eq(next.state), circuit::until.eq(next.until)));
    Ok(claiming.prepared().execute(conn).await? > 0)
}

/// What was claimed for a request that is not sent after all is free again.
async fn give_back(conn: &mut AsyncPgConnection, watch: Watch, now: DateTime<Utc>) -> Result<(), StoreError> {
    for which in Circuit::ALL.iter().filter(|which| watch.is_probe_of(**which)) {
        diesel::update(circuit::table.find(which)).set(circuit::until.eq(now)).execute(conn).await?;
    }
    Ok(())
}

/// A circuit that was opened or closed: to be told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    pub circuit: Circuit,
    pub turn: Turn,
    pub breaker: Breaker,
}

/// Takes what a response says of the circuits. `why`: in words, for operators. Returns those that turned.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn heard(
    conn: &mut AsyncPgConnection,
    watch: Watch,
    heard: &[(Circuit, Signal)],
    why: &str,
    policy: &BreakerPolicy,
    now: DateTime<Utc>,
) -> Result<Vec<Turned>, StoreError> {
    if !watch.is_news(heard) {
        return Ok(Vec::new());
    }
    conn.transaction(async |conn| {
        let mut turned = Vec::new();
        for (which, signal) in heard {
            let row: Row = circuit::table.find(which).select(Row::as_select()).for_no_key_update().first(conn).await?;
            let before = Standing::from(row).breaker;
            let (after, turn) = before.heard(*signal, watch.is_probe_of(*which), policy, now);
            if after == before {
                continue;
            }
            save(conn, *which, &after).await?;
            if let Some(turn) = turn {
                let clipped: String = why.replace('\0', "").chars().take(MAX_WHY).collect();
                let reason = Some(clipped).filter(|_| turn == Turn::Opened);
                diesel::update(circuit::table.find(which)).set(circuit::reason.eq(reason)).execute(conn).await?;
                turned.push(Turned { circuit: *which, turn, breaker: after });
            }
        }
        events::append(conn, turned.iter().filter_map(alarm).collect(), now).await?;
        Ok(turned)
    })
    .await
}

/// What the log of events is told: once, when it opens.
fn alarm(turned: &Turned) -> Option<NewEvent> {
    let opened = turned.turn == Turn::Opened;
    opened.then(|| NewEvent::of_nobody(EventKind::NeedsAttention).with("circuit", turned.circuit.as_str()))
}

/// The longest reason that is kept, in characters.
const MAX_WHY: usize = 500;

async fn save(conn: &mut AsyncPgConnection, which: Circuit, next: &Breaker) -> Result<(), StoreError> {
    let saving = diesel::update(circuit::table.find(which)).set((
        circuit::state.eq(next.state),
        circuit::since.eq(next.since),
        circuit::failures.eq(next.failures),
        circuit::calls.eq(next.calls),
        circuit::failed.eq(next.failed),
        circuit::counted_since.eq(next.counted_since),
        circuit::trips.eq(next.trips),
        circuit::until.eq(next.until),
    ));
    saving.prepared().execute(conn).await?;
    Ok(())
}

/// Ends the pause of a circuit: the next request finds out. Returns whether there was one.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn end_pause(conn: &mut AsyncPgConnection, which: Circuit, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let open = circuit::table.find(which).filter(circuit::state.eq(CircuitState::Open)).filter(circuit::until.gt(now));
    Ok(diesel::update(open).set(circuit::until.eq(now)).execute(conn).await? > 0)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = circuit, check_for_backend(diesel::pg::Pg))]
struct Row {
    name: Circuit,
    state: CircuitState,
    since: DateTime<Utc>,
    failures: i32,
    calls: i32,
    failed: i32,
    counted_since: Option<DateTime<Utc>>,
    trips: i32,
    until: Option<DateTime<Utc>>,
    reason: Option<String>,
}

impl From<Row> for Standing {
    fn from(row: Row) -> Self {
        let Row { name, state, since, failures, calls, failed, counted_since, trips, until, reason } = row;
        let breaker = Breaker { state, since, failures, calls, failed, counted_since, trips, until };
        Self { circuit: name, breaker, reason }
    }
}
