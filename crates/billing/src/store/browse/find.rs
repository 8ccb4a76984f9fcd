//! What somebody may mean by an id, by a number, by what stands on a card.

use diesel::dsl::{exists, sql};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Made, StoreError, least_id};
use crate::schema::{account, bill, payment};
use crate::{AccountId, BillId, Kopecks, PaymentId};

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Account(AccountId),
    Bill(BillId),
    Payment(PaymentId),
}

/// What has this id.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn by_id(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Vec<Found>, StoreError> {
    let is_account = exists(account::table.find(AccountId::from(id)));
    let is_bill = exists(bill::table.find(BillId::from(id)));
    let is_payment = exists(payment::table.find(PaymentId::from(id)));
    let (is_account, is_bill, is_payment): (bool, bool, bool) =
        diesel::select((is_account, is_bill, is_payment)).get_result(conn).await?;
    let found = [
        is_account.then(|| Found::Account(id.into())),
        is_bill.then(|| Found::Bill(id.into())),
        is_payment.then(|| Found::Payment(id.into())),
    ];
    Ok(found.into_iter().flatten().collect())
}

/// The payments whose invoice or transaction has this number.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn by_number(conn: &mut AsyncPgConnection, number: i64) -> Result<Vec<Found>, StoreError> {
    let is = payment::invoice_no.nullable().eq(number).or(payment::transaction_id.eq(number));
    let ids: Vec<PaymentId> = payment::table.filter(is).order(payment::id).select(payment::id).load(conn).await?;
    Ok(ids.into_iter().map(Found::Payment).collect())
}

/// The payments of that time, with a card that ends in these four digits, of this amount if it is known; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn by_card(
    conn: &mut AsyncPgConnection,
    last_four: &str,
    made: Made,
    amount: Option<Kopecks>,
    limit: i64,
) -> Result<Vec<Found>, StoreError> {
    let mut query =
        payment::table.filter(sql::<Bool>("payment.card ->> 'last_four' = ").bind::<Text, _>(last_four)).into_boxed();
    if let Some(from) = made.from {
        query = query.filter(payment::id.ge(PaymentId::from(least_id(from))));
    }
    if let Some(before) = made.before {
        query = query.filter(payment::id.lt(PaymentId::from(least_id(before))));
    }
    if let Some(amount) = amount {
        query = query.filter(payment::amount.eq(amount));
    }
    let ids: Vec<PaymentId> = query.order(payment::id.desc()).limit(limit).select(payment::id).load(conn).await?;
    Ok(ids.into_iter().map(Found::Payment).collect())
}
