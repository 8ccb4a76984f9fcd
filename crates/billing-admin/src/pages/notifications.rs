//! What the gateway has told by itself; the fiscal receipts among it have a list of their own.

use billing::notification::{NoticeEffect, NoticeKind};
use billing::store::StoreError;
use billing::store::browse::{self, NotificationCursor, NotificationFilter, NotificationLine, Part, Slice};
use billing::store::notifications::NoticeKey;
use billing::{Currency, Kopecks};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use super::again::notification_page;
use super::days;
use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::order;
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Section, Shell};
use crate::params::Params;
use crate::words;

pub(crate) struct Notifications;

/// Of the kind [`NoticeKind::Receipt`].
pub(crate) struct Receipts;

fn amount(row: &NotificationLine) -> Option<(Kopecks, Currency)> {
    let (amount, currency) = row.notice.amount.zip(row.notice.currency.as_deref())?;
    Some((Kopecks::new(amount), currency.parse().ok()?))
}

/// `2026-11-30T10:00:00.123456Z~pay~12~<the digest in hexadecimal>`
fn written(cursor: &NotificationCursor) -> String {
    let digest: String = cursor.body_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}~{}~{digest}~{}", cursor.received_at.to_rfc3339(), cursor.kind, cursor.gateway_id)
}

fn read(text: &str) -> Option<NotificationCursor> {
    let mut parts = text.splitn(4, '~');
    let received_at: DateTime<Utc> = parts.next()?.parse().ok()?;
    let kind = parts.next()?.parse().ok()?;
    let digest = parts.next()?;
    let bytes = digest.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let body_sha256 = bytes.collect::<Option<Vec<u8>>>()?;
    Some(NotificationCursor { received_at, kind, body_sha256, gateway_id: parts.next()?.to_owned() })
}

impl List for Notifications {
    type Filter = NotificationFilter;
    type Row = NotificationLine;
    type Cursor = NotificationCursor;

    const NAME: &'static str = "notifications";
    const COLUMNS: &'static [&'static str] = &[
        "received_at",
        "kind",
        "gateway_id",
        "transaction_id",
        "invoice_id",
        "account",
        "amount",
        "currency",
        "status",
        "reason_code",
        "effect",
        "payment",
    ];

    fn filter(query: &Params, zone: Tz) -> NotificationFilter {
        NotificationFilter {
            kind: query.get("kind").parse().ok(),
            effect: query.get("effect").parse().ok(),
            received: days(query, zone),
            order: order(query, "received"),
        }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a NotificationFilter,
        part: Part<NotificationCursor>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<NotificationLine>, StoreError>> {
        Box::pin(async move { browse::notifications(conn, *filter, &part, limit).await })
    }

    fn cursor(row: &NotificationLine, _: &NotificationFilter) -> NotificationCursor {
        row.cursor.clone()
    }

    fn values(row: &NotificationLine) -> Vec<Value> {
        let amount = amount(row);
        vec![
            Value::At(row.cursor.received_at),
            Value::Text(row.cursor.kind.to_string()),
            Value::Text(row.cursor.gateway_id.clone()),
            Value::number(row.notice.transaction_id),
            Value::text(row.notice.invoice_id.as_ref()),
            Value::text(row.notice.account_id.as_ref()),
            amount.map_or(Value::Nothing, |(amount, currency)| Value::Amount(amount, currency)),
            Value::text(row.notice.currency.as_ref()),
            Value::text(row.notice.status.as_ref()),
            Value::number(row.notice.reason_code.map(i64::from)),
            Value::text(row.effect),
            Value::text(row.payment_id),
        ]
    }
}

impl Listed for Notifications {
    const SECTION: Section = Section::Notifications;
    const SORTED: &'static str = "-received";

    fn title(lang: Lang) -> &'static str {
        lang.of("Notifications of the gateway", "Уведомления шлюза")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of("The gateway has told nothing yet.", "Шлюз ещё ничего не сообщал.")
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        let lang = shell.lang();
        let kind = |kind| words::notice(kind, lang);
        let effect = |effect| words::notice_effect(Some(effect), lang).word;
        vec![
            Field::choice(query, "kind", lang.of("Of what", "О чём"), NoticeKind::ALL, NoticeKind::as_str, kind),
            Field::choice(
                query,
                "effect",
                lang.of("What came of it", "Что вышло"),
                NoticeEffect::ALL,
                NoticeEffect::as_str,
                effect,
            ),
            Field::days(query, lang.of("Received from", "Получено с")),
        ]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        vec![
            Head::text(lang.of("Received", "Получено")).by("-received"),
            Head::text(lang.of("Of what", "О чём")),
            Head::text(lang.of("What came of it", "Что вышло")),
            Head::number(lang.of("Amount", "Сумма")),
            Head::number(lang.of("Transaction", "Транзакция")),
            Head::number(lang.of("Code", "Код")),
            Head::text(lang.of("Payment", "Платёж")),
        ]
    }

    fn cells(row: &NotificationLine, shell: &Shell) -> Vec<Cell> {
        let lang = shell.lang();
        let number = |number: Option<i64>| Cell::Text(number.map(|number| number.to_string()).unwrap_or_default());
        let money = amount(row).map(|(amount, currency)| crate::show::money(amount, currency, lang));
        vec![
            to_page(row, shell),
            Cell::Text(words::notice(row.cursor.kind, lang).to_owned()),
            Cell::State(words::notice_effect(row.effect, lang)),
            Cell::Text(money.unwrap_or_default()),
            number(row.notice.transaction_id),
            number(row.notice.reason_code.map(i64::from)),
            Cell::link("payments", row.payment_id),
        ]
    }

    fn read_cursor(text: &str) -> Option<NotificationCursor> {
        read(text)
    }

    fn write_cursor(cursor: &NotificationCursor) -> String {
        written(cursor)
    }
}

