//! The list of accounts.

use billing::account::AccountStatus;
use billing::staff::Right;
use billing::store::StoreError;
use billing::store::browse::{self, AccountCursor, AccountFilter, AccountKey, AccountLine, Part, Slice};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::sort;
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Section, Shell};
use crate::params::Params;
use crate::{show, words};

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

    fn filter(query: &Params, _: Tz) -> AccountFilter {
        let keys = [
            ("created", AccountKey::Created),
            ("paid_until", AccountKey::PaidUntil),
            ("next_charge", AccountKey::NextCharge),
        ];
        AccountFilter { status: query.get("status").parse().ok(), sort: sort(query, &keys) }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a AccountFilter,
        part: Part<AccountCursor>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<AccountLine>, StoreError>> {
        Box::pin(browse::accounts(conn, *filter, part, limit))
    }

    fn cursor(row: &AccountLine, filter: &AccountFilter) -> AccountCursor {
        row.cursor(filter.sort.by)
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

impl Listed for Accounts {
    const SECTION: Section = Section::Accounts;
    const SORTED: &'static str = "-created";

    fn title(lang: Lang) -> &'static str {
        lang.of("Accounts", "Абоненты")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of(
            "There is no account yet: the auth service registers them.",
            "Абонентов ещё нет: их регистрирует сервис авторизации.",
        )
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        let lang = shell.lang();
        let word = |status| words::account(status, lang).word;
        let label = lang.of("Status", "Состояние");
        vec![Field::choice(query, "status", label, AccountStatus::ALL, AccountStatus::as_str, word)]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        let is_paid = lang.of("those that were paid for", "только оплаченные");
        let is_charged = lang.of("those with a next charge", "только со следующим списанием");
        vec![
            Head::text(lang.of("Account", "Абонент")),
            Head::text(lang.of("Status", "Состояние")),
            Head::text(lang.of("Tariff", "Тариф")),
            Head::text(lang.of("Paid until", "Оплачено до")).by("paid_until").only(is_paid),
            Head::text(lang.of("Access until", "Доступ до")),
            Head::text(lang.of("Next charge", "Следующее списание")).by("next_charge").only(is_charged),
            Head::number(lang.of("Refusals", "Отказы")),
            Head::text(lang.of("Card", "Карта")),
            Head::text(lang.of("Registered", "Зарегистрирован")).by("-created"),
        ]
    }

    fn cells(row: &AccountLine, shell: &Shell) -> Vec<Cell> {
        let when = |at: Option<DateTime<Utc>>| Cell::when(at.map(|at| shell.when(&at)));
        let ends = if row.cancel_at_period_end { shell.t("not renewed", "не продлевается") } else { "" };
        let distance = row.next_charge_at.map(|at| shell.distance(&at)).unwrap_or_default();
        vec![
            Cell::link("accounts", Some(row.id)),
            Cell::State(words::account(row.status, shell.lang())).noted(ends),
            Cell::Text(row.tariff.clone().unwrap_or_default()),
            when(row.paid_until),
            when(row.access_until),
            when(row.next_charge_at).noted(distance),
            Cell::Text(row.declines.to_string()),
            Cell::Text(row.card.as_ref().map(show::card).unwrap_or_default()),
            when(Some(row.created_at)),
        ]
    }

    fn bulk(query: &Params, shell: &Shell) -> Option<(String, &'static str)> {
        let may = shell.viewer.visitor.as_ref().is_some_and(|visitor| visitor.has(Right::MendSubscriptions));
        let name = shell.lang().of("Extend all of the list…", "Продлить всем из списка…");
        may.then(|| (format!("/accounts/extend{}", query.with("", "")), name))
    }

    fn read_cursor(text: &str) -> Option<AccountCursor> {
        cursor(text)
    }

    fn write_cursor(cursor: &AccountCursor) -> String {
        written(*cursor)
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

#[cfg(test)]
mod tests {
    use billing::AccountId;

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
