//! One action on all rows of a filtered list: money given back after an outage, access extended for everybody.
//!
//! What the filter found when it was looked at is frozen as rows of [`bulk_item`](crate::schema::bulk_item): what is done later
//! is done to exactly these. A second person lets it begin; then workers go through it, a row in a transaction, each under an
//! id that follows from the action's. So nothing is done twice, however often a worker dies or is told to.

mod run;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

pub use self::run::{BulkStep, bulk_step, take_bulk};
use super::{By, Entry, StoreError, audit};
use crate::account::AccountStatus;
use crate::macros::text_enum;
use crate::payment::PaymentState;
use crate::refund::{AccessEffect, RefundState};
use crate::schema::{bulk, bulk_item, refund};
use crate::staff::StaffId;
use crate::store::browse::{self, AccountFilter, Part, PaymentFilter, Slice};
use crate::store::payments::PaymentView;
use crate::{AccountId, Currency, Kopecks, PaymentId, RefundId};

/// The most rows of one action.
pub const MAX_ITEMS: i64 = 5_000;
/// A second person agrees within this time, or it is over.
pub const BULK_AGREED_WITHIN: TimeDelta = TimeDelta::hours(24);
/// The most days by which everybody is extended.
pub const MAX_BULK_DAYS: u16 = 31;
/// The longest description of the conditions that is kept, in bytes.
const MAX_CONDITIONS: usize = 1_000;

text_enum! {
    /// What is done to each row.
    pub enum BulkKind {
        /// The paid time ends later.
        Extend = "extend",
        /// All that is left of the payment goes back.
        Refund = "refund",
    }
}

text_enum! {
    /// How far an action on many rows is.
    pub enum BulkState {
        /// It is looked at.
        Draft = "draft",
        /// A second person is to agree.
        Waiting = "waiting",
        Running = "running",
        /// Nothing is done until somebody lets it go on.
        Paused = "paused",
        /// It was ended before its end.
        Stopped = "stopped",
        Done = "done",
        /// It was taken back before it began.
        Withdrawn = "withdrawn",
    }
}

text_enum! {
    /// What became of a row.
    pub enum ItemState {
        Waiting = "waiting",
        Done = "done",
        /// Nothing was done to it; why is beside it.
        Refused = "refused",
        /// The action was stopped before it.
        Left = "left",
    }
}

text_enum! {
    /// Why nothing was done to a row.
    pub enum Refusal {
        NothingPaid = "nothing_paid",
        Closed = "closed",
        /// No money was taken, or it is not known whether.
        NotTaken = "not_taken",
        TooOld = "too_old",
        /// Another refund of it is under way.
        Unfinished = "unfinished",
        /// Less is left than when it was looked at.
        LessLeft = "less_left",
        ChargedBack = "charged_back",
        /// Above the limits of who asked and who agreed.
        OverLimit = "over_limit",
        /// Its rows contradict each other: a person must look.
        Defect = "defect",
    }
}

/// What is to be done, and to which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAsk {
    Extend { days: u16, of: AccountFilter },
    Refund { effect: AccessEffect, of: PaymentFilter },
}

impl BulkAsk {
    const fn kind(&self) -> BulkKind {
        match self {
            Self::Extend { .. } => BulkKind::Extend,
            Self::Refund { .. } => BulkKind::Refund,
        }
    }
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    #[error("there is no action {0}")]
    Unknown(Uuid),
    #[error("more than {MAX_ITEMS} rows fit the conditions")]
    TooMany,
    #[error("no row that fits the conditions can take it")]
    Nothing,
    #[error("the payments are of several currencies")]
    Currencies,
    #[error("from 1 to {MAX_BULK_DAYS} days")]
    Days,
    #[error("why: from 3 to 500 characters")]
    Reason,
    #[error("whoever agrees must be another person")]
    SamePerson,
    /// Only whoever looked at it asks for it.
    #[error("somebody else has prepared it")]
    AnothersDraft,
    #[error("it is {0}")]
    Is(BulkState),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for BulkError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// An action on many rows.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = bulk, check_for_backend(diesel::pg::Pg))]
pub struct Bulk {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    pub kind: BulkKind,
    pub days: Option<i32>,
    pub effect: Option<AccessEffect>,
    /// The conditions, as they stand in the address of the list.
    pub conditions: String,
    pub staff_id: StaffId,
    pub made_by: String,
    pub made_role: String,
    pub address: String,
    pub reason: Option<String>,
    pub items: i32,
    /// Rows that fit the conditions, and could not take it.
    pub left_out: i32,
    pub total: Kopecks,
    pub currency: Option<Currency>,
    pub state: BulkState,
    pub asked_at: Option<DateTime<Utc>>,
    pub approved_by: Option<String>,
    pub approved_role: Option<String>,
    pub approved_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

impl Bulk {
    /// Whether it is too late to agree to it.
    #[must_use]
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.state == BulkState::Waiting && self.asked_at.is_some_and(|at| at + BULK_AGREED_WITHIN <= now)
    }