/// The time at which it came, with the way to its page.
fn to_page(row: &NotificationLine, shell: &Shell) -> Cell {
    let text = shell.exactly(&row.cursor.received_at).text().to_owned();
    let Ok(body_sha256) = row.cursor.body_sha256.clone().try_into() else { return Cell::Text(text) };
    let key = NoticeKey { kind: row.cursor.kind, gateway_id: row.cursor.gateway_id.clone(), body_sha256 };
    Cell::Link { href: notification_page(&key), text, title: key.gateway_id }
}

impl List for Receipts {
    type Filter = NotificationFilter;
    type Row = NotificationLine;
    type Cursor = NotificationCursor;

    const NAME: &'static str = "receipts";
    const COLUMNS: &'static [&'static str] = &[
        "received_at",
        "transaction_id",
        "document_number",
        "fiscal_sign",
        "fiscal_number",
        "amount",
        "currency",
        "account",
        "payment",
    ];

    fn filter(query: &Params, zone: Tz) -> NotificationFilter {
        NotificationFilter {
            kind: Some(NoticeKind::Receipt),
            effect: None,
            received: days(query, zone),
            order: order(query, "received"),
        }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a NotificationFilter,
        part: Part<NotificationCursor>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<NotificationLine>, StoreError>> {
        Notifications::read(conn, filter, part, limit)
    }

    fn cursor(row: &NotificationLine, _: &NotificationFilter) -> NotificationCursor {
        row.cursor.clone()
    }

    fn values(row: &NotificationLine) -> Vec<Value> {
        let (amount, fiscal) = (amount(row), row.notice.fiscal.as_ref());
        vec![
            Value::At(row.cursor.received_at),
            Value::number(row.notice.transaction_id),
            Value::text(fiscal.and_then(|fiscal| fiscal.document_number.as_ref())),
            Value::text(fiscal.and_then(|fiscal| fiscal.fiscal_sign.as_ref())),
            Value::text(fiscal.and_then(|fiscal| fiscal.fiscal_number.as_ref())),
            amount.map_or(Value::Nothing, |(amount, currency)| Value::Amount(amount, currency)),
            Value::text(row.notice.currency.as_ref()),
            Value::text(row.notice.account_id.as_ref()),
            Value::text(row.payment_id),
        ]
    }
}

impl Listed for Receipts {
    const SECTION: Section = Section::Receipts;
    const SORTED: &'static str = "-received";

    fn title(lang: Lang) -> &'static str {
        lang.of("Receipts", "Чеки")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of("The gateway has told of no receipt yet.", "Шлюз ещё не сообщал о чеках.")
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        vec![Field::days(query, shell.lang().of("Received from", "Получено с"))]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        vec![
            Head::text(lang.of("Received", "Получено")).by("-received"),
            Head::number(lang.of("Amount", "Сумма")),
            Head::number(lang.of("Document", "Документ")),
            Head::number(lang.of("Fiscal sign", "Фискальный признак")),
            Head::number(lang.of("Transaction", "Транзакция")),
            Head::text(lang.of("Payment", "Платёж")),
        ]
    }

    fn cells(row: &NotificationLine, shell: &Shell) -> Vec<Cell> {
        let fiscal = row.notice.fiscal.as_ref();
        let text = |text: Option<&String>| Cell::Text(text.cloned().unwrap_or_default());
        let money = amount(row).map(|(amount, currency)| crate::show::money(amount, currency, shell.lang()));
        vec![
            Cell::When(shell.exactly(&row.cursor.received_at)),
            Cell::Text(money.unwrap_or_default()),
            text(fiscal.and_then(|fiscal| fiscal.document_number.as_ref())),
            text(fiscal.and_then(|fiscal| fiscal.fiscal_sign.as_ref())),
            Cell::Text(row.notice.transaction_id.map(|id| id.to_string()).unwrap_or_default()),
            Cell::link("payments", row.payment_id),
        ]
    }

    fn read_cursor(text: &str) -> Option<NotificationCursor> {
        read(text)
    }

    fn write_cursor(cursor: &NotificationCursor) -> String {
        written(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_is_read_as_it_was_written() {
        let cursor = NotificationCursor {
            received_at: "2026-11-30T10:00:00.123456Z".parse().unwrap(),
            gateway_id: "a~b".to_owned(),
            body_sha256: vec![0, 255, 16],
            kind: NoticeKind::Pay,
        };
        assert_eq!(read(&written(&cursor)), Some(cursor));
        for text in ["", "2026-11-30T10:00:00Z~pay", "2026-11-30T10:00:00Z~pay~zz~1", "now~pay~00~1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
