//! The list of accounts.

use askama::Template;
use axum::extract::State;
use billing::AccountId;
use billing::account::AccountStatus;
use billing::staff::Right;
use billing::store::StoreError;
use billing::store::browse::{self, AccountCursor, AccountFilter, AccountLine, Part, Slice};
use chrono::DateTime;
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use super::{Answer, ROWS, Shared, briefly, pages, part};
use crate::list::List;
use crate::list::export::Value;
use crate::page::{Chip, Choice, Pages, Section, Shell, Status, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::{self, When};
use crate::words;

#[derive(Template)]
#[template(path = "accounts.html")]
struct Page {
    shell: Shell,
    statuses: Vec<Choice>,
    chips: Vec<Chip>,
    rows: Vec<Row>,
    pages: Pages,
    /// Where all of the list is extended, for whoever may.
    bulk: Option<String>,
}

struct Row {
    id: AccountId,
    short: String,
    status: Status,
    is_ending: bool,
    tariff: String,
    paid_until: Option<When>,
    access_until: Option<When>,
    next_charge: Option<(When, String)>,
    declines: i32,
    card: String,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    let shell = Shell::new(&core, Section::Accounts, &viewer);
    let (filter, part) = (Accounts::filter(&query, shell.zone), part(&query, cursor));
    let mut conn = core.services.db.conn().await?;
    let slice = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            browse::accounts(conn, filter, part, ROWS).await
        })
        .await?;
    drop(conn);
    let pages =
        pages(&slice, &query, |row: &AccountLine| written(row.cursor())).exported(&shell, Accounts::NAME, &query);
    let pages = pages.viewed(&core, &shell, Accounts::NAME, &query).await?;
    let choice = |status: &AccountStatus| Choice {
        value: status.as_str(),
        word: words::account(*status, shell.lang()).word.to_owned(),
        is_on: filter.status == Some(*status),
    };
    let statuses: Vec<Choice> = AccountStatus::ALL.iter().map(choice).collect();
    let chips = statuses.iter().filter(|choice| choice.is_on);
    let chips = chips.map(|choice| Chip { says: choice.word.clone(), without: query.with("status", "") }).collect();
    let rows = slice.rows.into_iter().map(|line| row(&shell, line)).collect();
    let may = viewer.visitor()?.has(Right::MendSubscriptions);
    let bulk = may.then(|| format!("/accounts/extend{}", query.with("", "")));
    Ok(html(&Page { shell, statuses, chips, rows, pages, bulk }))
}

fn row(shell: &Shell, line: AccountLine) -> Row {
    Row {
        id: line.id,
        short: show::short(line.id),
        status: words::account(line.status, shell.lang()),
        is_ending: line.cancel_at_period_end,
        tariff: line.tariff.unwrap_or_default(),
        paid_until: line.paid_until.map(|at| shell.when(&at)),
        access_until: line.access_until.map(|at| shell.when(&at)),
        next_charge: line.next_charge_at.map(|at| (shell.when(&at), shell.distance(&at))),
        declines: line.declines,
        card: line.card.as_ref().map(show::card).unwrap_or_default(),
    }
}

/// `<microseconds>.<id>`: rows of the same second are told apart.
fn written((at, id): AccountCursor) -> String {
    format!("{}.{id}", at.timestamp_micros())
}

fn cursor(text: &str) -> Option<AccountCursor> {
    let (at, id) = text.split_once('.')?;
    Some((DateTime::from_timestamp_micros(at.parse().ok()?)?, id.parse().ok()?))
}

/// What an export has of it.
pub(crate) struct Accounts;

impl List for Accounts {
    type Filter = AccountFilter;
    type Row = AccountLine;
    type Cursor = AccountCursor;

    const NAME: &'static str = "accounts";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "created_at",
        "status",
        "renews",
        "tariff",
        "paid_until",
        "access_until",
        "next_charge_at",
        "refusals",
        "card",
    ];

    fn filter(query: &Params, zone: Tz) -> AccountFilter {
        let _ = zone;
        AccountFilter { status: query.get("status").parse().ok() }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a AccountFilter,
        part: Part<AccountCursor>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<AccountLine>, StoreError>> {
        Box::pin(browse::accounts(conn, *filter, part, limit))
    }

    fn cursor(row: &AccountLine) -> AccountCursor {
        row.cursor()
    }

    fn values(row: &AccountLine) -> Vec<Value> {
        vec![
            Value::Text(row.id.to_string()),
            Value::At(row.created_at),
            Value::Text(row.status.to_string()),
            Value::Text(if row.cancel_at_period_end { "no" } else { "yes" }.to_owned()),
            Value::text(row.tariff.as_ref()),
            Value::at(row.paid_until),
            Value::at(row.access_until),
            Value::at(row.next_charge_at),
            Value::Number(row.declines.into()),
            Value::text(row.card.as_ref().map(show::card)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_survives_the_address() {
        let at = "2026-03-10T09:00:00.123456Z".parse().unwrap();
        let place = (at, AccountId::new());
        assert_eq!(cursor(&written(place)), Some(place));
        for wrong in ["", "1", "1.2", "x.y", "99999999999999999999.0"] {
            assert_eq!(cursor(wrong), None, "{wrong}");
        }
    }
}