    /// Whoever has prepared it.
    #[must_use]
    pub fn maker(&self) -> By {
        By {
            staff_id: Some(self.staff_id),
            name: self.made_by.clone(),
            role: self.made_role.clone(),
            address: self.address.clone(),
        }
    }
}

/// A row of it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = bulk_item, check_for_backend(diesel::pg::Pg))]
pub struct BulkItem {
    pub no: i32,
    pub account_id: AccountId,
    pub payment_id: Option<PaymentId>,
    pub amount: Option<Kopecks>,
    pub state: ItemState,
    pub why: Option<Refusal>,
    pub refund_id: Option<RefundId>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// How many rows came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub waiting: i64,
    pub done: i64,
    pub refused: i64,
    pub left: i64,
    /// The money of those that are done.
    pub moved: Kopecks,
}

struct NewItem {
    account_id: AccountId,
    payment_id: Option<PaymentId>,
    amount: Option<Kopecks>,
}

/// Writes down which rows fit, to be looked at. The same id again is the same draft.
///
/// # Errors
/// [`BulkError`].
pub async fn freeze_bulk(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    ask: BulkAsk,
    conditions: &str,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Bulk, BulkError> {
    let staff_id = by.staff_id.ok_or(BulkError::AnothersDraft)?;
    conn.transaction(async |conn| {
        forget_drafts(conn, now).await?;
        if let Some(same) = bulk_by_id(conn, id).await? {
            return if same.staff_id == staff_id { Ok(same) } else { Err(BulkError::AnothersDraft) };
        }
        let (found, items, currency) = match ask {
            BulkAsk::Extend { days, of } => {
                if !(1..=MAX_BULK_DAYS).contains(&days) {
                    return Err(BulkError::Days);
                }
                let (found, items) = running(conn, of).await?;
                (found, items, None)
            }
            BulkAsk::Refund { of, .. } => taken(conn, of).await?,
        };
        if items.is_empty() {
            return Err(BulkError::Nothing);
        }
        let (days, effect) = match ask {
            BulkAsk::Extend { days, .. } => (Some(i32::from(days)), None),
            BulkAsk::Refund { effect, .. } => (None, Some(effect)),
        };
        let count = i32::try_from(items.len()).unwrap_or(i32::MAX);
        let total: i64 = items.iter().filter_map(|item| item.amount).map(Kopecks::get).sum();
        let conditions: String = conditions.chars().filter(|c| *c != '\0').take(MAX_CONDITIONS / 4).collect();
        let made: Bulk = diesel::insert_into(bulk::table)
            .values((
                (bulk::id.eq(id), bulk::created_at.eq(now), bulk::kind.eq(ask.kind()), bulk::days.eq(days)),
                (bulk::effect.eq(effect), bulk::conditions.eq(conditions), bulk::staff_id.eq(staff_id)),
                (bulk::made_by.eq(&by.name), bulk::made_role.eq(&by.role), bulk::address.eq(&by.address)),
                (bulk::items.eq(count), bulk::left_out.eq(found - count), bulk::total.eq(total)),
                (bulk::currency.eq(currency), bulk::state.eq(BulkState::Draft)),
            ))
            .returning(Bulk::as_returning())
            .get_result(conn)
            .await?;
        let mut rows = (1_i32..).zip(items).map(|(no, item)| {
            (
                bulk_item::bulk_id.eq(id),
                bulk_item::no.eq(no),
                bulk_item::account_id.eq(item.account_id),
                bulk_item::payment_id.eq(item.payment_id),
                bulk_item::amount.eq(item.amount),
            )
        });
        loop {
            // A statement takes at most 65,535 parameters.
            let some: Vec<_> = rows.by_ref().take(2_000).collect();
            if some.is_empty() {
                return Ok(made);
            }
            diesel::insert_into(bulk_item::table).values(some).execute(conn).await?;
        }
    })
    .await
}

/// What nobody asked for within a day is nobody's any more.
async fn forget_drafts(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<(), StoreError> {
    let old =
        bulk::table.filter(bulk::state.eq(BulkState::Draft)).filter(bulk::created_at.lt(now - TimeDelta::days(1)));
    let ids: Vec<Uuid> = old.select(bulk::id).for_update().load(conn).await?;
    diesel::delete(bulk_item::table.filter(bulk_item::bulk_id.eq_any(&ids))).execute(conn).await?;
    diesel::delete(bulk::table.filter(bulk::id.eq_any(&ids))).execute(conn).await?;
    Ok(())
}

/// Of the accounts that fit, those whose access can be extended; and how many fit.
async fn running(conn: &mut AsyncPgConnection, of: AccountFilter) -> Result<(i32, Vec<NewItem>), BulkError> {
    let found = all(browse::accounts(conn, of, Part::First, MAX_ITEMS).await?)?;
    let count = i32::try_from(found.len()).unwrap_or(i32::MAX);
    let runs = |status| matches!(status, AccountStatus::Active | AccountStatus::Overdue);
    let items = found.into_iter().filter(|line| runs(line.status) && line.paid_until.is_some());
    Ok((count, items.map(|line| NewItem { account_id: line.id, payment_id: None, amount: None }).collect()))
}

/// Of the payments that fit, those of which something is left to go back; how many fit, and in what currency they are.
async fn taken(
    conn: &mut AsyncPgConnection,
    of: PaymentFilter,
) -> Result<(i32, Vec<NewItem>, Option<Currency>), BulkError> {
    let found = all(browse::payments(conn, of, Part::First, MAX_ITEMS).await?)?;
    let count = i32::try_from(found.len()).unwrap_or(i32::MAX);
    let found: Vec<PaymentView> = found.into_iter().filter(|view| view.state == PaymentState::Succeeded).collect();
    let currency = found.as_slice().first().map(|view| view.currency);
    if found.iter().any(|view| Some(view.currency) != currency) {
        return Err(BulkError::Currencies);
    }
    let ids: Vec<PaymentId> = found.iter().map(|view| view.id).collect();
    let back: Vec<(PaymentId, Kopecks)> = refund::table
        .filter(refund::payment_id.eq_any(ids))
        .filter(refund::state.ne(RefundState::Failed))
        .select((refund::payment_id, refund::amount))
        .load(conn)
        .await?;
    let mut gone = std::collections::HashMap::<PaymentId, i64>::new();
    for (id, amount) in back {
        *gone.entry(id).or_default() += amount.get();
    }
    let item = |view: PaymentView| {
        let left = view.amount.get() - gone.get(&view.id).copied().unwrap_or_default();
        let amount = Some(Kopecks::new(left)).filter(|left| left.get() > 0)?;
        Some(NewItem { account_id: view.account_id, payment_id: Some(view.id), amount: Some(amount) })
    };
    Ok((count, found.into_iter().filter_map(item).collect(), currency))
}

fn all<T>(slice: Slice<T>) -> Result<Vec<T>, BulkError> {
    if slice.has_older { Err(BulkError::TooMany) } else { Ok(slice.rows) }
}

/// One action.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulk_by_id(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Option<Bulk>, StoreError> {
    Ok(bulk::table.find(id).select(Bulk::as_select()).first(conn).await.optional()?)
}

/// All that were asked for, the newest first: a part of them.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulks(
    conn: &mut AsyncPgConnection,
    state: Option<BulkState>,
    part: Part<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Slice<Bulk>, StoreError> {
    let mut query = bulk::table.filter(bulk::state.ne(BulkState::Draft)).into_boxed();
    if let Some(state) = state {
        query = query.filter(bulk::state.eq(state));
    }
    // Compared as a row: rows of one time are found by the index, however many there are.
    let beyond = |sign: &str, (at, id): &(DateTime<Utc>, Uuid)| {
        sql::<Bool>(&format!("(bulk.created_at, bulk.id) {sign} ("))
            .bind::<Timestamptz, _>(*at)
            .sql(", ")
            .bind::<diesel::sql_types::Uuid, _>(*id)
            .sql(")")
    };
    query = match &part {
        Part::First => query.order((bulk::created_at.desc(), bulk::id.desc())),
        Part::OlderThan(place) => query.filter(beyond("<", place)).order((bulk::created_at.desc(), bulk::id.desc())),
        Part::NewerThan(place) => query.filter(beyond(">", place)).order((bulk::created_at.asc(), bulk::id.asc())),
    };
    let rows = query.limit(limit + 1).select(Bulk::as_select()).load(conn).await?;
    Ok(Slice::new(rows, &part, limit))
}

/// Those that wait for somebody to agree, the oldest first; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulks_waiting(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Bulk>, StoreError> {
    let waiting = bulk::table.filter(bulk::state.eq(BulkState::Waiting));
    let waiting = waiting.filter(bulk::asked_at.gt(now - BULK_AGREED_WITHIN));
    Ok(waiting.order(bulk::asked_at).limit(limit).select(Bulk::as_select()).load(conn).await?)
}

/// Its rows, in their order, behind a number; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulk_items(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    state: Option<ItemState>,
    part: Part<i32>,
    limit: i64,
) -> Result<Slice<BulkItem>, StoreError> {
    let mut query = bulk_item::table.filter(bulk_item::bulk_id.eq(id)).into_boxed();
    if let Some(state) = state {
        query = query.filter(bulk_item::state.eq(state));
    }
    query = match part {
        Part::First => query.order(bulk_item::no.asc()),
        Part::OlderThan(no) => query.filter(bulk_item::no.gt(no)).order(bulk_item::no.asc()),
        Part::NewerThan(no) => query.filter(bulk_item::no.lt(no)).order(bulk_item::no.desc()),
    };
    let rows = query.limit(limit + 1).select(BulkItem::as_select()).load(conn).await?;
    Ok(Slice::new(rows, &part, limit))
}

