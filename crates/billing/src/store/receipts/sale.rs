//! What goes to the gateway for a receipt: kept sealed until what it goes along with ends, so that it is repeated as it was.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::SecretString;

use super::super::StoreError;
use crate::bill::BillKind;
use crate::cipher::{Cipher, Place};
use crate::ledger::{SaleTerms, VatRate};
use crate::payment::PaymentState;
use crate::receipt::{OrderState, ReceiptKind, ReceiptWay};
use crate::refund::RefundState;
use crate::schema::{bill, payment, receipt, refund, tariff_vat};
use crate::{AccountId, Currency, Kopecks, PaymentId, ReceiptId, RefundId, TariffId};

/// What a receipt is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    pub receipt_id: ReceiptId,
    pub payment_id: PaymentId,
    /// The refund that it goes along with.
    pub refund_id: Option<RefundId>,
    pub way: ReceiptWay,
    pub kind: ReceiptKind,
    pub account_id: AccountId,
    /// What was sold, as it was called then.
    pub label: String,
    /// How much was taken, or goes back.
    pub amount: Kopecks,
    pub currency: Currency,
    pub terms: SaleTerms,
}

/// What is sold by an attempt that was not sent and has no receipt yet, by the terms of its tariff at `now`. `None`: nothing
/// is to be written, as for a verification of a card.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn sale(
    conn: &mut AsyncPgConnection,
    payment_id: PaymentId,
    now: DateTime<Utc>,
) -> Result<Option<Sale>, StoreError> {
    if exists(conn, payment_id.into()).await? {
        return Ok(None);
    }
    let unsent = payment::table
        .inner_join(bill::table)
        .filter(payment::id.eq(payment_id).and(payment::state.eq(PaymentState::Created)))
        .filter(bill::kind.ne(BillKind::Verification));
    let columns = (bill::account_id, bill::tariff_id, bill::description, payment::amount, payment::currency);
    let found: Option<(AccountId, TariffId, String, Kopecks, Currency)> =
        unsent.select(columns).first(conn).await.optional()?;
    let Some((account_id, tariff_id, label, amount, currency)) = found else { return Ok(None) };
    Ok(Some(Sale {
        receipt_id: payment_id.into(),
        payment_id,
        refund_id: None,
        way: ReceiptWay::Charge,
        kind: ReceiptKind::Income,
        account_id,
        label,
        amount,
        currency,
        terms: terms(conn, tariff_id, now).await?,
    }))
}

/// What a refund that was not sent gives back, by the terms of the sale. `None`: nothing is to be written – there is a receipt
/// of it, the sale had none, or the money was only held.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn sale_returned(conn: &mut AsyncPgConnection, refund_id: RefundId) -> Result<Option<Sale>, StoreError> {
    if exists(conn, refund_id.into()).await? {
        return Ok(None);
    }
    let taken = [PaymentState::Succeeded, PaymentState::SucceededDuplicate];
    let unsent = refund::table
        .inner_join(payment::table.inner_join(bill::table))
        .filter(refund::id.eq(refund_id).and(refund::state.eq(RefundState::Requested)))
        .filter(payment::state.eq_any(taken));
    let columns = (payment::id, bill::account_id, bill::tariff_id, bill::description, refund::amount, refund::currency);
    let found: Option<(PaymentId, AccountId, TariffId, String, Kopecks, Currency)> =
        unsent.select(columns).first(conn).await.optional()?;
    let Some((payment_id, account_id, tariff_id, label, amount, currency)) = found else { return Ok(None) };
    let Some(sold_at) = sold_at(conn, payment_id).await? else { return Ok(None) };
    Ok(Some(Sale {
        receipt_id: refund_id.into(),
        payment_id,
        refund_id: Some(refund_id),
        way: ReceiptWay::Refund,
        kind: ReceiptKind::IncomeReturn,
        account_id,
        label,
        amount,
        currency,
        terms: terms(conn, tariff_id, sold_at).await?,
    }))
}

