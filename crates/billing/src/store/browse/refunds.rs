//! The list of refunds.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{Made, Part, Slice, StoreError, least_id};
use crate::RefundId;
use crate::models::RefundRow;
use crate::refund::{RefundSource, RefundState};
use crate::schema::refund;

/// Which refunds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefundFilter {
    pub state: Option<RefundState>,
    pub source: Option<RefundSource>,
    /// Only those that wait for a second person.
    pub waits: bool,
    pub made: Made,
}

/// A part of the refunds, the newest first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn refunds(
    conn: &mut AsyncPgConnection,
    filter: RefundFilter,
    part: Part<RefundId>,
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
    query = match part {
        Part::First => query.order(refund::id.desc()),
        Part::OlderThan(id) => query.filter(refund::id.lt(id)).order(refund::id.desc()),
        Part::NewerThan(id) => query.filter(refund::id.gt(id)).order(refund::id.asc()),
    };
    let rows = query.limit(limit + 1).select(RefundRow::as_select()).load(conn).await?;
    Ok(Slice::new(rows, &part, limit))
}