/// How far it is.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulk_progress(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Progress, StoreError> {
    use diesel::dsl::{count_star, sql};
    use diesel::sql_types::BigInt;
    let rows: Vec<(ItemState, i64, i64)> = bulk_item::table
        .filter(bulk_item::bulk_id.eq(id))
        .group_by(bulk_item::state)
        .select((bulk_item::state, count_star(), sql::<BigInt>("coalesce(sum(amount), 0)::bigint")))
        .load(conn)
        .await?;
    let mut progress = Progress { waiting: 0, done: 0, refused: 0, left: 0, moved: Kopecks::ZERO };
    for (state, count, amount) in rows {
        match state {
            ItemState::Waiting => progress.waiting = count,
            ItemState::Done => (progress.done, progress.moved) = (count, Kopecks::new(amount)),
            ItemState::Refused => progress.refused = count,
            ItemState::Left => progress.left = count,
        }
    }
    Ok(progress)
}

/// Whoever prepared it asks a second person to let it begin.
///
/// # Errors
/// [`BulkError`].
pub async fn ask_bulk(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    reason: &str,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Bulk, BulkError> {
    if !(3..=super::MAX_REASON).contains(&reason.trim().chars().count()) {
        return Err(BulkError::Reason);
    }
    conn.transaction(async |conn| {
        let row = locked(conn, id).await?;
        if Some(row.staff_id) != by.staff_id {
            return Err(BulkError::AnothersDraft);
        }
        match row.state {
            BulkState::Draft => {}
            BulkState::Waiting => return Ok(row),
            state => return Err(BulkError::Is(state)),
        }
        let asked = (bulk::state.eq(BulkState::Waiting), bulk::asked_at.eq(now), bulk::reason.eq(reason.trim()));
        let row: Bulk =
            diesel::update(bulk::table.find(id)).set(asked).returning(Bulk::as_returning()).get_result(conn).await?;
        log(conn, "bulk_asked", &row, BulkState::Draft, by, now).await?;
        Ok(row)
    })
    .await
}

/// What may be said to an action that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkWord {
    /// The second person lets it begin. After this send [`RunBulks`](crate::tasks::RunBulks).
    Approve,
    Pause,
    /// Let it go on. After this send [`RunBulks`](crate::tasks::RunBulks).
    Resume,
    /// What is not done yet is left.
    Stop,
    /// It is taken back before it begins.
    Withdraw,
}

