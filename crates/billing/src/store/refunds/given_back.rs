//! Money that went back: refund, bill, account and log move together, once for each movement.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::payments::load::Locked;
use super::super::payments::trial::Brought;
use super::super::{StoreError, accounts, events, journal, payments};
use super::{automatic_id, of_payment, sum_of_payment};
use crate::account::{AccountEvent, AccountStatus};
use crate::bill::{BillEvent, BillStatus};
use crate::event::{EventKind, NewEvent};
use crate::ledger::{Return, ReturnedBy};
use crate::models::{NewRefund, PaymentRow, RefundRow};
use crate::payment::{Outcome, PaymentState};
use crate::proration::Share;
use crate::refund::{AccessEffect, RefundSource, RefundState, RefundWay};
use crate::schema::{bill, refund};
use crate::{Currency, Kopecks, PaymentId};

/// Whether a movement is one that was not counted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewMoney {
    Yes,
    /// It was written down under another row: nothing more went back.
    Counted,
}

/// What is left of a payment to give back: nothing that is asked for, or on its way, is given twice.
pub(super) fn left(payment: &PaymentRow, refunds: &[RefundRow]) -> Kopecks {
    let gone = refunds.iter().filter(|refund| refund.state != RefundState::Failed);
    Kopecks::new((payment.amount.get() - gone.map(|refund| refund.amount.get()).sum::<i64>()).max(0))
}

/// Whether the payment has bought the period that runs.
pub(super) fn is_of_present_period(locked: &Locked) -> bool {
    let account = locked.account.machine();
    let has_bought = locked.payment.state == PaymentState::Succeeded && locked.bill.paid_period.is_some();
    account.is_running() && has_bought && locked.bill.period_no == account.period_no
}

pub(super) fn about(locked: &Locked, kind: EventKind) -> NewEvent {
    NewEvent::of_account(kind, locked.account.id).bill(locked.bill.id).payment(locked.payment.id)
}

/// A step of a refund, for the people who look after it.
pub(super) fn moved(locked: &Locked, row: &RefundRow, before: Option<RefundState>) -> NewEvent {
    about(locked, EventKind::RefundMoved)
        .states(before.map(RefundState::as_str), row.state.as_str())
        .with("refund_id", row.id.to_string())
        .with("amount", row.amount.get())
        .with("currency", row.currency.as_str())
        .with("source", row.source.as_str())
}

/// Writes down what follows from a refund that has just succeeded; its own row says so already.
pub(super) async fn write_down(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    row: &RefundRow,
    new_money: NewMoney,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if row.way == RefundWay::Void {
        return let_go(conn, locked, now).await;
    }
    if new_money == NewMoney::Yes {
        record(conn, locked, row, now).await?;
    }
    // Of a payment that nobody owed, or that is not known to be taken yet, the bill knows nothing.
    if locked.payment.state == PaymentState::Succeeded {
        settle_bill(conn, locked, now).await?;
        settle_account(conn, locked, row, now).await?;
    }
    Ok(())
}

/// The one place where money that went back is told, once for each movement. Whatever must be written in the transaction of the
/// movement – the ledger – is written here. (It comes before the payment's own success where the refund is known first.)
async fn record(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    row: &RefundRow,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let told = about(locked, EventKind::RefundSucceeded)
        .with("refund_id", row.id.to_string())
        .with("amount", row.amount.get())
        .with("currency", row.currency.as_str());
    events::append(conn, vec![told], now).await?;
    let back = Return {
        key: format!("refund:{}", row.id),
        by: ReturnedBy::Refund,
        amount: row.amount,
        transaction_id: row.gateway_tx_id,
    };
    let zone = locked.account.machine().time_zone;
    journal::enter_return(conn, row.payment_id, &back, zone, now).await?;
    if let Some(transaction_id) = row.gateway_tx_id {
        journal::place_return(conn, transaction_id, zone, now).await?;
    }
    Ok(())
}

/// No money was taken, and none goes back: the payment is `voided`, and its bill as after any other that came to nothing.
async fn let_go(conn: &mut AsyncPgConnection, locked: &Locked, now: DateTime<Utc>) -> Result<(), StoreError> {
    let again = payments::load::lock_known(conn, locked.payment.id).await?;
    payments::settle(conn, again, Outcome::Voided, Brought::default(), now).await?;
    Ok(())
}

