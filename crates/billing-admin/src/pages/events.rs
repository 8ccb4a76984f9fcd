//! The log of events, of everybody.

use billing::event::{Event, EventKind, Source};
use billing::store::StoreError;
use billing::store::browse::{self, EventFilter, Part, Slice};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use super::days;
use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::order;
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Section, Shell};
use crate::params::Params;
use crate::{story, words};

pub(crate) struct Events;

impl List for Events {
    type Filter = EventFilter;
    type Row = Event;
    type Cursor = i64;

    const NAME: &'static str = "events";
    const COLUMNS: &'static [&'static str] =
        &["id", "at", "kind", "source", "account", "bill", "payment", "from", "to", "task", "trace"];

    fn filter(query: &Params, zone: Tz) -> EventFilter {
        EventFilter {
            kind: query.get("kind").parse().ok(),
            source: query.get("source").parse().ok(),
            account_id: query.get("account").parse().ok(),
            made: days(query, zone),
            order: order(query, "at"),
        }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a EventFilter,
        part: Part<i64>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<Event>, StoreError>> {
        Box::pin(browse::events(conn, *filter, part, limit))
    }

    fn cursor(row: &Event, _: &EventFilter) -> i64 {
        row.id
    }

    fn values(row: &Event) -> Vec<Value> {
        vec![
            Value::Number(row.id),
            Value::At(row.at),
            Value::Text(row.kind.to_string()),
            Value::Text(row.source.to_string()),
            Value::text(row.account_id),
            Value::text(row.bill_id),
            Value::text(row.payment_id),
            Value::text(row.from_state.as_ref()),
            Value::text(row.to_state.as_ref()),
            Value::text(row.task_id.as_ref()),
            Value::text(row.trace_id.as_ref()),
        ]
    }
}

impl Listed for Events {
    const SECTION: Section = Section::Events;
    const SORTED: &'static str = "-at";

    fn title(lang: Lang) -> &'static str {
        lang.of("Events", "События")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of("Nothing has happened yet.", "Пока ничего не произошло.")
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        let lang = shell.lang();
        let kind = |kind| words::event(kind, lang);
        let source = |source| words::source(source, lang);
        vec![
            Field::choice(query, "kind", lang.of("What", "Что"), EventKind::ALL, EventKind::as_str, kind),
            Field::choice(query, "source", lang.of("By whom", "Кем"), Source::ALL, Source::as_str, source),
            Field::text(query, "account", lang.of("Account (id)", "Абонент (id)")),
            Field::days(query, lang.of("From", "С")),
        ]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        vec![
            Head::text(lang.of("When", "Когда")).by("-at"),
            Head::text(lang.of("What", "Что")),
            Head::text(lang.of("State", "Состояние")),
            Head::text(lang.of("By whom", "Кем")),
            Head::text(lang.of("Account", "Абонент")),
            Head::text(lang.of("Payment", "Платёж")),
        ]
    }

    fn cells(row: &Event, shell: &Shell) -> Vec<Cell> {
        let line = story::event(row, true, shell);
        vec![
            Cell::When(line.at),
            Cell::Words(line.what),
            line.pill.map_or_else(|| Cell::Text(String::new()), Cell::State),
            Cell::Text(line.lane.to_owned()),
            Cell::link("accounts", row.account_id),
            Cell::link("payments", row.payment_id),
        ]
    }

    fn read_cursor(text: &str) -> Option<i64> {
        text.parse().ok()
    }

    fn write_cursor(cursor: &i64) -> String {
        cursor.to_string()
    }
}
