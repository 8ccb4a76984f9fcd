//! One account: its story, why it is in its state, what comes next.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::{Path, State};
use billing::account::AccountStatus;
use billing::event::{Event, EventKind};
use billing::payment::PaymentState;
use billing::staff::Right;
use billing::store::gateway_calls::{self, GatewayCall};
use billing::store::notifications::{self, Kept};
use billing::store::staff::{self, ActionKind, AuditEntry};
use billing::store::subscriptions::{self, Subscription};
use billing::store::{StoreError, events};
use billing::{AccountId, PaymentId};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;

use super::{Answer, Shared, bills, briefly, payments};
use crate::access::Visitor;
use crate::lang::Lang;
use crate::page::{Problem, Section, Shell, Status, Viewer, html};
use crate::params::Asked;
use crate::show::{self, When};
use crate::story::{self, Line, Why};
use crate::words;

/// Events of the story on a page.
const STORY: i64 = 50;
/// What the staff did to it, the latest.
const DONE: i64 = 200;
/// Bills and payments beside it.
const LATEST: i64 = 10;

#[derive(Template)]
#[template(path = "account.html")]
struct Page {
    shell: Shell,
    id: AccountId,
    short: String,
    status: Status,
    is_ending: bool,
    why: Why,
    tariff: String,
    pending: String,
    paid_until: Option<When>,
    access_until: Option<When>,
    next_charge: Option<(When, String, String)>,
    card: String,
    declines: i32,
    zone: &'static str,
    story: Vec<Line>,
    older: Option<i64>,
    is_first: bool,
    bills: Vec<bills::Row>,
    payments: Vec<payments::Row>,
    actions: Vec<(String, &'static str)>,
    /// What was just done.
    done: &'static str,
}

/// What is read for it.
struct Read {
    subscription: Subscription,
    events: Vec<Event>,
    calls: Vec<(PaymentId, GatewayCall)>,
    notices: Vec<Kept>,
    /// What banks said to customers of refused payments.
    said: BTreeMap<PaymentId, String>,
    /// What the staff did to the account.
    done: Vec<AuditEntry>,
    bills: Vec<subscriptions::BillView>,
    payments: Vec<billing::store::payments::PaymentView>,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Path(id): Path<String>, Asked(query): Asked) -> Answer {
    let id: AccountId = id.parse().map_err(|_| Problem::NotFound)?;
    let before: Option<i64> = query.get("before").parse().ok();
    let mut conn = core.services.db.conn().await?;
    let read = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            read(conn, id, before).await
        })
        .await?;
    drop(conn);
    let Read { subscription, mut events, calls, notices, said, done, bills, payments } =
        read.ok_or(Problem::NotFound)?;
    let shell = Shell::new(&core, Section::Accounts, &viewer);
    let lang = shell.lang();
    let explained = subscription.explained(&core.services.times, shell.now);
    let older = (events.len() > STORY as usize).then(|| events.truncate(STORY as usize));
    let older = older.and_then(|()| events.last().map(|event| event.id));
    let account = &subscription.account;
    let price = |tariff: &billing::models::Tariff| {
        format!("{}, {}", tariff.name, show::money(tariff.amount, tariff.currency, lang))
    };
    let next_charge = subscription.next_charge();
    let next_charge = next_charge
        .map(|(at, amount, currency)| (shell.when(&at), shell.distance(&at), show::money(amount, currency, lang)));
    let line = |event: &Event| {
        let is_refusal = event.kind == EventKind::PaymentMoved && event.to_state.as_deref() == Some("declined");
        let bank = event.payment_id.filter(|_| is_refusal).and_then(|payment| said.get(&payment).cloned());
        Line { bank: bank.unwrap_or_default(), ..story::event(event, true, &shell) }
    };
    let mut story: Vec<Line> = events.iter().map(line).collect();
    // Calls of the payments on this page, within its time.
    let (last, first) = (events.first().map(|event| event.at), events.last().map(|event| event.at));
    let is_on_page = |at: DateTime<Utc>| {
        let is_the_last = older.is_none();
        (is_the_last || first.is_some_and(|first| at >= first))
            && (before.is_none() || last.is_some_and(|last| at <= last))
    };
    let within = |call: &GatewayCall| is_on_page(call.started_at);
    story.extend(calls.iter().filter(|(_, call)| within(call)).map(|(of, call)| story::call(call, Some(*of), &shell)));
    let within = notices.iter().filter(|kept| is_on_page(kept.received_at));
    story.extend(within.map(|kept| story::notice(kept, true, &shell)));
    story.extend(done.iter().filter(|entry| is_on_page(entry.at)).map(|entry| story::done(entry, &shell)));
    // Events of one moment stay in their order.
    story.sort_by_key(|line| std::cmp::Reverse(line.order));
    Ok(html(&Page {
        id,
        short: show::short(id),
        status: words::account(account.status, lang),
        is_ending: account.cancel_at_period_end,
        why: Why::new(&explained, &shell),
        tariff: subscription.tariff.as_ref().map(price).unwrap_or_default(),
        pending: subscription.pending.as_ref().map(price).unwrap_or_default(),
        paid_until: account.paid_until.map(|at| shell.when(&at)),
        access_until: account.access_until.map(|at| shell.when(&at)),
        next_charge,
        card: subscription.card.as_ref().map(show::card).unwrap_or_default(),
        declines: account.declines,
        actions: offered(&subscription, id, viewer.visitor()?, lang),
        done: query.get("done").parse().map_or("", |kind| words::action(kind, lang)),
        zone: account.time_zone.name(),
        story,
        older,
        is_first: before.is_none(),
        bills: bills.iter().map(|bill| bills::row(&shell, bill)).collect(),
        payments: payments.iter().map(|payment| payments::row(&shell, payment)).collect(),
        shell,
    }))
}

