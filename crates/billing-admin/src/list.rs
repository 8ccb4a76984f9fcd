//! Lists: their parts, their pages and their exports, for whatever says what its rows are.

pub(crate) mod export;

use askama::Template;
use axum::extract::State;
use billing::store::StoreError;
use billing::store::browse::{Part, Slice};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use self::export::Value;
use crate::lang::Lang;
use crate::page::{Chip, Choice, Pages, Section, Shell, Viewer, html};
use crate::pages::{Answer, ROWS, Shared, briefly, day_chips, days, pages};
use crate::params::{Asked, Params};
use crate::show::{Pill, When};

/// What is read part by part, by a page and by an export alike.
pub(crate) trait List: 'static {
    /// The conditions of the address.
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

    fn cursor(row: &Self::Row) -> Self::Cursor;

    /// A line of an export.
    fn values(row: &Self::Row) -> Vec<Value>;
}

/// A list with a page.
pub(crate) trait Listed: List {
    const SECTION: Section;

    fn title(lang: Lang) -> &'static str;
    /// What is said while there is no row at all.
    fn nothing(lang: Lang) -> &'static str;
    fn fields(query: &Params, shell: &Shell) -> Vec<Field>;
    fn heads(lang: Lang) -> Vec<Head>;
    /// As many as there are heads; the first names the row.
    fn cells(row: &Self::Row, shell: &Shell) -> Vec<Cell>;
    fn read_cursor(text: &str) -> Option<Self::Cursor>;
    fn write_cursor(cursor: &Self::Cursor) -> String;
}

/// A condition that can be set.
pub(crate) enum Field {
    Choice {
        name: &'static str,
        label: &'static str,
        choices: Vec<Choice>,
    },
    Text {
        name: &'static str,
        label: &'static str,
        value: String,
    },
    /// The fields `from` and `to`.
    Days {
        label: &'static str,
        from: String,
        to: String,
    },
}

impl Field {
    /// One of all values of an enumeration, in words.
    pub(crate) fn choice<T: Copy>(
        query: &Params,
        name: &'static str,
        label: &'static str,
        all: &[T],
        value: impl Fn(T) -> &'static str,
        word: impl Fn(T) -> &'static str,
    ) -> Self {
        let choice =
            |one: &T| Choice { value: value(*one), word: word(*one).to_owned(), is_on: query.get(name) == value(*one) };
        Self::Choice { name, label, choices: all.iter().map(choice).collect() }
    }

    pub(crate) fn text(query: &Params, name: &'static str, label: &'static str) -> Self {
        Self::Text { name, label, value: query.get(name).to_owned() }
    }

    pub(crate) fn days(query: &Params, label: &'static str) -> Self {
        Self::Days { label, from: query.get("from").to_owned(), to: query.get("to").to_owned() }
    }

    fn chips(&self, query: &Params, shell: &Shell) -> Vec<Chip> {
        let chip = |says: String, name| Chip { says, without: query.with(name, "") };
        match self {
            Self::Choice { name, label, choices } => {
                let chosen = choices.iter().find(|choice| choice.is_on);
                chosen.map(|choice| chip(format!("{label}: {}", choice.word), name)).into_iter().collect()
            }
            Self::Text { name, label, value } if !value.is_empty() => vec![chip(format!("{label}: {value}"), name)],
            Self::Text { .. } => Vec::new(),
            Self::Days { .. } => day_chips(shell, query, days(query, shell.zone)),
        }
    }
}

/// A column.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    name: &'static str,
    is_number: bool,
}

impl Head {
    pub(crate) const fn text(name: &'static str) -> Self {
        Self { name, is_number: false }
    }

    pub(crate) const fn number(name: &'static str) -> Self {
        Self { name, is_number: true }
    }
}

/// What stands in a row.
pub(crate) enum Cell {
    Text(String),
    /// With an address; the whole of what is shortened is its title.
    Link {
        href: String,
        text: String,
        title: String,
    },
    State(Pill),
    When(When),
    /// Longer words, which may be broken.
    Words(String),
}

impl Cell {
    /// To the page of an id.
    pub(crate) fn link(path: &str, id: Option<impl ToString>) -> Self {
        id.map_or_else(
            || Self::Text(String::new()),
            |id| {
                let title = id.to_string();
                Self::Link { href: format!("/{path}/{title}"), text: crate::show::short(&title), title }
            },
        )
    }
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
    /// Sent along with the conditions.
    chosen: Vec<String>,
    heads: Vec<Head>,
    rows: Vec<Vec<Cell>>,
    pages: Pages,
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
    let pages = pages(&slice, &query, |row| L::write_cursor(&L::cursor(row))).exported(&shell, L::NAME, &query);
    let pages = pages.viewed(&core, &shell, L::NAME, &query).await?;
    let fields = L::fields(&query, &shell);
    let chips = fields.iter().flat_map(|field| field.chips(&query, &shell)).collect();
    let (title, nothing, heads) = (L::title(lang), L::nothing(lang), L::heads(lang));
    let shown = columns(&query, &heads);
    let columns = heads.iter().zip(&shown).enumerate().map(|(n, (head, is_shown))| (n, head.name, *is_shown)).collect();
    let rows = slice.rows.iter().map(|row| kept(L::cells(row, &shell), &shown)).collect();
    let heads = kept(heads, &shown);
    let (conditions, chosen) = (query.without(&["col"]), query.all("col").map(str::to_owned).collect());
    Ok(html(&Page { shell, title, nothing, fields, chips, columns, conditions, chosen, heads, rows, pages }))
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
