//! The list of bills.

use askama::Template;
use axum::extract::State;
use billing::bill::BillStatus;
use billing::store::StoreError;
use billing::store::browse::{self, BillFilter, Part, Slice};
use billing::store::subscriptions::BillView;
use billing::{AccountId, BillId};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use super::{Answer, ROWS, Shared, briefly, days, pages, part};
use crate::list::List;
use crate::list::export::Value;
use crate::page::{Chip, Choice, Pages, Section, Shell, Status, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::{self, When};
use crate::words;

#[derive(Template)]
#[template(path = "bills.html")]
struct Page {
    shell: Shell,
    statuses: Vec<Choice>,
    from: String,
    to: String,
    chips: Vec<Chip>,
    rows: Vec<Row>,
    pages: Pages,
}

pub(super) struct Row {
    pub(super) id: BillId,
    pub(super) short: String,
    pub(super) made: When,
    pub(super) account: AccountId,
    pub(super) account_short: String,
    pub(super) kind: String,
    pub(super) description: String,
    pub(super) amount: String,
    pub(super) status: Status,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    let shell = Shell::new(&core, Section::Bills, &viewer);
    let filter = Bills::filter(&query, shell.zone);
    let part = part(&query, |text| text.parse().ok());
    let mut conn = core.services.db.conn().await?;
    let slice = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            browse::bills(conn, filter, part, ROWS).await
        })
        .await?;
    drop(conn);
    let pages = pages(&slice, &query, |row: &BillView| row.id.to_string()).exported(&shell, Bills::NAME, &query);
    let pages = pages.viewed(&core, &shell, Bills::NAME, &query).await?;
    let choice = |status: &BillStatus| Choice {
        value: status.as_str(),
        word: words::bill(*status, shell.lang()).word.to_owned(),
        is_on: filter.status == Some(*status),
    };
    let statuses: Vec<Choice> = BillStatus::ALL.iter().map(choice).collect();
    let mut chips: Vec<Chip> = super::day_chips(&shell, &query, filter.made);
    let chosen = statuses.iter().filter(|choice| choice.is_on);
    chips.extend(chosen.map(|choice| Chip { says: choice.word.clone(), without: query.with("status", "") }));
    let rows = slice.rows.iter().map(|bill| row(&shell, bill)).collect();
    let (from, to) = (query.get("from").to_owned(), query.get("to").to_owned());
    Ok(html(&Page { shell, statuses, from, to, chips, rows, pages }))
}

pub(super) fn row(shell: &Shell, bill: &BillView) -> Row {
    Row {
        id: bill.id,
        short: show::short(bill.id),
        made: shell.when(&bill.created_at),
        account: bill.account_id,
        account_short: show::short(bill.account_id),
        kind: kind(bill, shell),
        description: bill.description.clone(),
        amount: show::money(bill.amount, bill.currency, shell.lang()),
        status: words::bill(bill.status, shell.lang()),
    }
}

/// `renewal № 14`.
fn kind(bill: &BillView, shell: &Shell) -> String {
    let kind = words::kind(bill.kind, shell.lang());
    match bill.period_no {
        0 => kind.to_owned(),
        number => format!("{kind} {}\u{a0}{number}", shell.t("no.", "№")),
    }
}

/// What an export has of it.
pub(crate) struct Bills;

impl List for Bills {
    type Filter = BillFilter;
    type Row = BillView;
    type Cursor = BillId;

    const NAME: &'static str = "bills";
    const COLUMNS: &'static [&'static str] =
        &["id", "created_at", "account", "kind", "description", "period_no", "amount", "currency", "status", "paid_at"];

    fn filter(query: &Params, zone: Tz) -> BillFilter {
        BillFilter { status: query.get("status").parse().ok(), made: days(query, zone) }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a BillFilter,
        part: Part<BillId>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<BillView>, StoreError>> {
        Box::pin(browse::bills(conn, *filter, part, limit))
    }

    fn cursor(row: &BillView) -> BillId {
        row.id
    }

    fn values(row: &BillView) -> Vec<Value> {
        vec![
            Value::Text(row.id.to_string()),
            Value::At(row.created_at),
            Value::Text(row.account_id.to_string()),
            Value::Text(row.kind.to_string()),
            Value::Text(row.description.clone()),
            Value::Number(row.period_no.into()),
            Value::Amount(row.amount, row.currency),
            Value::Text(row.currency.to_string()),
            Value::Text(row.status.to_string()),
            Value::at(row.paid_at),
        ]
    }
}
