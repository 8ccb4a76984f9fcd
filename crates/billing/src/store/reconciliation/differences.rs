//! What does not agree, and what became of it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::{StoreError, events};
use super::runs::Run;
use crate::event::{EventKind, NewEvent};
use crate::reconciliation::{DifferenceKind, DifferenceState, Phase};
use crate::schema::{bill, difference, payment, reconciliation};
use crate::{AccountId, BillId, DifferenceId, Kopecks, PaymentId, ReconciliationId};

/// Who has decided where no person has.
pub const RECONCILIATION: &str = "reconciliation";

/// The longest reason and the longest name, in characters.
const MAX_REASON: usize = 1_000;
const MAX_NAME: usize = 255;

/// A difference as its row has it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = difference, check_for_backend(diesel::pg::Pg))]
pub struct Difference {
    pub id: DifferenceId,
    pub kind: DifferenceKind,
    /// What it is about: one row for one thing.
    pub subject: String,
    pub created_at: DateTime<Utc>,
    pub found_by: ReconciliationId,
    /// By the last run that has seen it.
    pub seen_at: DateTime<Utc>,
    pub seen_by: ReconciliationId,
    /// When the money moved.
    pub at: DateTime<Utc>,
    /// The gateway's number.
    pub transaction_id: Option<i64>,
    /// The payment of ours that it is about, if there is one.
    pub payment_id: Option<PaymentId>,
    /// As the gateway has it.
    pub account_id: Option<String>,
    pub invoice_id: Option<String>,
    pub our_amount: Option<Kopecks>,
    pub their_amount: Option<Kopecks>,
    pub our_currency: Option<String>,
    pub their_currency: Option<String>,
    pub our_state: Option<String>,
    pub their_status: Option<String>,
    pub state: DifferenceState,
    pub decided_at: Option<DateTime<Utc>>,
    pub decided_by: Option<String>,
    pub reason: Option<String>,
}

/// Which differences to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    pub state: Option<DifferenceState>,
    pub kind: Option<DifferenceKind>,
    /// Seen last by this run.
    pub run: Option<ReconciliationId>,
    /// Those before this one, in the order of the list.
    pub before: Option<(DateTime<Utc>, DifferenceId)>,
}

/// Differences, the latest money first; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn list(conn: &mut AsyncPgConnection, filter: Filter, limit: i64) -> Result<Vec<Difference>, StoreError> {
    let mut rows = difference::table.into_boxed();
    if let Some(state) = filter.state {
        rows = rows.filter(difference::state.eq(state));
    }
    if let Some(kind) = filter.kind {
        rows = rows.filter(difference::kind.eq(kind));
    }
    if let Some(run) = filter.run {
        rows = rows.filter(difference::seen_by.eq(run));
    }
    if let Some((at, id)) = filter.before {
        rows = rows.filter(difference::at.lt(at).or(difference::at.eq(at).and(difference::id.lt(id))));
    }
    let rows = rows.order((difference::at.desc(), difference::id.desc())).limit(limit);
    Ok(rows.select(Difference::as_select()).load(conn).await?)
}

/// A difference by its id.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn by_id(conn: &mut AsyncPgConnection, id: DifferenceId) -> Result<Option<Difference>, StoreError> {
    Ok(difference::table.find(id).select(Difference::as_select()).first(conn).await.optional()?)
}

/// Likewise, and nobody else decides about it until the transaction ends.
///
/// # Errors
/// [`StoreError::Db`].
pub(in crate::store) async fn by_id_for_update(
    conn: &mut AsyncPgConnection,
    id: DifferenceId,
) -> Result<Option<Difference>, StoreError> {
    let row = difference::table.find(id).select(Difference::as_select()).for_no_key_update();
    Ok(row.first(conn).await.optional()?)
}

/// What somebody decides about a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// [`Open`](DifferenceState::Open) takes an earlier decision back.
    pub state: DifferenceState,
    pub by: String,
    /// Why; it is kept with the difference and in the log of events.
    pub reason: String,
}

/// Why a decision was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    #[error("there is no difference {0}")]
    Unknown(DifferenceId),
    #[error("a reason of 1 to {MAX_REASON} characters is required")]
    Reason,
    #[error("a name of 1 to {MAX_NAME} characters is required")]
    By,
    #[error("it is so already")]
    NoChange,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for DecideError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Takes a decision about a difference.
