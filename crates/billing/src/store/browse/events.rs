//! The log of events, whoever they are about.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::events::EventRow;
use super::{Made, Part, Slice, StoreError};
use crate::AccountId;
use crate::event::{Event, EventKind, Source};
use crate::schema::event;

/// Which events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub kind: Option<EventKind>,
    pub source: Option<Source>,
    pub account_id: Option<AccountId>,
    pub made: Made,
}

/// A part of the events, the newest first.
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
        query = query.filter(event::kind.eq(kind));
    }
    if let Some(source) = filter.source {
        query = query.filter(event::source.eq(source));
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
    query = match part {
        Part::First => query.order(event::id.desc()),
        Part::OlderThan(id) => query.filter(event::id.lt(id)).order(event::id.desc()),
        Part::NewerThan(id) => query.filter(event::id.gt(id)).order(event::id.asc()),
    };
    let rows: Vec<EventRow> = query.limit(limit + 1).select(EventRow::as_select()).load(conn).await?;
    Ok(Slice::new(rows.into_iter().map(Event::from).collect(), &part, limit))
}