/// What a receipt that was ordered alone, and was not sent, is to say. `None`: that is written down already.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn sale_ordered(conn: &mut AsyncPgConnection, id: ReceiptId) -> Result<Option<Sale>, StoreError> {
    let unsent = receipt::table
        .inner_join(payment::table.inner_join(bill::table))
        .filter(receipt::id.eq(id).and(receipt::state.eq(OrderState::Requested)).and(receipt::sealed.is_null()));
    let columns = (
        (payment::id, receipt::refund_id, receipt::kind, receipt::amount, receipt::created_at),
        (bill::account_id, bill::tariff_id, bill::description, payment::currency),
    );
    type Found =
        ((PaymentId, Option<RefundId>, ReceiptKind, Kopecks, DateTime<Utc>), (AccountId, TariffId, String, Currency));
    let found: Option<Found> = unsent.select(columns).first(conn).await.optional()?;
    let Some(((payment_id, refund_id, kind, amount, ordered_at), (account_id, tariff_id, label, currency))) = found
    else {
        return Ok(None);
    };
    let sold_at = sold_at(conn, payment_id).await?.unwrap_or(ordered_at);
    Ok(Some(Sale {
        receipt_id: id,
        payment_id,
        refund_id,
        way: ReceiptWay::Order,
        kind,
        account_id,
        label,
        amount,
        currency,
        terms: terms(conn, tariff_id, sold_at).await?,
    }))
}

async fn exists(conn: &mut AsyncPgConnection, id: ReceiptId) -> Result<bool, StoreError> {
    Ok(diesel::select(diesel::dsl::exists(receipt::table.find(id))).get_result(conn).await?)
}

/// By the terms of which moment a payment was sold; `None`: without a receipt.
async fn sold_at(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Option<DateTime<Utc>>, StoreError> {
    let along = receipt::table.find(ReceiptId::from(id)).select(receipt::created_at);
    Ok(along.first(conn).await.optional()?)
}

async fn terms(conn: &mut AsyncPgConnection, id: TariffId, at: DateTime<Utc>) -> Result<SaleTerms, StoreError> {
    let terms = tariff_vat::table.filter(tariff_vat::tariff_id.eq(id)).filter(tariff_vat::effective_from.le(at));
    let terms = terms.order(tariff_vat::effective_from.desc());
    let terms = terms.select((tariff_vat::percent, tariff_vat::method, tariff_vat::object)).first(conn).await;
    let set: Option<(Option<i32>, i32, i32)> = terms.optional()?;
    Ok(set.map_or(SaleTerms::of_service(None), |(percent, method, object)| {
        let vat = percent.and_then(|percent| VatRate::percent(percent).ok());
        SaleTerms { vat, method, object }
    }))
}

/// Keeps what goes to the gateway for it. Of several the first stays.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn keep(
    conn: &mut AsyncPgConnection,
    sale: &Sale,
    text: &SecretString,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sealed = cipher.seal(Place::Receipt(sale.receipt_id), text);
    if sale.way == ReceiptWay::Order {
        let unsent = receipt::table.find(sale.receipt_id).filter(receipt::state.eq(OrderState::Requested));
        let unsent = unsent.filter(receipt::sealed.is_null());
        diesel::update(unsent).set(receipt::sealed.eq(sealed)).execute(conn).await?;
        return Ok(());
    }
    let row = (
        receipt::id.eq(sale.receipt_id),
        receipt::payment_id.eq(sale.payment_id),
        receipt::refund_id.eq(sale.refund_id),
        receipt::way.eq(sale.way),
        receipt::kind.eq(sale.kind),
        receipt::amount.eq(sale.amount),
        receipt::created_at.eq(now),
        receipt::sealed.eq(sealed),
    );
    diesel::insert_into(receipt::table).values(row).on_conflict_do_nothing().execute(conn).await?;
    Ok(())
}

/// What goes to the gateway for it, until what it goes along with has ended.
///
/// # Errors
/// [`StoreError::Db`], [`StoreError::Cipher`].
pub async fn kept(
    conn: &mut AsyncPgConnection,
    id: ReceiptId,
    cipher: &Cipher,
) -> Result<Option<SecretString>, StoreError> {
    let sealed: Option<Option<String>> =
        receipt::table.find(id).select(receipt::sealed).first(conn).await.optional()?;
    Ok(sealed.flatten().map(|sealed| cipher.open(Place::Receipt(id), &sealed)).transpose()?)
}
