//! The list of bills.

use billing::bill::BillStatus;
use billing::store::StoreError;
use billing::store::browse::{self, BillFilter, Part, Slice};
use billing::store::subscriptions::BillView;
use billing::{AccountId, BillId};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use super::days;
use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::order;
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Section, Shell, Status};
use crate::params::Params;
use crate::show::{self, When};
use crate::words;

/// A bill on the page of something else.
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

pub(crate) struct Bills;

impl List for Bills {
    type Filter = BillFilter;
    type Row = BillView;
    type Cursor = BillId;

    const NAME: &'static str = "bills";
    const COLUMNS: &'static [&'static str] =
        &["id", "created_at", "account", "kind", "description", "period_no", "amount", "currency", "status", "paid_at"];

    fn filter(query: &Params, zone: Tz) -> BillFilter {
        BillFilter { status: query.get("status").parse().ok(), made: days(query, zone), order: order(query, "created") }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a BillFilter,
        part: Part<BillId>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<BillView>, StoreError>> {
        Box::pin(browse::bills(conn, *filter, part, limit))
    }

    fn cursor(row: &BillView, _: &BillFilter) -> BillId {
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

impl Listed for Bills {
    const SECTION: Section = Section::Bills;
    const SORTED: &'static str = "-created";

    fn title(lang: Lang) -> &'static str {
        lang.of("Bills", "Счета")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of("There is no bill yet: the first purchase opens one.", "Счетов ещё нет: их открывает первая покупка.")
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        let lang = shell.lang();
        let word = |status| words::bill(status, lang).word;
        let label = lang.of("Status", "Состояние");
        vec![
            Field::choice(query, "status", label, BillStatus::ALL, BillStatus::as_str, word),
            Field::days(query, lang.of("Opened from", "Открыт с")),
        ]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        vec![
            Head::text(lang.of("Bill", "Счёт")),
            Head::text(lang.of("Opened", "Открыт")).by("-created"),
            Head::text(lang.of("For", "За что")),
            Head::number(lang.of("Amount", "Сумма")),
            Head::text(lang.of("Status", "Состояние")),
            Head::text(lang.of("Account", "Абонент")),
            Head::text(lang.of("Paid", "Оплачен")),
        ]
    }

    fn cells(bill: &BillView, shell: &Shell) -> Vec<Cell> {
        let row = row(shell, bill);
        vec![
            Cell::link("bills", Some(bill.id)),
            Cell::When(row.made),
            Cell::Words(format!("{}, {}", row.kind, row.description)),
            Cell::Text(row.amount),
            Cell::State(row.status),
            Cell::link("accounts", Some(bill.account_id)),
            Cell::when(bill.paid_at.map(|at| shell.when(&at))),
        ]
    }

    fn read_cursor(text: &str) -> Option<BillId> {
        text.parse().ok()
    }

    fn write_cursor(cursor: &BillId) -> String {
        cursor.to_string()
    }
}
