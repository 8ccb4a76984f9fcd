//! A list as a table for a spreadsheet: written as it is read, so that its length does not matter.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use billing::store::StoreError;
use billing::store::browse::Part;
use billing::store::staff::{By, Entry, audit};
use billing::{Currency, Kopecks};
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use csv::WriterBuilder;
use diesel_async::AsyncPgConnection;
use futures_util::stream;

use super::List;
use crate::Core;
use crate::page::{Problem, Viewer};
use crate::pages::{Answer, Shared, briefly};
use crate::params::Asked;
use crate::workbook::{self, Workbook};

/// Rows that are read at a time; between two times others have the connection.
const BATCH: i64 = 1_000;

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Nothing,
    Text(String),
    Number(i64),
    Amount(Kopecks, Currency),
    At(DateTime<Utc>),
}

impl Value {
    pub(crate) fn text(text: Option<impl ToString>) -> Self {
        text.map_or(Self::Nothing, |text| Self::Text(text.to_string()))
    }

    pub(crate) fn number(number: Option<i64>) -> Self {
        number.map_or(Self::Nothing, Self::Number)
    }

    pub(crate) fn at(at: Option<DateTime<Utc>>) -> Self {
        at.map_or(Self::Nothing, Self::At)
    }
}

/// How cells are separated and numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// RFC 4180: commas, and points in numbers.
    Csv,
    /// As a spreadsheet in Russia reads it: a mark of its encoding, semicolons, and commas in numbers.
    Excel,
}

impl Format {
    fn asked(text: &str) -> Self {
        if text == "excel" { Self::Excel } else { Self::Csv }
    }

    fn cell(self, value: &Value, zone: Tz) -> String {
        match value {
            Value::Nothing => String::new(),
            Value::Text(text) => guarded(text),
            Value::Number(number) => number.to_string(),
            Value::Amount(amount, currency) => self.amount(*amount, *currency),
            Value::At(at) => at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false),
        }
    }

    fn amount(self, amount: Kopecks, currency: Currency) -> String {
        let (sign, digits) = (if amount.get() < 0 { "-" } else { "" }, amount.get().unsigned_abs());
        let point = if self == Self::Excel { ',' } else { '.' };
        match currency.decimals() {
            0 => format!("{sign}{digits}"),
            width => {
                let unit = 10_u64.pow(width);
                format!("{sign}{}{point}{:0width$}", digits / unit, digits % unit, width = width as usize)
            }
        }
    }

    /// Lines as they go out.
    fn lines(self, lines: &[Vec<String>]) -> io::Result<Vec<u8>> {
        let delimiter = if self == Self::Excel { b';' } else { b',' };
        let crlf = csv::Terminator::CRLF;
        let mut writer = WriterBuilder::new().delimiter(delimiter).terminator(crlf).from_writer(Vec::new());
        for line in lines {
            writer.write_record(line)?;
        }
        writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// A spreadsheet takes what begins so for a formula, which may send the table elsewhere: an apostrophe makes it a text.
fn guarded(text: &str) -> String {
    let is_number = text.parse::<f64>().is_ok();
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') if !is_number => format!("'{text}"),
        _ => text.to_owned(),
    }
}

/// What its rows are written to.
enum Paper {
    Lines(Format),
    Book(Box<Workbook>),
    /// All of it was written.
    Full,
}

/// Where an export has come to.
struct Export<L: List> {
    core: Arc<Core>,
    by: By,
    filter: L::Filter,
    paper: Paper,
    /// `None`: nothing was written yet.
    behind: Option<Part<L::Cursor>>,
    count: u64,
    has_ended: bool,
    of: PhantomData<fn() -> L>,
}

/// The rows of a list that fit the conditions of the address, all of them. Who takes them stands in the audit log before the
/// first one goes out, and how many they were after the last.
pub(crate) async fn export<L: List>(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    let (by, db, zone) = (viewer.visitor()?.by(&viewer.address), &core.services.db, core.services.time_zone);
    let conditions = serde_json::json!({ "conditions": query.with("format", "") });
    let entry = Entry::new("exported").target("list", L::NAME).after(conditions);
    audit(&mut *db.conn().await?, &by, &entry, db.now()).await.map_err(Problem::from)?;
    let day = db.now().with_timezone(&zone).format("%Y-%m-%d");
    let asked = query.get("format");
    let (paper, kind, ending) = match asked {
        "xlsx" => (Paper::Book(Box::new(Workbook::new(zone))), workbook::CONTENT_TYPE, "xlsx"),
        _ => (Paper::Lines(Format::asked(asked)), "text/csv; charset=utf-8", "csv"),
    };
    let filter = L::filter(&query, zone);
    let begun: Export<L> =
        Export { core, by, filter, paper, behind: None, count: 0, has_ended: false, of: PhantomData };
    let file = format!("attachment; filename=\"{}-{day}.{ending}\"", L::NAME);
    let body = Body::from_stream(stream::try_unfold(begun, |export| async move {
        match export.next().await {
            Ok(next) => Ok(next),
            // The body ends in the middle, which a browser reports: nobody takes a part for the whole.
            Err(error) => {
                tracing::error!(%error, list = L::NAME, "an export ends before its end");
                Err(io::Error::other("the rest could not be read"))
            }
        }
    }));
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_str(&file).map_err(|_| Problem::Defect)?),
    ];
    let response: Response = (headers, body).into_response();
    Ok(response)
}

