//! A receipt was made: the cash register's notification says so.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::payments::load::Locked;
use super::super::{StoreError, events, refunds};
use super::orders;
use crate::event::{EventKind, NewEvent};
use crate::notification::Notice;
use crate::payment::PaymentState;
use crate::receipt::{self as rules, Known, Made, OrderState, ReceiptKind, ReceiptWay};
use crate::schema::{receipt, refund};
use crate::{Kopecks, PaymentId, ReceiptId};

type KnownRow = (
    (ReceiptId, ReceiptKind, ReceiptWay, Kopecks, Option<String>),
    (Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<ReceiptId>, Option<OrderState>),
    Option<i64>,
);

/// All that is known of the receipts of a payment, from the first.
pub(in crate::store) async fn of_payment(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
) -> Result<Vec<Known>, StoreError> {
    let rows: Vec<KnownRow> = receipt::table
        .left_join(refund::table)
        .filter(receipt::payment_id.eq(id))
        .order((receipt::created_at, receipt::id))
        .select((
            (receipt::id, receipt::kind, receipt::way, receipt::amount, receipt::document),
            (receipt::due_at, receipt::issued_at, receipt::covered_by, receipt::state),
            refund::gateway_tx_id.nullable(),
        ))
        .load(conn)
        .await?;
    let known = |((id, kind, way, amount, document), (due_at, issued_at, covered_by, state), refund_tx): KnownRow| {
        Known { id, kind, way, amount, refund_tx, document, due_at, issued_at, is_covered: covered_by.is_some(), state }
    };
    Ok(rows.into_iter().map(known).collect())
}

/// Writes down that a receipt was made, once, and tells of it. One that comes so late that the money is back, or that another
/// was made in its place, is taken back by a return receipt. Of payments that asked for none nothing is written: their
/// notification is kept as it is.
pub(in crate::store) async fn issued(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    told: &Notice,
    document: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(made) = made(told, document) else { return Ok(()) };
    let known = of_payment(conn, locked.payment.id).await?;
    let is_known =
        known.iter().any(|known| known.issued_at.is_some() && known.document.as_ref() == Some(&made.document));
    if is_known || !known.iter().any(|known| known.way == ReceiptWay::Charge) {
        return Ok(());
    }
    let made_at = told.at.unwrap_or(now);
    match rules::which(&known, &made) {
        Some(id) => {
            diesel::update(receipt::table.find(id))
                .set((
                    receipt::issued_at.eq(made_at),
                    receipt::document.eq(&made.document),
                    receipt::sealed.eq(None::<String>),
                    receipt::state.eq(queued(&known, id)),
                ))
                .execute(conn)
                .await?;
        }
        None => unheard_of(conn, locked.payment.id, &made, made_at, now).await?,
    }
    let about = NewEvent::of_account(EventKind::ReceiptIssued, locked.account.id).bill(locked.bill.id);
    let event = about
        .payment(locked.payment.id)
        .with("kind", made.kind.as_str())
        .with("amount", made.amount.get())
        .with("currency", locked.payment.currency.as_str());
    let link = told.fiscal.as_ref().and_then(|fiscal| fiscal.url.clone());
    let event = match link {
        Some(url) => event.with("url", url),
        None => event,
    };
    events::append(conn, vec![event], now).await?;
    if made.kind == ReceiptKind::Income {
        take_back_excess(conn, locked, made.amount, now).await?;
    }
    Ok(())
}

fn made(told: &Notice, document: &str) -> Option<Made> {
    let kind = match told.fiscal.as_ref()?.receipt_type.as_deref()? {
        kind if kind.eq_ignore_ascii_case("Income") => ReceiptKind::Income,
        kind if kind.eq_ignore_ascii_case("IncomeReturn") => ReceiptKind::IncomeReturn,
        _ => return None,
    };
    let amount = told.amount.filter(|amount| *amount > 0)?;
    Some(Made {
        document: document.to_owned(),
        kind,
        amount: Kopecks::new(amount),
        transaction_id: told.transaction_id,
    })
}

/// An order whose receipt is there was taken, whatever its response said.
fn queued(known: &[Known], id: ReceiptId) -> Option<OrderState> {
    let of_order = known.iter().find(|known| known.id == id).and_then(|known| known.state);
    of_order.map(|_| OrderState::Queued)
}

async fn unheard_of(
    conn: &mut AsyncPgConnection,
    payment_id: PaymentId,
    made: &Made,
    made_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = (
        receipt::id.eq(ReceiptId::new()),
        receipt::payment_id.eq(payment_id),
        receipt::created_at.eq(now),
        receipt::way.eq(ReceiptWay::Told),
        receipt::kind.eq(made.kind),
        receipt::amount.eq(made.amount),
        receipt::document.eq(&made.document),
        receipt::issued_at.eq(made_at),
    );
    diesel::insert_into(receipt::table).values(row).execute(conn).await?;
    Ok(())
}

/// Who has the return receipt made that takes a late one back.
const BY_ITSELF: &str = "billing: it came too late";

async fn take_back_excess(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    at_most: Kopecks,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let payment = &locked.payment;
    // Whether its money is taken is not known yet.
    if payment.is_success.is_none() {
        return Ok(());
    }
    let is_taken = matches!(payment.state, PaymentState::Succeeded | PaymentState::SucceededDuplicate);
    let taken = if is_taken { payment.amount } else { Kopecks::new(0) };
    let back = refunds::sum_of_payment(conn, payment.id).await?;
    let known = of_payment(conn, payment.id).await?;
    let excess = rules::excess(&known, taken, back).min(at_most);
    if excess.get() <= 0 {
        return Ok(());
    }
    let order =
        orders::NewOrder { payment_id: payment.id, refund_id: None, kind: ReceiptKind::IncomeReturn, amount: excess };
    let id = orders::order(conn, &order, BY_ITSELF, now).await?;
    // What nobody had asked for when the money went back is asked for now.
    let unasked = receipt::table.filter(receipt::payment_id.eq(payment.id).and(receipt::way.eq(ReceiptWay::Unasked)));
    let unasked = unasked.filter(receipt::issued_at.is_null().and(receipt::covered_by.is_null()));
    diesel::update(unasked).set(receipt::covered_by.eq(id)).execute(conn).await?;
    Ok(())
}
