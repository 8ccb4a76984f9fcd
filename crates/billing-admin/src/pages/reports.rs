//! Reports: numbers of any days, drawn, in tables, and as a file for a spreadsheet.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use billing::store::reports::{self, Figure, Span};
use billing::store::{StoreError, tariffs};
use billing::{Currency, Kopecks};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;

use super::{Answer, Shared, briefly};
use crate::Core;
use crate::chart;
use crate::list::export::Value;
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::params::{Asked, Params};
use crate::report::{self, Kind, Numbers, Report, Table};
use crate::workbook::{self, Workbook};

/// The longest report.
const MAX_DAYS: i64 = 3 * 366;
/// What is shown to who asks for nothing else.
const DAYS: u64 = 30;

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    shell: Shell,
    kind: Kind,
    kinds: Vec<(&'static str, &'static str)>,
    from: String,
    to: String,
    /// The same numbers as files: addresses and names.
    files: [(String, &'static str); 2],
    report: Report,
    /// Drawn by us, escaped there.
    drawing: Option<String>,
    legend: Vec<String>,
    known_until: Option<String>,
    is_cut: bool,
}

pub(crate) async fn first(core: Shared, viewer: Viewer, query: Asked) -> Answer {
    page(core, viewer, Path(Kind::Revenue.name().to_owned()), query).await
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Path(name): Path<String>, Asked(query): Asked) -> Answer {
    let shell = Shell::new(&core, Section::Reports, &viewer);
    let kind = Kind::named(&name).ok_or(Problem::NotFound)?;
    let (numbers, last) = numbers(&core, &shell, kind, &query).await?;
    let lang = shell.lang();
    let report = report::report(kind, &numbers, lang);
    let amount = |value: f64| match report.is_money {
        true => format!("{value:.0}"),
        false => format!("{value:.1}").trim_end_matches(".0").to_owned(),
    };
    let span = numbers.span;
    let says: Vec<String> = report.headlines.iter().map(|line| format!("{}: {}", line.name, line.value)).collect();
    let (title, says) = (kind.word(lang), says.join("; "));
    let drawing = match &report.bars {
        Some(bars) => chart::bars(title, &says, bars),
        None => chart::lines(title, &says, &report.lines, amount),
    };
    let legend = match &report.bars {
        Some(bars) => bars.bars.iter().map(|(name, _)| (*name).to_owned()).collect(),
        None => report.lines.iter().map(|line| line.name.clone()).collect(),
    };
    let form = |day: NaiveDate| day.format("%Y-%m-%d").to_string();
    let day = |day: NaiveDate| day.format(shell.t("%-d %b %Y", "%d.%m.%Y")).to_string();
    Ok(html(&Page {
        kinds: Kind::ALL.map(|kind| (kind.name(), kind.word(lang))).to_vec(),
        from: form(span.from),
        to: form(span.to),
        files: [("csv", "CSV"), ("xlsx", "XLSX")].map(|(format, word)| {
            (format!("/reports/{}/{format}?from={}&to={}", kind.name(), form(span.from), form(span.to)), word)
        }),
        known_until: last.map(day),
        is_cut: last.is_none_or(|last| last < span.to),
        kind,
        report,
        drawing,
        legend,
        shell,
    }))
}

/// The same numbers, as a file.
pub(crate) async fn file(State(core): Shared, viewer: Viewer, Path(name): Path<String>, Asked(query): Asked) -> Answer {
    let shell = Shell::new(&core, Section::Reports, &viewer);
    let kind = Kind::named(&name).ok_or(Problem::NotFound)?;
    let (numbers, _) = numbers(&core, &shell, kind, &query).await?;
    let report = report::report(kind, &numbers, shell.lang());
    let mut text = String::new();
    for table in &report.tables {
        text.push_str(&csv(table));
        text.push_str("\r\n");
    }
    let name = format!("attachment; filename=\"{}-{}-{}.csv\"", kind.name(), numbers.span.from, numbers.span.to);
    let headers = [(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)];
    // Spreadsheets take a file for UTF-8 by its first bytes.
    let response: Response = (headers, format!("\u{feff}{text}")).into_response();
    Ok(response)
}

/// And as a workbook, a sheet for each table.
pub(crate) async fn workbook(core: Shared, viewer: Viewer, Path(name): Path<String>, Asked(query): Asked) -> Answer {
    let State(core) = core;
    let shell = Shell::new(&core, Section::Reports, &viewer);
    let kind = Kind::named(&name).ok_or(Problem::NotFound)?;
    let (numbers, _) = numbers(&core, &shell, kind, &query).await?;
    let report = report::report(kind, &numbers, shell.lang());
    let bytes = book(&report.tables, numbers.currency, shell.zone).map_err(|error| {
        tracing::error!(%error, "a workbook cannot be written");
        Problem::Defect
    })?;
    let name = format!("attachment; filename=\"{}-{}-{}.xlsx\"", kind.name(), numbers.span.from, numbers.span.to);
    let headers = [(CONTENT_TYPE, workbook::CONTENT_TYPE.to_owned()), (CONTENT_DISPOSITION, name)];
    let response: Response = (headers, bytes).into_response();
    Ok(response)
}

fn book(tables: &[Table], currency: Currency, zone: Tz) -> std::io::Result<Vec<u8>> {
    let mut book = Workbook::new(zone);
    for table in tables {
        book.sheet(table.title, &table.heads)?;
        for row in &table.rows {
            // The first one names the row, whatever it looks like.
            let names = row.iter().take(1).map(|name| Value::Text(name.clone()));
            let cells = row.iter().skip(1).map(|text| value(text, currency));
            book.line(&names.chain(cells).collect::<Vec<_>>())?;
        }
    }
    book.finish()
}

/// What stands in a cell as a spreadsheet reckons with it: amounts and counts are numbers.
fn value(text: &str, currency: Currency) -> Value {
    let is_amount = text.contains('₽') || text.contains(currency.as_str());
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match digits.parse::<i64>() {
        // All its decimals are written.
        Ok(amount) if is_amount => {
            let amount = if text.starts_with('\u{2212}') { -amount } else { amount };
            Value::Amount(Kopecks::new(amount), currency)
        }
        Ok(number) if digits == text => Value::Number(number),
        _ => Value::Text(text.replace('\u{a0}', " ")),
    }
}

async fn numbers(
    core: &Core,
    shell: &Shell,
    kind: Kind,
    query: &Params,
) -> Result<(Numbers, Option<NaiveDate>), Problem> {
    let mut conn = core.services.db.conn().await?;
    let numbers = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            let last = reports::last_day(conn).await?;
            let yesterday = shell.now.with_timezone(&shell.zone).date_naive() - Days::new(1);
            let span = span(query, last.unwrap_or(yesterday));
            let totals = reports::totals(conn, span, kind.figures()).await?;
            let until = reports::deferred_until(conn, span.to).await?;
            let before = reports::deferred_until(conn, span.from - Days::new(1)).await?;
            let by_tariff = match kind {
                Kind::Deferred => reports::deferred_by_tariff(conn, span.to).await?,
                _ => Vec::new(),
            };
            let cohorts = match kind {
                Kind::Cohorts => reports::cohorts(conn, span.to).await?,
                _ => Vec::new(),
            };
            let open = match kind {
                Kind::Open => reports::open(conn, shell.now).await?,
                _ => Vec::new(),
            };
            let currency = currency(&totals, &until);
            let deferred = |sums: &[reports::Sum]| {
                Kopecks::new(sums.iter().filter(|sum| sum.currency == currency).map(|sum| sum.amount.get()).sum())
            };
            let sold = || totals.iter().chain(&by_tariff);
            let prices = tariffs::price_list(conn, sold().filter_map(|sum| sum.tariff_id)).await?;
            let named = sold().filter_map(|sum| prices.get(sum.tariff_id?, shell.now));
            Ok::<_, StoreError>((
                Numbers {
                    series: reports::series(conn, span, kind.figures()).await?,
                    before: reports::totals(conn, span.before(), kind.figures()).await?,
                    deferred: (deferred(&until), deferred(&before)),
                    tariffs: named.map(|tariff| (tariff.id, tariff.name)).collect::<BTreeMap<_, _>>(),
                    known_until: last.unwrap_or(span.from - Days::new(1)),
                    now: shell.now,
                    by_tariff,
                    open,
                    cohorts,
                    span,
                    currency,
                    totals,
                },
                last,
            ))
        })
        .await?;
    Ok(numbers)
}