impl<L: List> Export<L> {
    /// The next rows, of this part; after the last of them it has ended, which is written down.
    async fn rows(&mut self, part: Part<L::Cursor>) -> Result<Vec<L::Row>, StoreError> {
        let db = self.core.services.db.clone();
        let mut conn = db.conn().await?;
        let filter = &self.filter;
        let slice = conn
            .build_transaction()
            .read_only()
            .run(async |conn: &mut AsyncPgConnection| {
                briefly(conn).await?;
                L::read(conn, filter, part, BATCH).await
            })
            .await?;
        self.count += slice.rows.len() as u64;
        let last = slice.rows.last().filter(|_| slice.has_behind);
        self.behind = last.map(|row| Part::Behind(L::cursor(row, &self.filter)));
        self.has_ended = self.behind.is_none();
        if self.has_ended {
            let after = serde_json::json!({ "rows": self.count });
            let entry = Entry::new("export_ended").target("list", L::NAME).after(after);
            audit(&mut conn, &self.by, &entry, db.now()).await?;
        }
        Ok(slice.rows)
    }

    /// What goes out next, and where it has come to with that.
    async fn next(mut self) -> Result<Option<(Vec<u8>, Self)>, ExportError> {
        loop {
            let has_begun = self.behind.is_some();
            let part = match self.behind.take() {
                _ if self.has_ended => return Ok(self.rest()?.map(|text| (text, self))),
                Some(part) => part,
                None => Part::First,
            };
            let rows = self.rows(part).await?;
            let text = self.written(&rows, has_begun)?;
            // Nothing at all would be the end of the body.
            if !text.is_empty() {
                return Ok(Some((text, self)));
            }
        }
    }

    /// The rows as they go out; the first ones behind the names of their columns.
    fn written(&mut self, rows: &[L::Row], has_begun: bool) -> io::Result<Vec<u8>> {
        let zone = self.core.services.time_zone;
        match &mut self.paper {
            Paper::Lines(format) => {
                let (format, mut lines) = (*format, Vec::with_capacity(rows.len() + 1));
                if !has_begun {
                    lines.push(L::COLUMNS.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
                }
                lines.extend(
                    rows.iter().map(|row| L::values(row).iter().map(|value| format.cell(value, zone)).collect()),
                );
                let mark = if format == Format::Excel && !has_begun { "\u{feff}" } else { "" };
                Ok([mark.as_bytes(), &format.lines(&lines)?].concat())
            }
            Paper::Book(book) => {
                if !has_begun {
                    book.sheet(L::NAME, L::COLUMNS)?;
                }
                for row in rows {
                    book.line(&L::values(row))?;
                }
                Ok(book.take())
            }
            Paper::Full => Ok(Vec::new()),
        }
    }

    /// What stands behind the last row.
    fn rest(&mut self) -> io::Result<Option<Vec<u8>>> {
        match std::mem::replace(&mut self.paper, Paper::Full) {
            Paper::Book(book) => book.finish().map(Some),
            Paper::Lines(_) | Paper::Full => Ok(None),
        }
    }
}

/// Why the rest does not come.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the rows cannot be written")]
    Write(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_a_formula() {
        for (text, is) in [
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("+7 999", "'+7 999"),
            ("-cmd", "'-cmd"),
            ("@a", "'@a"),
            ("\t=1", "'\t=1"),
            ("-12.5", "-12.5"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(guarded(text), is);
        }
    }

    #[test]
    fn cells_are_kept_apart_and_numbers_are_read_where_they_go() {
        let values = [
            Value::Text("a \"b\"; c, d".to_owned()),
            Value::Amount(Kopecks::new(-123_405), Currency::RUB),
            Value::At(DateTime::UNIX_EPOCH),
            Value::Nothing,
            Value::Number(-7),
        ];
        let line = |format: Format| {
            let cells = values.iter().map(|value| format.cell(value, Tz::Europe__Moscow)).collect();
            String::from_utf8(format.lines(&[cells]).unwrap()).unwrap()
        };
        assert_eq!(line(Format::Csv), "\"a \"\"b\"\"; c, d\",-1234.05,1970-01-01T03:00:00+03:00,,-7\r\n");
        assert_eq!(line(Format::Excel), "\"a \"\"b\"\"; c, d\";-1234,05;1970-01-01T03:00:00+03:00;;-7\r\n");
    }
}
