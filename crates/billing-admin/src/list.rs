//! Lists: their parts, their pages and their exports, for whatever says what its rows are.

mod cell;
pub(crate) mod export;
mod field;
pub(crate) mod head;

use askama::Template;
use axum::extract::State;
use billing::store::StoreError;
use billing::store::browse::{Part, Slice};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

pub(crate) use self::cell::Cell;
use self::export::Value;
pub(crate) use self::field::Field;
pub(crate) use self::head::Head;
use self::head::Sorting;
use crate::lang::Lang;
use crate::page::{Chip, Pages, Section, Shell, Viewer, html};
use crate::pages::{Answer, ROWS, Shared, briefly, pages};
use crate::params::{Asked, Params};

/// What is read part by part, by a page and by an export alike.
pub(crate) trait List: 'static {
    /// The conditions of the address, and how it sorts.
    type Filter: Clone + Send + Sync + 'static;
    type Row: Send + 'static;
    /// Where a row stands.
    type Cursor: Send + Sync + 'static;

    /// Its path, without the slash.
    const NAME: &'static str;
    /// The first line of an export: names for programs, the same in all languages.
    const COLUMNS: &'static [&'static str];

    fn filter(query: &Params, zone: Tz) -> Self::Filter;

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a Self::Filter,
        part: Part<Self::Cursor>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<Self::Row>, StoreError>>;

    /// Of a list that is sorted so.
    fn cursor(row: &Self::Row, filter: &Self::Filter) -> Self::Cursor;

    /// A line of an export.
    fn values(row: &Self::Row) -> Vec<Value>;
}

/// A list with a page.
pub(crate) trait Listed: List {
    const SECTION: Section;
    /// How it is sorted when the address does not say.
    const SORTED: &'static str;

    fn title(lang: Lang) -> &'static str;
    /// What is said while there is no row at all.
    fn nothing(lang: Lang) -> &'static str;
    fn fields(query: &Params, shell: &Shell) -> Vec<Field>;
    fn heads(lang: Lang) -> Vec<Head>;
    /// As many as there are heads; the first names the row.
    fn cells(row: &Self::Row, shell: &Shell) -> Vec<Cell>;
    /// Something that can be done to all of it, by whoever may: its address and its name.
    fn bulk(_: &Params, _: &Shell) -> Option<(String, &'static str)> {
        None
    }
    fn read_cursor(text: &str) -> Option<Self::Cursor>;
    fn write_cursor(cursor: &Self::Cursor) -> String;
}

#[derive(Template)]
#[template(path = "list.html")]
struct Page {
    shell: Shell,
    title: &'static str,
    nothing: &'static str,
    fields: Vec<Field>,
    chips: Vec<Chip>,
    /// All columns there are, and whether each is shown; the first always is.
    columns: Vec<(usize, &'static str, bool)>,
    /// Sent along with the choice of columns.
    conditions: Vec<(String, String)>,
    /// Sent along with the conditions: the columns, and the order.
    kept: Vec<(String, String)>,
    heads: Vec<(Head, Option<Sorting>)>,
    rows: Vec<Vec<Cell>>,
    pages: Pages,
    bulk: Option<(String, &'static str)>,
}

/// The columns that the address names; none of them: all.
fn columns(query: &Params, heads: &[Head]) -> Vec<bool> {
    let chosen: Vec<usize> = query.all("col").filter_map(|text| text.parse().ok()).collect();
    let is_any = chosen.iter().any(|column| (1..heads.len()).contains(column));
    (0..heads.len()).map(|column| column == 0 || !is_any || chosen.contains(&column)).collect()
}

fn kept<T>(all: Vec<T>, shown: &[bool]) -> Vec<T> {
    all.into_iter().zip(shown).filter(|(_, is_shown)| **is_shown).map(|(one, _)| one).collect()
}

/// The page of a list.
pub(crate) async fn page<L: Listed>(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    let shell = Shell::new(&core, L::SECTION, &viewer);
    let lang = shell.lang();
    let filter = L::filter(&query, shell.zone);
    let part = crate::pages::part(&query, L::read_cursor);
    let mut conn = core.services.db.conn().await?;
    let slice = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            L::read(conn, &filter, part, ROWS).await
        })
        .await?;
    drop(conn);
    let pages =
        pages(&slice, &query, |row| L::write_cursor(&L::cursor(row, &filter))).exported(&shell, L::NAME, &query);
    let pages = pages.viewed(&core, &shell, L::NAME, &query).await?;
    let fields = L::fields(&query, &shell);
    let chips =
        fields.iter().flat_map(|field| field.chips(&query, &shell)).chain(head::chip::<L>(&query, lang)).collect();
    let (title, nothing, heads) = (L::title(lang), L::nothing(lang), L::heads(lang));
    let shown = columns(&query, &heads);
    let columns = heads.iter().zip(&shown).enumerate().map(|(n, (head, is_shown))| (n, head.name, *is_shown)).collect();
    let rows = slice.rows.iter().map(|row| kept(L::cells(row, &shell), &shown)).collect();
    let sortings = head::sortings(&query, &heads, L::SORTED);
    let heads = kept(heads.into_iter().zip(sortings).collect(), &shown);
    let (conditions, bulk) = (query.without(&["col"]), L::bulk(&query, &shell));
    let kept = query.only(&["col", "sort"]);
    Ok(html(&Page { shell, title, nothing, fields, chips, columns, conditions, kept, heads, rows, pages, bulk }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_the_address_and_the_first_names_the_row() {
        let heads = [Head::text("a"), Head::text("b"), Head::number("c")];
        for (query, shown) in [
            ("", [true, true, true]),
            ("col=2", [true, false, true]),
            ("col=1&col=2", [true, true, true]),
            ("col=0", [true, true, true]),
            ("col=9&col=x", [true, true, true]),
            ("col=9&col=1", [true, true, false]),
        ] {
            assert_eq!(columns(&Params::read(query.as_bytes()), &heads), shown, "{query}");
        }
    }
}