///
/// # Errors
/// [`DecideError`].
pub async fn decide(
    conn: &mut AsyncPgConnection,
    id: DifferenceId,
    decision: Decision,
    now: DateTime<Utc>,
) -> Result<Difference, DecideError> {
    let Decision { state, by, reason } = decision;
    let (by, reason) = (by.replace('\0', ""), reason.replace('\0', ""));
    if !(1..=MAX_REASON).contains(&reason.trim().chars().count()) {
        return Err(DecideError::Reason);
    }
    if !(1..=MAX_NAME).contains(&by.trim().chars().count()) {
        return Err(DecideError::By);
    }
    conn.transaction(async |conn| {
        let row = difference::table.find(id).select(Difference::as_select()).for_no_key_update();
        let before: Difference = row.first(conn).await.optional()?.ok_or(DecideError::Unknown(id))?;
        if before.state == state && (state == DifferenceState::Open || before.reason.as_ref() == Some(&reason)) {
            return Err(DecideError::NoChange);
        }
        let decided = (state != DifferenceState::Open).then_some(());
        let after: Difference = diesel::update(difference::table.find(id))
            .set((
                difference::state.eq(state),
                difference::decided_at.eq(decided.map(|()| now)),
                difference::decided_by.eq(decided.map(|()| by.trim())),
                difference::reason.eq(decided.map(|()| reason.trim())),
            ))
            .returning(Difference::as_returning())
            .get_result(conn)
            .await?;
        let told = about(conn, &after).await?.states(Some(before.state.as_str()), state.as_str());
        let told = told.with("difference_id", id.to_string()).with("by", by.trim()).with("reason", reason.trim());
        events::append(conn, vec![told], now).await?;
        Ok(after)
    })
    .await
}

async fn about(conn: &mut AsyncPgConnection, difference: &Difference) -> Result<NewEvent, StoreError> {
    let Some(payment_id) = difference.payment_id else {
        return Ok(NewEvent::of_nobody(EventKind::DifferenceDecided));
    };
    let owner = payment::table.inner_join(bill::table).filter(payment::id.eq(payment_id));
    let (bill_id, account_id): (BillId, AccountId) = owner.select((bill::id, bill::account_id)).first(conn).await?;
    Ok(NewEvent::of_account(EventKind::DifferenceDecided, account_id).bill(bill_id).payment(payment_id))
}

/// Open differences that this run has seen, from its place on, at most `limit`: some can be put right without a person.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn to_settle(conn: &mut AsyncPgConnection, run: &Run, limit: i64) -> Result<Vec<Difference>, StoreError> {
    // In the order in which the money moved: of one account's periods the first comes first.
    let at = run.cursor_at.unwrap_or(DateTime::UNIX_EPOCH);
    let id = DifferenceId::from(run.cursor_difference.unwrap_or(uuid::Uuid::nil()));
    let rows = difference::table
        .filter(difference::seen_by.eq(run.id).and(difference::state.eq(DifferenceState::Open)))
        .filter(difference::at.gt(at).or(difference::at.eq(at).and(difference::id.gt(id))));
    Ok(rows.order((difference::at, difference::id)).limit(limit).select(Difference::as_select()).load(conn).await?)
}

/// Moves the run on behind a difference, which was put right (`how`) or waits for a person.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn settled(
    conn: &mut AsyncPgConnection,
    run: &Run,
    of: &Difference,
    how: Option<&str>,
    leased_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<Run>, StoreError> {
    conn.transaction(async |conn| {
        let mut settled = 0;
        if let Some(how) = how {
            let open = difference::table.find(of.id).filter(difference::state.eq(DifferenceState::Open));
            settled = diesel::update(open)
                .set((
                    difference::state.eq(DifferenceState::Resolved),
                    difference::decided_at.eq(now),
                    difference::decided_by.eq(RECONCILIATION),
                    difference::reason.eq(how.chars().take(MAX_REASON).collect::<String>()),
                ))
                .execute(conn)
                .await?;
        }
        let run = reconciliation::table.find(run.id).filter(reconciliation::phase.eq(Phase::Settling));
        let moved = diesel::update(run).set((
            reconciliation::cursor_at.eq(of.at),
            reconciliation::cursor_difference.eq(of.id.get()),
            reconciliation::settled.eq(reconciliation::settled + i64::try_from(settled).unwrap_or(0)),
            reconciliation::leased_until.eq(leased_until),
            reconciliation::trouble.eq(None::<String>),
            reconciliation::fruitless.eq(0),
        ));
        Ok(moved.returning(Run::as_returning()).get_result(conn).await.optional()?)
    })
    .await
}

/// What was open in the range, and the run has not seen: gateway and rows agree by now.
pub(super) async fn close_what_is_gone(
    conn: &mut AsyncPgConnection,
    run: &Run,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let closing = diesel::sql_query(
        "update difference set state = 'resolved', decided_at = $2, decided_by = $3, reason = 'they agree by now'
         where state = 'open' and at >= $4 and at < $5 and seen_by <> $1 and seen_at < $6",
    );
    closing
        .bind::<SqlUuid, _>(run.id.get())
        .bind::<Timestamptz, _>(now)
        .bind::<Text, _>(RECONCILIATION)
        .bind::<Timestamptz, _>(run.range_from)
        .bind::<Timestamptz, _>(run.range_to)
        .bind::<Timestamptz, _>(run.started_at.unwrap_or(run.created_at))
        .execute(conn)
        .await?;
    Ok(())
}