impl BulkWord {
    const fn name(self) -> &'static str {
        match self {
            Self::Approve => "bulk_approved",
            Self::Pause => "bulk_paused",
            Self::Resume => "bulk_resumed",
            Self::Stop => "bulk_stopped",
            Self::Withdraw => "bulk_withdrawn",
        }
    }

    /// From which states, and to which. Said again it is as it is.
    const fn moves(self) -> (&'static [BulkState], BulkState) {
        match self {
            Self::Approve => (&[BulkState::Waiting], BulkState::Running),
            Self::Pause => (&[BulkState::Running], BulkState::Paused),
            Self::Resume => (&[BulkState::Paused], BulkState::Running),
            Self::Stop => (&[BulkState::Running, BulkState::Paused], BulkState::Stopped),
            Self::Withdraw => (&[BulkState::Draft, BulkState::Waiting], BulkState::Withdrawn),
        }
    }
}

/// Says it, with a line in the audit log. No row is done any more once this has returned for [`BulkWord::Pause`] or
/// [`BulkWord::Stop`].
///
/// # Errors
/// [`BulkError`].
pub async fn tell_bulk(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    word: BulkWord,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Bulk, BulkError> {
    conn.transaction(async |conn| {
        let row = locked(conn, id).await?;
        let (from, to) = word.moves();
        if row.state == to {
            return Ok(row);
        }
        let is_late = word == BulkWord::Approve && row.has_expired(now);
        if !from.contains(&row.state) || is_late {
            return Err(BulkError::Is(if is_late { BulkState::Withdrawn } else { row.state }));
        }
        if word == BulkWord::Approve && row.made_by == by.name {
            return Err(BulkError::SamePerson);
        }
        let before = row.state;
        let moving = (bulk::state.eq(to), bulk::lease_until.eq(None::<DateTime<Utc>>));
        let approving = (
            bulk::approved_by.eq(Some(&by.name)),
            bulk::approved_role.eq(Some(&by.role)),
            bulk::approved_at.eq(Some(now)),
        );
        let changing = diesel::update(bulk::table.find(id));
        let mut row: Bulk = if word == BulkWord::Approve {
            changing.set((moving, approving)).returning(Bulk::as_returning()).get_result(conn).await?
        } else {
            changing.set(moving).returning(Bulk::as_returning()).get_result(conn).await?
        };
        if matches!(to, BulkState::Stopped | BulkState::Withdrawn) {
            let rest =
                bulk_item::table.filter(bulk_item::bulk_id.eq(id)).filter(bulk_item::state.eq(ItemState::Waiting));
            diesel::update(rest)
                .set((bulk_item::state.eq(ItemState::Left), bulk_item::ended_at.eq(now)))
                .execute(conn)
                .await?;
            row = diesel::update(bulk::table.find(id))
                .set(bulk::ended_at.eq(now))
                .returning(Bulk::as_returning())
                .get_result(conn)
                .await?;
        }
        log(conn, word.name(), &row, before, by, now).await?;
        Ok(row)
    })
    .await
}

async fn locked(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Bulk, BulkError> {
    let row = bulk::table.find(id).select(Bulk::as_select()).for_update().first(conn).await.optional()?;
    row.ok_or(BulkError::Unknown(id))
}

async fn log(
    conn: &mut AsyncPgConnection,
    action: &str,
    row: &Bulk,
    before: BulkState,
    by: &By,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let after = json!({
        "state": row.state.as_str(),
        "kind": row.kind.as_str(),
        "days": row.days,
        "rows": row.items,
        "total": row.total.get(),
        "conditions": row.conditions,
    });
    let target = row.id.to_string();
    let entry = Entry::new(action).target("bulk", &target).before(json!({ "state": before.as_str() })).after(after);
    let entry = match &row.reason {
        Some(reason) => entry.reason(reason),
        None => entry,
    };
    audit(conn, by, &entry, now).await
}
