//! The list of payments.

use billing::payment::PaymentState;
use billing::staff::Right;
use billing::store::StoreError;
use billing::store::browse::{self, Part, PaymentCursor, PaymentFilter, PaymentKey, Slice};
use billing::store::payments::PaymentView;
use billing::{AccountId, PaymentId};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use super::days;
use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::sort;
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Section, Shell, Status};
use crate::params::Params;
use crate::show::{self, When};
use crate::words;

/// A payment on the page of something else.
pub(super) struct Row {
    pub(super) id: PaymentId,
    pub(super) invoice_no: i64,
    pub(super) made: When,
    pub(super) transaction: String,
    pub(super) account: AccountId,
    pub(super) account_short: String,
    pub(super) amount: String,
    pub(super) state: Status,
    pub(super) code: String,
    pub(super) instrument: &'static str,
    pub(super) card: String,
}

pub(super) fn row(shell: &Shell, payment: &PaymentView) -> Row {
    let lang = shell.lang();
    Row {
        id: payment.id,
        invoice_no: payment.invoice_no,
        made: shell.exactly(&payment.created_at),
        transaction: payment.transaction_id.map(|id| id.to_string()).unwrap_or_default(),
        account: payment.account_id,
        account_short: show::short(payment.account_id),
        amount: show::money(payment.amount, payment.currency, lang),
        state: words::payment(payment.state, lang),
        code: payment.decline.as_ref().map(|decline| decline.code.to_string()).unwrap_or_default(),
        instrument: words::instrument(payment.instrument, lang),
        card: payment.card.as_ref().map(show::card).unwrap_or_default(),
    }
}

pub(crate) struct Payments;

impl List for Payments {
    type Filter = PaymentFilter;
    type Row = PaymentView;
    type Cursor = PaymentCursor;

    const NAME: &'static str = "payments";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "invoice_no",
        "created_at",
        "account",
        "bill",
        "amount",
        "currency",
        "state",
        "reason_code",
        "instrument",
        "card",
        "transaction_id",
    ];

    fn filter(query: &Params, zone: Tz) -> PaymentFilter {
        PaymentFilter {
            state: query.get("state").parse().ok(),
            reason_code: query.get("code").parse().ok(),
            made: days(query, zone),
            sort: sort(query, &[("created", PaymentKey::Made), ("transaction", PaymentKey::Transaction)]),
        }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a PaymentFilter,
        part: Part<PaymentCursor>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<PaymentView>, StoreError>> {
        Box::pin(browse::payments(conn, *filter, part, limit))
    }

    fn cursor(row: &PaymentView, filter: &PaymentFilter) -> PaymentCursor {
        PaymentCursor::of(row, filter.sort.by)
    }

    fn values(row: &PaymentView) -> Vec<Value> {
        vec![
            Value::Text(row.id.to_string()),
            Value::Number(row.invoice_no),
            Value::At(row.created_at),
            Value::Text(row.account_id.to_string()),
            Value::Text(row.bill_id.to_string()),
            Value::Amount(row.amount, row.currency),
            Value::Text(row.currency.to_string()),
            Value::Text(row.state.to_string()),
            Value::number(row.decline.as_ref().map(|decline| decline.code.into())),
            Value::Text(row.instrument.to_string()),
            Value::text(row.card.as_ref().map(show::card)),
            Value::number(row.transaction_id),
        ]
    }
}

impl Listed for Payments {
    const SECTION: Section = Section::Payments;
    const SORTED: &'static str = "-created";

    fn title(lang: Lang) -> &'static str {
        lang.of("Payments", "Платежи")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of(
            "There is no payment yet: the first purchase makes one.",
            "Платежей ещё нет: первый создаст первая покупка.",
        )
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        let lang = shell.lang();
        let word = |state| words::payment(state, lang).word;
        let label = lang.of("State", "Состояние");
        vec![
            Field::choice(query, "state", label, PaymentState::ALL, PaymentState::as_str, word),
            Field::text(query, "code", lang.of("Reason code", "Код причины")),
            Field::days(query, lang.of("Made from", "Создан с")),
        ]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        let is_known = lang.of("those that the gateway knows", "только известные шлюзу");
        vec![
            Head::text(lang.of("Invoice no.", "Номер")),
            Head::text(lang.of("Made", "Создан")).by("-created"),
            Head::number(lang.of("Amount", "Сумма")),
            Head::text(lang.of("State", "Состояние")),
            Head::text(lang.of("Account", "Абонент")),
            Head::text(lang.of("Paid with", "Чем")),
            Head::number(lang.of("Transaction", "Транзакция")).by("-transaction").only(is_known),
        ]
    }

    fn cells(payment: &PaymentView, shell: &Shell) -> Vec<Cell> {
        let row = row(shell, payment);
        let with =
            if row.card.is_empty() { row.instrument.to_owned() } else { format!("{}, {}", row.instrument, row.card) };
        vec![
            Cell::Link {
                href: format!("/payments/{}", payment.id),
                text: payment.invoice_no.to_string(),
                title: payment.id.to_string(),
            },
            Cell::When(row.made),
            Cell::Text(row.amount),
            Cell::State(row.state).noted(row.code),
            Cell::link("accounts", Some(payment.account_id)),
            Cell::Text(with),
            Cell::Text(row.transaction),
        ]
    }

    fn bulk(query: &Params, shell: &Shell) -> Option<(String, &'static str)> {
        let may = shell.viewer.visitor.as_ref().is_some_and(|visitor| visitor.has(Right::GiveBack));
        let name = shell.lang().of("Give money back to all of the list…", "Вернуть деньги по списку…");
        may.then(|| (format!("/payments/refund{}", query.with("", "")), name))
    }

    fn read_cursor(text: &str) -> Option<PaymentCursor> {
        let transaction = text.parse().ok().map(PaymentCursor::Transaction);
        transaction.or_else(|| text.parse().ok().map(PaymentCursor::Id))
    }

    fn write_cursor(cursor: &PaymentCursor) -> String {
        match cursor {
            PaymentCursor::Id(id) => id.to_string(),
            PaymentCursor::Transaction(number) => number.to_string(),
        }
    }
}
