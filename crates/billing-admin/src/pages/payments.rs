//! The list of payments.

use askama::Template;
use axum::extract::State;
use billing::payment::PaymentState;
use billing::staff::Right;
use billing::store::StoreError;
use billing::store::browse::{self, Part, PaymentFilter, Slice};
use billing::store::payments::PaymentView;
use billing::{AccountId, PaymentId};
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
#[template(path = "payments.html")]
struct Page {
    shell: Shell,
    states: Vec<Choice>,
    code: String,
    from: String,
    to: String,
    chips: Vec<Chip>,
    rows: Vec<Row>,
    pages: Pages,
    /// Where the money of all of the list is given back, for whoever may.
    bulk: Option<String>,
}

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

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    let shell = Shell::new(&core, Section::Payments, &viewer);
    let filter = Payments::filter(&query, shell.zone);
    let part = part(&query, |text| text.parse().ok());
    let mut conn = core.services.db.conn().await?;
    let slice = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            browse::payments(conn, filter, part, ROWS).await
        })
        .await?;
    drop(conn);
    let pages = pages(&slice, &query, |row: &PaymentView| row.id.to_string()).exported(&shell, Payments::NAME, &query);
    let pages = pages.viewed(&core, &shell, Payments::NAME, &query).await?;
    let choice = |state: &PaymentState| Choice {
        value: state.as_str(),
        word: words::payment(*state, shell.lang()).word.to_owned(),
        is_on: filter.state == Some(*state),
    };
    let states: Vec<Choice> = PaymentState::ALL.iter().map(choice).collect();
    let mut chips = super::day_chips(&shell, &query, filter.made);
    let chosen = states.iter().filter(|choice| choice.is_on);
    chips.extend(chosen.map(|choice| Chip { says: choice.word.clone(), without: query.with("state", "") }));
    chips.extend(
        filter
            .reason_code
            .map(|code| Chip {
                says: format!("{} {code}", shell.t("code", "код")), without: query.with("code", "")
            }),
    );
    let rows = slice.rows.iter().map(|payment| row(&shell, payment)).collect();
    let [code, from, to] = ["code", "from", "to"].map(|name| query.get(name).to_owned());
    let bulk = viewer.visitor()?.has(Right::GiveBack).then(|| format!("/payments/refund{}", query.with("", "")));
    Ok(html(&Page { shell, states, code, from, to, chips, rows, pages, bulk }))
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

/// What an export has of it.
pub(crate) struct Payments;

impl List for Payments {
    type Filter = PaymentFilter;
    type Row = PaymentView;
    type Cursor = PaymentId;

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
        }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a PaymentFilter,
        part: Part<PaymentId>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<PaymentView>, StoreError>> {
        Box::pin(browse::payments(conn, *filter, part, limit))
    }

    fn cursor(row: &PaymentView) -> PaymentId {
        row.id
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
