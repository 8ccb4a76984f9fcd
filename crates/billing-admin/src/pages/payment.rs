//! One payment: billing, tasks and gateway on one line of time.

use askama::Template;
use axum::extract::{Path, State};
use billing::PaymentId;
use billing::explain::{self, PaymentFacts};
use billing::payment::PaymentState;
use billing::staff::Right;
use billing::store::{StoreError, browse, events, gateway_calls, notifications, refunds, staff};
use diesel_async::AsyncPgConnection;

use super::{Answer, Shared, bills, briefly, payments, refund};
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::story::{self, Line, Why};
use crate::words;

/// Calls and events that are shown, the latest: a payment has a few dozen.
const MOST: usize = 200;
/// What the staff did to it, the latest.
const DONE: i64 = 50;

#[derive(Template)]
#[template(path = "payment.html")]
struct Page {
    shell: Shell,
    row: payments::Row,
    bill: bills::Row,
    why: Why,
    /// What the gateway said of a refusal, to us and to the customer.
    said: String,
    told: String,
    /// What its bank, or the one behind the gateway, says of it.
    bank: String,
    group: String,
    request_id: String,
    sends: i32,
    posts: i32,
    info: String,
    story: Vec<Line>,
    left_out: usize,
    account: (crate::page::Status, String),
    refunds: Vec<refund::Row>,
    may_give_back: bool,
    may_close: bool,
    sees_receipts: bool,
    /// Closings by hand that were asked for: where each is, how far, and what it says.
    closings: Vec<(String, &'static str, &'static str)>,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let id: PaymentId = id.parse().map_err(|_| Problem::NotFound)?;
    let mut conn = core.services.db.conn().await?;
    let read = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            let Some(found) = browse::payment(conn, id).await? else { return Ok(None) };
            let events = events::story_of_payment(conn, id).await?;
            let calls = gateway_calls::of_payment(conn, id).await?;
            let refunds = refunds::of_payment(conn, id).await?;
            let closings = staff::closings_of(conn, id).await?;
            let done = staff::audited_about(conn, &id.to_string(), DONE).await?;
            let notices = notifications::of_payment(conn, id).await?;
            Ok::<_, StoreError>(Some((found, events, calls, refunds, closings, done, notices)))
        })
        .await?;
    drop(conn);
    let (found, events, calls, refunds, closings, done, notices) = read.ok_or(Problem::NotFound)?;
    let shell = Shell::new(&core, Section::Payments, &viewer);
    let times = &core.services.times;
    let facts = PaymentFacts {
        payment: &found.machine,
        policy: &times.resolve,
        answer_within: times.answer_within,
        zone: shell.zone,
    };
    let explained = explain::payment(facts, shell.now);
    let mut story: Vec<Line> = events.iter().map(|event| story::event(event, false, &shell)).collect();
    story.extend(calls.iter().map(|call| story::call(call, None, &shell)));
    story.extend(done.iter().map(|entry| story::done(entry, &shell)));
    story.extend(notices.iter().map(|notice| story::notice(notice, false, &shell)));
    story.sort_by_key(|line| line.order);
    let left_out = story.len().saturating_sub(MOST);
    story.drain(..left_out);
    let view = &found.view;
    let decline = view.decline.as_ref();
    Ok(html(&Page {
        row: payments::row(&shell, view),
        bill: bills::row(&shell, &found.bill),
        why: Why::new(&explained, &shell),
        said: decline.map(|decline| decline.reason.clone()).unwrap_or_default(),
        bank: notices.iter().rev().find_map(|kept| kept.notice.provider_message.clone()).unwrap_or_default(),
        told: decline.map(|decline| decline.message.clone()).unwrap_or_default(),
        group: decline.map(|decline| decline.group.to_string()).unwrap_or_default(),
        request_id: view.request_id.clone(),
        sends: found.sends,
        posts: view.posts,
        info: view.info.clone().unwrap_or_default(),
        story,
        left_out,
        refunds: refunds.iter().map(|row| refund::row(&shell, row)).collect(),
        may_close: viewer.visitor()?.has(Right::MendSubscriptions) && view.state == PaymentState::Unknown,
        sees_receipts: viewer.visitor()?.has(Right::SeeBooks) && view.state.is_success(),
        closings: closings.iter().map(|closing| closing_line(closing, &shell)).collect(),
        may_give_back: viewer.visitor()?.has(Right::GiveBack) && has_money(view.state),
        account: (words::account(found.account.status, shell.lang()), found.account.id.to_string()),
        shell,
    }))
}

fn closing_line(closing: &staff::Closing, shell: &Shell) -> (String, &'static str, &'static str) {
    let lang = shell.lang();
    let state = words::closing(closing.state_at(shell.now), lang);
    (format!("/closings/{}", closing.id), words::ending(closing.ending, lang), state)
}

/// Whether there is money that can go back.
const fn has_money(state: PaymentState) -> bool {
    matches!(state, PaymentState::Succeeded | PaymentState::SucceededDuplicate | PaymentState::Authorized)
}
