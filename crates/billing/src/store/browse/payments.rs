//! The list of payments, and one payment with all that belongs to it.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::payments::PaymentView;
use super::super::subscriptions::BillView;
use super::{Made, Part, Slice, Sort, StoreError, least_id};
use crate::PaymentId;
use crate::account::Account;
use crate::models::{AccountRow, BillRow, PaymentRow};
use crate::payment::{Payment, PaymentState};
use crate::schema::{account, bill, payment};

/// By what payments are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PaymentKey {
    #[default]
    Made,
    /// The gateway's number: those that have none are not in the list.
    Transaction,
}

/// Where a row stands in a list that is sorted by its id, or by its transaction. Neither is there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentCursor {
    Id(PaymentId),
    Transaction(i64),
}

impl PaymentCursor {
    /// The place of this row.
    #[must_use]
    pub fn of(row: &PaymentView, by: PaymentKey) -> Self {
        match (by, row.transaction_id) {
            (PaymentKey::Transaction, Some(number)) => Self::Transaction(number),
            _ => Self::Id(row.id),
        }
    }
}

/// Which payments, and how they are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    pub state: Option<PaymentState>,
    /// The gateway's reason code.
    pub reason_code: Option<i32>,
    pub made: Made,
    pub sort: Sort<PaymentKey>,
}

/// A part of the payments.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn payments(
    conn: &mut AsyncPgConnection,
    filter: PaymentFilter,
    part: Part<PaymentCursor>,
    limit: i64,
) -> Result<Slice<PaymentView>, StoreError> {
    let mut query = payment::table.inner_join(bill::table.inner_join(account::table)).into_boxed();
    if let Some(state) = filter.state {
        query = query.filter(sql::<Bool>(&format!("payment.state = '{}'", state.as_str())));
    }
    if let Some(code) = filter.reason_code {
        // Only these have one, and few have them.
        query = query.filter(sql::<Bool>("payment.state = 'declined'")).filter(payment::reason_code.eq(code));
    }
    if let Some(from) = filter.made.from {
        query = query.filter(payment::id.ge(PaymentId::from(least_id(from))));
    }
    if let Some(before) = filter.made.before {
        query = query.filter(payment::id.lt(PaymentId::from(least_id(before))));
    }
    let (place, is_ascending) = part.reading(filter.sort.order);
    match place {
        None => {}
        Some(PaymentCursor::Id(id)) if is_ascending => query = query.filter(payment::id.gt(*id)),
        Some(PaymentCursor::Id(id)) => query = query.filter(payment::id.lt(*id)),
        Some(PaymentCursor::Transaction(no)) if is_ascending => query = query.filter(payment::transaction_id.gt(*no)),
        Some(PaymentCursor::Transaction(no)) => query = query.filter(payment::transaction_id.lt(*no)),
    }
    query = match (filter.sort.by, is_ascending) {
        (PaymentKey::Made, true) => query.order(payment::id.asc()),
        (PaymentKey::Made, false) => query.order(payment::id.desc()),
        (PaymentKey::Transaction, true) => {
            query.filter(payment::transaction_id.is_not_null()).order(payment::transaction_id.asc())
        }
        (PaymentKey::Transaction, false) => {
            query.filter(payment::transaction_id.is_not_null()).order(payment::transaction_id.desc())
        }
    };
    let rows: Vec<(AccountRow, BillRow, PaymentRow)> = query
        .limit(limit + 1)
        .select((AccountRow::as_select(), BillRow::as_select(), PaymentRow::as_select()))
        .load(conn)
        .await?;
    let rows = rows.iter().map(|(account, bill, payment)| PaymentView::from_rows(account, bill, payment)).collect();
    Ok(Slice::new(rows, &part, limit))
}

/// A payment with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholePayment {
    pub view: PaymentView,
    pub machine: Payment,
    pub bill: BillView,
    pub account: Account,
    /// How many times it was sent.
    pub sends: i32,
}

/// One payment.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn payment(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Option<WholePayment>, StoreError> {
    let row: Option<(AccountRow, BillRow, PaymentRow)> = account::table
        .inner_join(bill::table.inner_join(payment::table))
        .filter(payment::id.eq(id))
        .select((AccountRow::as_select(), BillRow::as_select(), PaymentRow::as_select()))
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(|(account, bill, payment)| WholePayment {
        view: PaymentView::from_rows(&account, &bill, &payment),
        machine: payment.machine(&bill),
        bill: BillView::of(&bill),
        account: account.machine(),
        sends: payment.sends,
    }))
}
