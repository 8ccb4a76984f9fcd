//! The log of events, whoever they are about.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::events::EventRow;
use super::{Made, Order, Part, Slice, StoreError};
use crate::AccountId;
use crate::event::{Event, EventKind, Source};
use crate::schema::event;

/// Which events, and how they are sorted: as they happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub kind: Option<EventKind>,
    pub source: Option<Source>,
    pub account_id: Option<AccountId>,
    pub made: Made,
    pub order: Order,
}

/// A part of the events.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn events(
    conn: &mut AsyncPgConnection,
    filter: EventFilter,
    part: Part<i64>,
    limit: i64,
) -> Result<Slice<Event>, StoreError> {
    let mut query = event::table.into_boxed();
    if let Some(kind) = filter.kind {
        // Written out, so that the plan is that of this kind.
        query = query.filter(sql::<Bool>(&format!("event.kind = '{}'", kind.as_str())));
    }
    if let Some(source) = filter.source {
        query = query.filter(sql::<Bool>(&format!("event.source = '{}'", source.as_str())));
    }
    if let Some(id) = filter.account_id {
        query = query.filter(event::account_id.eq(id));
    }
    if let Some(from) = filter.made.from {
        query = query.filter(event::at.ge(from));
    }
    if let Some(before) = filter.made.before {
        query = query.filter(event::at.lt(before));
    }
    let (place, is_ascending) = part.reading(filter.order);
    if let Some(id) = place {
        query = if is_ascending { query.filter(event::id.gt(*id)) } else { query.filter(event::id.lt(*id)) };
    }
    query = if is_ascending { query.order(event::id.asc()) } else { query.order(event::id.desc()) };
    let rows: Vec<EventRow> = query.limit(limit + 1).select(EventRow::as_select()).load(conn).await?;
    Ok(Slice::new(rows.into_iter().map(Event::from).collect(), &part, limit))
}