/// That of most rows; a system of several is rare, and each report is of one.
fn currency(totals: &[reports::Sum], deferred: &[reports::Sum]) -> Currency {
    let mut counts: BTreeMap<Currency, usize> = BTreeMap::new();
    for sum in totals.iter().chain(deferred).filter(|sum| sum.figure != Figure::Gained) {
        *counts.entry(sum.currency).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(Currency::RUB, |(currency, _)| currency)
}

/// The days that are asked for; those that make no sense are taken for the last thirty.
fn span(query: &Params, last: NaiveDate) -> Span {
    let day = |name| query.get(name).parse::<NaiveDate>().ok();
    let to = day("to").unwrap_or(last);
    let asked = Span { from: day("from").unwrap_or(Span::ending(to, DAYS).from), to };
    if (1..=MAX_DAYS).contains(&asked.days()) { asked } else { Span::ending(last, DAYS) }
}

/// UTF-8, `;` between, as spreadsheets here expect it.
fn csv(table: &Table) -> String {
    let heads = table.heads.iter().map(|head| cell(head)).collect::<Vec<_>>().join(";");
    let rows = table.rows.iter().map(|row| row.iter().map(|value| cell(value)).collect::<Vec<_>>().join(";"));
    let lines = [cell(table.title), heads].into_iter().chain(rows);
    lines.map(|line| line + "\r\n").collect()
}

/// No cell is a formula, whatever a tariff is called.
fn cell(text: &str) -> String {
    let text = text.replace('\u{a0}', " ");
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text };
    if text.contains([';', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    #[test]
    fn days_that_make_no_sense_are_the_last_thirty() {
        let last = date("2026-03-31");
        for (query, from, to) in [
            ("", "2026-03-02", "2026-03-31"),
            ("from=2026-01-01&to=2026-01-31", "2026-01-01", "2026-01-31"),
            ("from=2026-02-01&to=2026-01-31", "2026-03-02", "2026-03-31"),
            ("from=0001-01-01&to=9999-12-31", "2026-03-02", "2026-03-31"),
            ("from=soon&to=2026-02-28", "2026-01-30", "2026-02-28"),
        ] {
            let span = span(&Params::read(query.as_bytes()), last);
            assert_eq!((span.from, span.to), (date(from), date(to)), "{query}");
        }
    }

    #[test]
    fn a_file_holds_no_formulas() {
        let table = Table {
            title: "By tariff",
            heads: vec!["Tariff", "Taken"],
            rows: vec![vec!["=HYPERLINK(\"x\")".into(), "1;2".into()], vec!["@sum".into(), "399,00\u{a0}₽".into()]],
        };
        let expected = "By tariff\r\nTariff;Taken\r\n\"'=HYPERLINK(\"\"x\"\")\";\"1;2\"\r\n'@sum;399,00 ₽\r\n";
        assert_eq!(csv(&table), expected);
    }

    #[test]
    fn a_workbook_reckons_with_amounts_and_counts() {
        let rub = Currency::RUB;
        for (text, is) in [
            ("1\u{a0}234,05\u{a0}₽", Value::Amount(Kopecks::new(123_405), rub)),
            ("\u{2212}RUB\u{a0}1,234.05", Value::Amount(Kopecks::new(-123_405), rub)),
            ("17", Value::Number(17)),
            ("62.5 %", Value::Text("62.5 %".to_owned())),
            ("—", Value::Text("—".to_owned())),
            ("=1+1", Value::Text("=1+1".to_owned())),
        ] {
            assert_eq!(value(text, rub), is, "{text}");
        }
        let tables =
            [Table { title: "By code", heads: vec!["Code", "Count"], rows: vec![vec!["5051".into(), "3".into()]] }];
        let parts = workbook::tests::parts(book(&tables, rub, Tz::UTC).unwrap());
        assert_eq!(workbook::tests::rows(&parts[0].1), [vec!["Code", "Count"], vec!["5051", "3"]]);
        assert!(parts[0].1.contains("r=\"A2\" s=\"0\" t=\"inlineStr\""), "a code is a name: {}", parts[0].1);
    }
}
