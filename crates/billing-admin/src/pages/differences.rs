//! Where the gateway's list and our rows do not agree: the list, one of them, and what somebody decides about it.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use billing::reconciliation::{DifferenceKind, DifferenceState};
use billing::staff::Right;
use billing::store::StoreError;
use billing::store::browse::{self, DifferenceCursor, DifferenceFilter, Part, Slice};
use billing::store::reconciliation::{DecideError, Difference};
use billing::store::staff::decide_difference;
use billing::{Currency, DifferenceId, Kopecks, trail};
use chrono::DateTime;
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use super::{Answer, Shared, days};
use crate::Core;
use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::order;
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Choice, Problem, Section, Shell, Status, Viewer, html};
use crate::params::Params;
use crate::show::{self, When};
use crate::words;

pub(crate) struct Differences;

fn money(amount: Option<Kopecks>, currency: Option<&String>) -> Option<(Kopecks, Currency)> {
    Some((amount?, currency?.parse().ok()?))
}

fn value(amount: Option<Kopecks>, currency: Option<&String>) -> Value {
    money(amount, currency).map_or(Value::Nothing, |(amount, currency)| Value::Amount(amount, currency))
}

fn written_money(amount: Option<Kopecks>, currency: Option<&String>, lang: Lang) -> String {
    money(amount, currency).map_or_else(String::new, |(amount, currency)| show::money(amount, currency, lang))
}

impl List for Differences {
    type Filter = DifferenceFilter;
    type Row = Difference;
    type Cursor = DifferenceCursor;

    const NAME: &'static str = "differences";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "at",
        "kind",
        "state",
        "transaction_id",
        "payment",
        "our_amount",
        "their_amount",
        "our_state",
        "their_status",
        "decided_at",
        "decided_by",
        "reason",
    ];

    fn filter(query: &Params, zone: Tz) -> DifferenceFilter {
        DifferenceFilter {
            state: query.get("state").parse().ok(),
            kind: query.get("kind").parse().ok(),
            moved: days(query, zone),
            order: order(query, "at"),
        }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a DifferenceFilter,
        part: Part<DifferenceCursor>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<Difference>, StoreError>> {
        Box::pin(browse::differences(conn, *filter, part, limit))
    }

    fn cursor(row: &Difference, _: &DifferenceFilter) -> DifferenceCursor {
        (row.at, row.id)
    }

    fn values(row: &Difference) -> Vec<Value> {
        vec![
            Value::Text(row.id.to_string()),
            Value::At(row.at),
            Value::Text(row.kind.to_string()),
            Value::Text(row.state.to_string()),
            Value::number(row.transaction_id),
            Value::text(row.payment_id),
            value(row.our_amount, row.our_currency.as_ref()),
            value(row.their_amount, row.their_currency.as_ref()),
            Value::text(row.our_state.as_ref()),
            Value::text(row.their_status.as_ref()),
            Value::at(row.decided_at),
            Value::text(row.decided_by.as_ref()),
            Value::text(row.reason.as_ref()),
        ]
    }
}

impl Listed for Differences {
    const SECTION: Section = Section::Differences;
    const SORTED: &'static str = "-at";

    fn title(lang: Lang) -> &'static str {
        lang.of("Differences", "Расхождения")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of("Reconciliation has found none yet.", "Сверка ещё ничего не нашла.")
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        let lang = shell.lang();
        let state = |state| words::difference_state(state, lang).word;
        let kind = |kind| words::difference(kind, lang);
        let (states, kinds) = (DifferenceState::ALL, DifferenceKind::ALL);
        vec![
            Field::choice(query, "state", lang.of("State", "Состояние"), states, DifferenceState::as_str, state),
            Field::choice(query, "kind", lang.of("What differs", "В чём"), kinds, DifferenceKind::as_str, kind),
            Field::days(query, lang.of("Money moved from", "Движение с")),
        ]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        vec![
            Head::text(lang.of("Difference", "Расхождение")),
            Head::text(lang.of("Money moved", "Движение денег")).by("-at"),
            Head::text(lang.of("What differs", "В чём")),
            Head::text(lang.of("State", "Состояние")),
            Head::number(lang.of("Ours", "У нас")),
            Head::number(lang.of("Theirs", "У шлюза")),
            Head::number(lang.of("Transaction", "Транзакция")),
            Head::text(lang.of("Payment", "Платёж")),
        ]
    }

    fn cells(row: &Difference, shell: &Shell) -> Vec<Cell> {
        let lang = shell.lang();
        vec![
            Cell::link("differences", Some(row.id)),
            Cell::When(shell.when(&row.at)),
            Cell::Words(words::difference(row.kind, lang).to_owned()),
            Cell::State(words::difference_state(row.state, lang)),
            Cell::Text(written_money(row.our_amount, row.our_currency.as_ref(), lang)),
            Cell::Text(written_money(row.their_amount, row.their_currency.as_ref(), lang)),
            Cell::Text(row.transaction_id.map(|id| id.to_string()).unwrap_or_default()),
            Cell::link("payments", row.payment_id),
        ]
    }

    fn read_cursor(text: &str) -> Option<DifferenceCursor> {
        let (at, id) = text.split_once('~')?;
        Some((DateTime::from_timestamp_micros(at.parse().ok()?)?, id.parse().ok()?))
    }

    fn write_cursor((at, id): &DifferenceCursor) -> String {
        format!("{}~{id}", at.timestamp_micros())
    }
}