async fn settle_bill(conn: &mut AsyncPgConnection, locked: &mut Locked, now: DateTime<Utc>) -> Result<(), StoreError> {
    let before = locked.bill.status;
    if !matches!(before, BillStatus::Paid | BillStatus::PartiallyRefunded) {
        return Ok(());
    }
    let whole = sum_of_payment(conn, locked.payment.id).await? >= locked.payment.amount;
    let after = locked.bill.machine().apply(BillEvent::Refunded { whole }, now)?;
    if after.status == before {
        return Ok(());
    }
    locked.bill.status = after.status;
    diesel::update(bill::table.find(locked.bill.id))
        .set((bill::status.eq(after.status), bill::updated_at.eq(now)))
        .execute(conn)
        .await?;
    let moved = about(locked, EventKind::BillMoved).states(Some(before.as_str()), after.status.as_str());
    events::append(conn, vec![moved], now).await
}

async fn settle_account(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    row: &RefundRow,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let event = match row.effect {
        AccessEffect::Keep => return Ok(()),
        AccessEffect::End => AccountEvent::AccessTakenBack,
        AccessEffect::Shorten => AccountEvent::PaidTimeShortened { days: days(locked, row.amount) },
    };
    take_access(conn, locked, event, now).await
}

/// Takes access away, in whole or in part. Who has lost it is charged nothing more: a renewal that was not sent is taken back.
/// Changes nothing for who has none.
pub(super) async fn take_access(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    event: AccountEvent,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let before = locked.account.machine();
    let after = before.clone().apply(event, now)?;
    if after == before {
        return Ok(());
    }
    accounts::save(conn, &after, now).await?;
    let mut story = Vec::new();
    if after.status != before.status {
        story.push(about(locked, EventKind::AccountMoved).states(Some(before.status.as_str()), after.status.as_str()));
    }
    if after.status == AccountStatus::Canceled {
        payments::withdraw_unsent_renewal(conn, before.id, now).await?;
        accounts::give_up(conn, before.id, now).await?;
        story.push(about(locked, EventKind::AccessEnded));
    } else if let Some(day) = after.expires_on() {
        story.push(about(locked, EventKind::ExpirationMoved).with("expires_on", day.to_string()));
    }
    events::append(conn, story, now).await
}

/// The part of the period that the money is of its price, in whole days, rounded down.
fn days(locked: &Locked, amount: Kopecks) -> i64 {
    let account = locked.account.machine();
    let (Some(term), Some(end)) = (account.term, account.paid_until) else { return 0 };
    let Ok(begins) = term.start_of(account.period_no, account.time_zone) else { return 0 };
    let days = Share::of(begins, end, account.time_zone, begins).days;
    let part = i128::from(days) * i128::from(amount.get()) / i128::from(locked.payment.amount.get().max(1));
    i64::try_from(part).unwrap_or(days)
}

/// The gateway says of a payment that all of it is back, and does not say by which refunds: what no row knows of yet is one of
/// another's. A refund that is told of later, by its number, takes its place.
pub(in crate::store) async fn give_back_the_rest(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let payment = &locked.payment;
    let known: Vec<RefundRow> = of_payment(conn, payment.id).await?;
    let succeeded: Vec<RefundRow> = known.into_iter().filter(|refund| refund.state == RefundState::Succeeded).collect();
    let rest = left(payment, &succeeded);
    if rest.get() <= 0 {
        return Ok(());
    }
    let new = NewRefund::external(payment.id, (rest, payment.currency), None, AccessEffect::Keep, now);
    let row: RefundRow =
        diesel::insert_into(refund::table).values(new).returning(RefundRow::as_returning()).get_result(conn).await?;
    events::append(conn, vec![moved(locked, &row, None)], now).await?;
    record(conn, locked, &row, now).await
}

/// A payment that nobody owed goes back by itself, all that is not back already. There is one such refund of a payment;
/// after the commit send [`RefundPayment`](crate::tasks::RefundPayment) for its [`automatic_id`].
pub(in crate::store) async fn owe(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    (payment_id, amount, currency): (PaymentId, Kopecks, Currency),
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let rest = Kopecks::new(amount.get() - sum_of_payment(conn, payment_id).await?.get());
    if rest.get() <= 0 {
        return Ok(());
    }
    let (id, reason) = (automatic_id(payment_id), "nobody owed this money".to_owned());
    let new = NewRefund::requested(id, RefundSource::Automatic, payment_id, (rest, currency), reason, now);
    let written: Option<RefundRow> = diesel::insert_into(refund::table)
        .values(new)
        .on_conflict_do_nothing()
        .returning(RefundRow::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    match written {
        Some(row) => events::append(conn, vec![moved(locked, &row, None).payment(payment_id)], now).await,
        None => Ok(()),
    }
}
