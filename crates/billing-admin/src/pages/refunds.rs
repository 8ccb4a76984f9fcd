//! The list of refunds.

use billing::Kopecks;
use billing::models::RefundRow;
use billing::refund::{RefundSource, RefundState};
use billing::store::StoreError;
use billing::store::browse::{self, Part, RefundCursor, RefundFilter, RefundKey, Slice};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use super::days;
use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::sort;
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Choice, Section, Shell};
use crate::params::Params;
use crate::{show, words};

pub(crate) struct Refunds;

impl List for Refunds {
    type Filter = RefundFilter;
    type Row = RefundRow;
    type Cursor = RefundCursor;

    const NAME: &'static str = "refunds";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "created_at",
        "payment",
        "amount",
        "currency",
        "state",
        "source",
        "access",
        "requested_by",
        "approved_by",
        "transaction_id",
        "finished_at",
        "reason",
    ];

    fn filter(query: &Params, zone: Tz) -> RefundFilter {
        RefundFilter {
            state: query.get("state").parse().ok(),
            source: query.get("source").parse().ok(),
            waits: query.get("waits") == "yes",
            made: days(query, zone),
            sort: sort(query, &[("created", RefundKey::Made), ("amount", RefundKey::Amount)]),
        }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a RefundFilter,
        part: Part<RefundCursor>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<RefundRow>, StoreError>> {
        Box::pin(browse::refunds(conn, *filter, part, limit))
    }

    fn cursor(row: &RefundRow, _: &RefundFilter) -> RefundCursor {
        (row.amount, row.id)
    }

    fn values(row: &RefundRow) -> Vec<Value> {
        vec![
            Value::Text(row.id.to_string()),
            Value::At(row.created_at),
            Value::Text(row.payment_id.to_string()),
            Value::Amount(row.amount, row.currency),
            Value::Text(row.currency.to_string()),
            Value::Text(row.state.to_string()),
            Value::Text(row.source.to_string()),
            Value::Text(row.effect.to_string()),
            Value::text(row.requested_by.as_ref()),
            Value::text(row.approved_by.as_ref()),
            Value::number(row.gateway_tx_id),
            Value::at(row.finished_at),
            Value::Text(row.reason.clone()),
        ]
    }
}

impl Listed for Refunds {
    const SECTION: Section = Section::Refunds;
    const SORTED: &'static str = "-created";

    fn title(lang: Lang) -> &'static str {
        lang.of("Refunds", "Возвраты")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of("Nothing went back yet.", "Возвратов ещё не было.")
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        let lang = shell.lang();
        let state = |state| words::refund(state, lang).word;
        let source = |source| words::refund_source(source, lang);
        let waits = Choice {
            value: "yes",
            word: lang.of("is waited for", "ожидается").to_owned(),
            is_on: query.get("waits") == "yes",
        };
        let second = lang.of("Second person", "Второе лицо");
        vec![
            Field::choice(query, "state", lang.of("State", "Состояние"), RefundState::ALL, RefundState::as_str, state),
            Field::choice(query, "source", lang.of("By", "Кем"), RefundSource::ALL, RefundSource::as_str, source),
            Field::Choice { name: "waits", label: second, choices: vec![waits] },
            Field::days(query, lang.of("Asked for from", "Запрошен с")),
        ]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        vec![
            Head::text(lang.of("Refund", "Возврат")),
            Head::text(lang.of("Asked for", "Запрошен")).by("-created"),
            Head::number(lang.of("Amount", "Сумма")).by("-amount"),
            Head::text(lang.of("State", "Состояние")),
            Head::text(lang.of("Payment", "Платёж")),
            Head::text(lang.of("By", "Кем")),
            Head::text(lang.of("Why", "Причина")),
        ]
    }

    fn cells(row: &RefundRow, shell: &Shell) -> Vec<Cell> {
        let lang = shell.lang();
        let waits = shell.t("waits for a second person", "ждёт второго лица");
        let who = row.requested_by.clone().unwrap_or_else(|| words::refund_source(row.source, lang).to_owned());
        vec![
            Cell::link("refunds", Some(row.id)),
            Cell::When(shell.when(&row.created_at)),
            Cell::Text(show::money(row.amount, row.currency, lang)),
            if row.waits_for_approval() {
                Cell::Words(waits.to_owned())
            } else {
                Cell::State(words::refund(row.state, lang))
            },
            Cell::link("payments", Some(row.payment_id)),
            Cell::Text(who),
            Cell::Words(row.reason.clone()),
        ]
    }

    fn read_cursor(text: &str) -> Option<RefundCursor> {
        let (amount, id) = text.split_once('~')?;
        Some((Kopecks::new(amount.parse().ok()?), id.parse().ok()?))
    }

    fn write_cursor((amount, id): &RefundCursor) -> String {
        format!("{}~{id}", amount.get())
    }
}
