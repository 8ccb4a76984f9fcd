//! The list of payments.

use askama::Template;
use axum::extract::State;
use billing::payment::PaymentState;
use billing::store::browse::{self, PaymentFilter};
use billing::store::payments::PaymentView;
use billing::{AccountId, PaymentId};
use diesel_async::AsyncPgConnection;

use super::{Answer, ROWS, Shared, briefly, days, pages, part};
use crate::page::{Chip, Choice, Pages, Section, Shell, Status, Viewer, html};
use crate::params::Asked;
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
    let filter = PaymentFilter {
        state: query.get("state").parse().ok(),
        reason_code: query.get("code").parse().ok(),
        made: days(&query, shell.zone),
    };
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
    let pages = pages(&slice, &query, |row: &PaymentView| row.id.to_string());
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
    Ok(html(&Page { shell, states, code, from, to, chips, rows, pages }))
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
