//! The list of bills, and one bill with its payments.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::payments::PaymentView;
use super::super::subscriptions::BillView;
use super::{Made, Order, Part, Slice, StoreError, least_id};
use crate::BillId;
use crate::bill::BillStatus;
use crate::models::{AccountRow, BillRow, PaymentRow};
use crate::payment::Payment;
use crate::schema::{account, bill, payment};

/// Attempts of one bill that are shown: a bill has few.
const MAX_ATTEMPTS: i64 = 200;

/// Which bills, and how they are sorted: by when they were opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BillFilter {
    pub status: Option<BillStatus>,
    pub made: Made,
    pub order: Order,
}

/// A part of the bills.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bills(
    conn: &mut AsyncPgConnection,
    filter: BillFilter,
    part: Part<BillId>,
    limit: i64,
) -> Result<Slice<BillView>, StoreError> {
    let mut query = bill::table.into_boxed();
    if let Some(status) = filter.status {
        query = query.filter(sql::<Bool>(&format!("bill.status = '{}'", status.as_str())));
    }
    if let Some(from) = filter.made.from {
        query = query.filter(bill::id.ge(BillId::from(least_id(from))));
    }
    if let Some(before) = filter.made.before {
        query = query.filter(bill::id.lt(BillId::from(least_id(before))));
    }
    let (place, is_ascending) = part.reading(filter.order);
    if let Some(id) = place {
        query = if is_ascending { query.filter(bill::id.gt(*id)) } else { query.filter(bill::id.lt(*id)) };
    }
    query = if is_ascending { query.order(bill::id.asc()) } else { query.order(bill::id.desc()) };
    let rows: Vec<BillRow> = query.limit(limit + 1).select(BillRow::as_select()).load(conn).await?;
    Ok(Slice::new(rows.iter().map(BillView::of).collect(), &part, limit))
}

/// A bill with its attempts; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeBill {
    pub bill: BillView,
    /// The newest first.
    pub attempts: Vec<(PaymentView, Payment)>,
}

/// One bill.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bill(conn: &mut AsyncPgConnection, id: BillId) -> Result<Option<WholeBill>, StoreError> {
    let Some(bill) = super::super::subscriptions::bill(conn, id).await? else { return Ok(None) };
    let rows: Vec<(AccountRow, BillRow, PaymentRow)> = account::table
        .inner_join(bill::table.inner_join(payment::table))
        .filter(payment::bill_id.eq(id))
        .order(payment::id.desc())
        .limit(MAX_ATTEMPTS)
        .select((AccountRow::as_select(), BillRow::as_select(), PaymentRow::as_select()))
        .load(conn)
        .await?;
    let attempts = rows
        .iter()
        .map(|(account, bill, payment)| (PaymentView::from_rows(account, bill, payment), payment.machine(bill)))
        .collect();
    Ok(Some(WholeBill { bill, attempts }))
}

/// The address from which a bill was paid for, a personal trace; `None`: it is not known, or not any more.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn customer_address(conn: &mut AsyncPgConnection, id: BillId) -> Result<Option<String>, StoreError> {
    let address = bill::table.find(id).select(bill::ip_address).first::<Option<String>>(conn).await;
    Ok(address.optional()?.flatten())
}
