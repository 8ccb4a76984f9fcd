//! What the gateway says that is not of one attempt alone: a number that stands on another row, a second transaction, money for
//! a bill that another attempt is about to pay.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::orphans::{self, Orphan};
use super::super::{StoreError, events, journal};
use super::effect::Effect;
use super::load::{Locked, other_live, save_payment};
use super::story;
use crate::bill::BillEvent;
use crate::models::NewPaymentRow;
use crate::payment::{Outcome, Payment, PaymentState, SecondTransaction};
use crate::schema::payment;
use crate::{Kopecks, PaymentId};

/// The gateway's number may stand on another row already: then what it says is not only of this attempt. A refusal is
/// taken without the number; anything else leaves the attempt in doubt until a person has decided.
pub(super) async fn leave_what_is_anothers(
    conn: &mut AsyncPgConnection,
    attempt: &Payment,
    outcome: Outcome,
    effects: &mut Vec<Effect>,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Outcome, StoreError> {
    let Some(transaction_id) = outcome.transaction_id().filter(|id| attempt.transaction_id != Some(*id)) else {
        return Ok(outcome);
    };
    let others = payment::table.filter(payment::transaction_id.eq(transaction_id)).filter(payment::id.ne(attempt.id));
    let other: Option<PaymentId> = others.select(payment::id).first(conn).await.optional()?;
    // That of an attempt which has succeeded is what was written down as its second transaction.
    let Some(other) = other.filter(|_| !attempt.state.is_success()) else { return Ok(outcome) };
    let why = format!("transaction {transaction_id} of the gateway is payment {other}: a person must decide");
    effects.extend(set_aside(conn, attempt, &outcome, why.clone(), zone, now).await?);
    Ok(match outcome {
        Outcome::Declined { code, reason, cardholder_message, retry_after, .. } => {
            Outcome::Declined { transaction_id: None, code, reason, cardholder_message, retry_after }
        }
        _ => Outcome::Disputed { why },
    })
}

/// Keeps the operation for a person, who is told of it once.
pub(super) async fn set_aside(
    conn: &mut AsyncPgConnection,
    attempt: &Payment,
    outcome: &Outcome,
    what: String,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Option<Effect>, StoreError> {
    let Some(transaction_id) = outcome.transaction_id() else { return Ok(None) };
    let (amount, currency) = outcome.money().unzip();
    let found = Orphan {
        payment_id: Some(attempt.id),
        transaction_id,
        what: what.clone(),
        status: Some(outcome.kind().name().to_owned()),
        invoice_id: None,
        account_id: None,
        amount,
        currency: currency.map(|currency| currency.to_string()),
        test_mode: None,
    };
    if !orphans::set_aside(conn, &found, now).await? {
        return Ok(None);
    }
    journal::enter_orphan(conn, &found, zone, now).await?;
    Ok(Some(Effect::NeedsAttention { payment_id: attempt.id, what }))
}

/// Money has come for an attempt believed dead, and another may be under way for the same bill. One that can take no
/// money any more – not sent yet, or waiting for a page whose answer we shall not pass on – makes way. One that may
/// take money stays, and what has come is the duplicate. Returns whether the way is clear.
pub(super) async fn clear_the_way(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let Some(other) = other_live(conn, locked.bill.id, locked.payment.id).await? else { return Ok(true) };
    if !other.state.makes_way() {
        return Ok(false);
    }
    let why = format!("payment {} has paid the bill after all", locked.payment.id);
    let withdrawn = other
        .machine(&locked.bill)
        .apply(Outcome::Withdrawn { why }, now)
        .map_err(|source| StoreError::Illegal { id: other.id, source })?;
    save_payment(conn, &other, &withdrawn, now).await?;
    events::append(conn, vec![story::made_way(locked, &other, withdrawn.state)], now).await?;
    let bill = locked.bill.machine().apply(BillEvent::AttemptFailed, now)?;
    locked.save_bill(conn, bill, &withdrawn, now).await?;
    Ok(true)
}

/// The gateway took money twice for one attempt. The second transaction becomes a row of its own, with the money that the
/// gateway speaks of, so that no money is without a row; hearing of it again adds nothing.
pub(super) async fn record_second(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    second: SecondTransaction,
    now: DateTime<Utc>,
) -> Result<Option<Effect>, StoreError> {
    let SecondTransaction { transaction_id, amount, currency } = second;
    let first = &locked.payment;
    if Kopecks::billable(amount.get()).is_err() {
        // No row of ours can hold it: it is kept with what differs.
        return Ok(None);
    }
    let row = NewPaymentRow {
        state: PaymentState::SucceededDuplicate,
        is_success: Some(true),
        request_id: format!("second:{transaction_id}"),
        transaction_id: Some(transaction_id),
        info: Some(format!("a second transaction of payment {}", first.id)),
        finished_at: Some(now),
        ..NewPaymentRow::created(first.bill_id, first.instrument, amount, currency, now)
    };
    let payment_id = row.id;
    let inserted = diesel::insert_into(payment::table).values(row).on_conflict_do_nothing().execute(conn).await?;
    if inserted == 0 {
        return Ok(None);
    }
    journal::enter_second(conn, locked, payment_id, second, now).await?;
    events::append(conn, vec![story::second_taken(locked, payment_id)], now).await?;
    Ok(Some(Effect::RefundOwed { payment_id, transaction_id }))
}
