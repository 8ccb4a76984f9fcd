//! The list of refunds.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{Made, Part, Slice, Sort, StoreError, beyond, least_id};
use crate::models::RefundRow;
use crate::refund::{RefundSource, RefundState};
use crate::schema::refund;
use crate::{Kopecks, RefundId};

/// By what refunds are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RefundKey {
    /// When they were asked for.
    #[default]
    Made,
    Amount,
}

/// Where a row stands in the list; its amount counts where they are sorted by it.
pub type RefundCursor = (Kopecks, RefundId);

/// Which refunds, and how they are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefundFilter {
    pub state: Option<RefundState>,
    pub source: Option<RefundSource>,
    /// Only those that wait for a second person.
    pub waits: bool,
    pub made: Made,
    pub sort: Sort<RefundKey>,
}

/// A part of the refunds.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn refunds(
    conn: &mut AsyncPgConnection,
    filter: RefundFilter,
    part: Part<RefundCursor>,
    limit: i64,
) -> Result<Slice<RefundRow>, StoreError> {
    let mut query = refund::table.into_boxed();
    let state = if filter.waits { Some(RefundState::Requested) } else { filter.state };
    if let Some(state) = state {
        query = query.filter(sql::<Bool>(&format!("refund.state = '{}'", state.as_str())));
    }
    if filter.waits {
        query = query.filter(refund::needs_approval.and(refund::approved_by.is_null()));
    }
    if let Some(source) = filter.source {
        query = query.filter(refund::source.eq(source));
    }
    if let Some(from) = filter.made.from {
        query = query.filter(refund::id.ge(RefundId::from(least_id(from))));
    }
    if let Some(before) = filter.made.before {
        query = query.filter(refund::id.lt(RefundId::from(least_id(before))));
    }
    let (place, is_ascending) = part.reading(filter.sort.order);
    query = match (place, filter.sort.by) {
        (None, _) => query,
        (Some((_, id)), RefundKey::Made) if is_ascending => query.filter(refund::id.gt(*id)),
        (Some((_, id)), RefundKey::Made) => query.filter(refund::id.lt(*id)),
        // Compared as a row: rows of one amount are found by the index, however many there are.
        (Some((amount, id)), RefundKey::Amount) => query.filter(
            sql::<Bool>(&format!("(refund.amount, refund.id) {} (", beyond(is_ascending)))
                .bind::<BigInt, _>(amount.get())
                .sql(", ")
                .bind::<diesel::sql_types::Uuid, _>(id.get())
                .sql(")"),
        ),
    };
    query = match (filter.sort.by, is_ascending) {
        (RefundKey::Made, true) => query.order(refund::id.asc()),
        (RefundKey::Made, false) => query.order(refund::id.desc()),
        (RefundKey::Amount, true) => query.order((refund::amount.asc(), refund::id.asc())),
        (RefundKey::Amount, false) => query.order((refund::amount.desc(), refund::id.desc())),
    };
    let rows = query.limit(limit + 1).select(RefundRow::as_select()).load(conn).await?;
    Ok(Slice::new(rows, &part, limit))
}
