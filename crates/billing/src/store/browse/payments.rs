//! The list of payments, and one payment with all that belongs to it.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::payments::PaymentView;
use super::super::subscriptions::BillView;
use super::{Made, Part, Slice, StoreError, least_id};
use crate::PaymentId;
use crate::account::Account;
use crate::models::{AccountRow, BillRow, PaymentRow};
use crate::payment::{Payment, PaymentState};
use crate::schema::{account, bill, payment};

/// Which payments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    pub state: Option<PaymentState>,
    /// The gateway's reason code.
    pub reason_code: Option<i32>,
    pub made: Made,
}

/// A part of the payments, the newest first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn payments(
    conn: &mut AsyncPgConnection,
    filter: PaymentFilter,
    part: Part<PaymentId>,
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
    query = match part {
        Part::First => query.order(payment::id.desc()),
        Part::OlderThan(id) => query.filter(payment::id.lt(id)).order(payment::id.desc()),
        Part::NewerThan(id) => query.filter(payment::id.gt(id)).order(payment::id.asc()),
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
