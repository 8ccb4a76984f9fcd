//! Where the gateway's list and our rows do not agree.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::reconciliation::Difference;
use super::{Made, Order, Part, Slice, StoreError, beyond};
use crate::DifferenceId;
use crate::reconciliation::{DifferenceKind, DifferenceState};
use crate::schema::difference;

/// Which differences, and how they are sorted: by when the money moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DifferenceFilter {
    pub state: Option<DifferenceState>,
    pub kind: Option<DifferenceKind>,
    /// When the money moved.
    pub moved: Made,
    pub order: Order,
}

/// Where a row stands in the list.
pub type DifferenceCursor = (DateTime<Utc>, DifferenceId);

/// A part of the differences.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn differences(
    conn: &mut AsyncPgConnection,
    filter: DifferenceFilter,
    part: Part<DifferenceCursor>,
    limit: i64,
) -> Result<Slice<Difference>, StoreError> {
    let mut query = difference::table.into_boxed();
    if let Some(state) = filter.state {
        query = query.filter(difference::state.eq(state));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(difference::kind.eq(kind));
    }
    if let Some(from) = filter.moved.from {
        query = query.filter(difference::at.ge(from));
    }
    if let Some(before) = filter.moved.before {
        query = query.filter(difference::at.lt(before));
    }
    let (place, is_ascending) = part.reading(filter.order);
    if let Some((at, id)) = place {
        // Compared as a row: rows of one time are found by the index, however many there are.
        let behind = sql::<Bool>(&format!("(difference.at, difference.id) {} (", beyond(is_ascending)))
            .bind::<Timestamptz, _>(*at)
            .sql(", ")
            .bind::<diesel::sql_types::Uuid, _>(id.get())
            .sql(")");
        query = query.filter(behind);
    }
    query = if is_ascending {
        query.order((difference::at.asc(), difference::id.asc()))
    } else {
        query.order((difference::at.desc(), difference::id.desc()))
    };
    let rows = query.limit(limit + 1).select(Difference::as_select()).load(conn).await?;
    Ok(Slice::new(rows, &part, limit))
}