#[derive(Template)]
#[template(path = "difference.html")]
struct One {
    shell: Shell,
    id: DifferenceId,
    short: String,
    kind: &'static str,
    state: Status,
    at: When,
    transaction: String,
    account: String,
    invoice: String,
    payment: Option<(String, String)>,
    /// What, ours, theirs.
    sides: Vec<(&'static str, String, String)>,
    decided: Option<(When, String, String)>,
    may_decide: bool,
    states: Vec<Choice>,
    /// The state that was looked at.
    seen: DifferenceState,
    reason: String,
    wrong: &'static str,
}

pub(crate) async fn one(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let id: DifferenceId = id.parse().map_err(|_| Problem::NotFound)?;
    make(&core, &viewer, id, "", String::new()).await
}

async fn make(core: &Core, viewer: &Viewer, id: DifferenceId, wrong: &'static str, reason: String) -> Answer {
    let found = billing::store::reconciliation::by_id(&mut *core.services.db.conn().await?, id).await?;
    let row = found.ok_or(Problem::NotFound)?;
    let shell = Shell::new(core, Section::Differences, viewer);
    let lang = shell.lang();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let decided =
        row.decided_at.map(|at| (shell.exactly(&at), text(row.decided_by.as_ref()), text(row.reason.as_ref())));
    let choice = |state: &DifferenceState| Choice {
        value: state.as_str(),
        word: words::difference_state(*state, lang).word.to_owned(),
        is_on: *state == DifferenceState::Resolved,
    };
    let page = One {
        id,
        short: show::short(id),
        kind: words::difference(row.kind, lang),
        state: words::difference_state(row.state, lang),
        at: shell.exactly(&row.at),
        transaction: row.transaction_id.map(|id| id.to_string()).unwrap_or_default(),
        account: text(row.account_id.as_ref()),
        invoice: text(row.invoice_id.as_ref()),
        payment: row.payment_id.map(|id| (format!("/payments/{id}"), show::short(id))),
        sides: vec![
            (
                lang.of("Amount", "Сумма"),
                written_money(row.our_amount, row.our_currency.as_ref(), lang),
                written_money(row.their_amount, row.their_currency.as_ref(), lang),
            ),
            (lang.of("State", "Состояние"), text(row.our_state.as_ref()), text(row.their_status.as_ref())),
        ],
        decided,
        may_decide: viewer.visitor()?.has(Right::SettleDifferences),
        states: DifferenceState::ALL.iter().filter(|state| **state != row.state).map(choice).collect(),
        seen: row.state,
        reason,
        wrong,
        shell,
    };
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok((status, html(&page)).into_response())
}

pub(crate) async fn decide(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let id: DifferenceId = id.parse().map_err(|_| Problem::NotFound)?;
    let (lang, reason) = (viewer.lang, form.get("reason").to_owned());
    let states = (form.get("state").parse(), form.get("seen").parse());
    let (Ok(state), Ok(seen)) = states else { return Err(Problem::NotFound) };
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let decided = decide_difference(&mut *db.conn().await?, id, seen, state, &reason, &by, db.now()).await;
    if trail::take_news() {
        core.services.bell.ring();
    }
    let wrong = match decided {
        Ok(Some(_)) => return Ok(Redirect::to(&format!("/differences/{id}")).into_response()),
        Ok(None) => lang.of(
            "Somebody has decided about it since you looked. Nothing was done.",
            "С тех пор, как вы смотрели, кто-то уже принял решение. Ничего не сделано.",
        ),
        Err(DecideError::Unknown(_)) => return Err(Problem::NotFound),
        Err(DecideError::Store(error)) => return Err(error.into()),
        Err(DecideError::Reason | DecideError::By) => lang.of(
            "Say why, in 3 to 500 characters; it stands in the log.",
            "Укажите причину, от 3 до 500 символов; она остаётся в журнале.",
        ),
        Err(DecideError::NoChange) => lang.of("It is so already.", "Это уже так."),
    };
    make(&core, &viewer, id, wrong, reason).await
}