async fn read(conn: &mut AsyncPgConnection, id: AccountId, before: Option<i64>) -> Result<Option<Read>, StoreError> {
    let Some(subscription) = subscriptions::get(conn, id).await? else { return Ok(None) };
    let events = events::story_of_account(conn, id, before, STORY + 1).await?;
    let of: BTreeSet<PaymentId> = events.iter().filter_map(|event| event.payment_id).collect();
    let of = Vec::from_iter(of);
    let calls = gateway_calls::of_payments(conn, &of).await?;
    let notices = notifications::of_payments(conn, &of).await?;
    let said = billing::store::payments::said_of_refusals(conn, &of).await?.into_iter().collect();
    let done = staff::audited_about(conn, &id.to_string(), DONE).await?;
    let bills = subscriptions::bills(conn, id, None, LATEST).await?;
    let payments = subscriptions::payments(conn, id, None, LATEST).await?;
    Ok(Some(Read {
        subscription,
        events,
        calls,
        notices,
        said,
        done,
        bills: bills.map(|page| page.rows).unwrap_or_default(),
        payments: payments.map(|page| page.rows).unwrap_or_default(),
    }))
}

/// What may be done here, by who looks. Whether it is possible in every detail the preview says.
fn offered(of: &Subscription, id: AccountId, visitor: &Visitor, lang: Lang) -> Vec<(String, &'static str)> {
    let account = &of.account;
    let is_running = matches!(account.status, AccountStatus::Active | AccountStatus::Overdue);
    let is_open = is_running && account.closed_at.is_none();
    let live = of.open.as_ref().and_then(|open| open.payment.as_ref());
    let (serves, mends) = (visitor.has(Right::ServeCustomers), visitor.has(Right::MendSubscriptions));
    let offered = [
        (ActionKind::Cancel, serves && is_open && !account.cancel_at_period_end),
        (ActionKind::Resume, serves && is_open && account.cancel_at_period_end),
        (ActionKind::Extend, mends && is_open),
        (ActionKind::AskGateway, mends && live.is_some_and(|(view, _)| view.state == PaymentState::Unknown)),
        (
            ActionKind::RetryNow,
            mends && is_open && account.declines + account.faults > 0 && account.next_charge_at.is_some(),
        ),
        (ActionKind::ChangeTariff, mends && is_open && !account.cancel_at_period_end),
        (ActionKind::ForgetCard, serves && account.has_token),
    ];
    let offered = offered.into_iter().filter(|(_, is_offered)| *is_offered);
    offered.map(|(kind, _)| (format!("/accounts/{id}/{kind}"), words::action(kind, lang))).collect()
}
