//! What goes to the gateway for the receipt of an attempt: kept sealed until the attempt ends, so that it is repeated as it
//! was.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::SecretString;

use super::StoreError;
use crate::bill::BillKind;
use crate::cipher::{Cipher, Place};
use crate::ledger::{SaleTerms, VatRate};
use crate::payment::PaymentState;
use crate::schema::{bill, payment, receipt, tariff_vat};
use crate::{AccountId, Currency, Kopecks, PaymentId, TariffId};

/// What a receipt is to say of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    pub account_id: AccountId,
    /// What was sold, as it was called then.
    pub label: String,
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
    let unsent = payment::table
        .inner_join(bill::table)
        .left_join(receipt::table)
        .filter(payment::id.eq(payment_id).and(payment::state.eq(PaymentState::Created)))
        .filter(bill::kind.ne(BillKind::Verification).and(receipt::payment_id.nullable().is_null()));
    let columns = (bill::account_id, bill::tariff_id, bill::description, payment::amount, payment::currency);
    let found: Option<(AccountId, TariffId, String, Kopecks, Currency)> =
        unsent.select(columns).first(conn).await.optional()?;
    let Some((account_id, tariff_id, label, amount, currency)) = found else { return Ok(None) };
    let terms =
        tariff_vat::table.filter(tariff_vat::tariff_id.eq(tariff_id)).filter(tariff_vat::effective_from.le(now));
    let terms = terms.order(tariff_vat::effective_from.desc());
    let terms = terms.select((tariff_vat::percent, tariff_vat::method, tariff_vat::object)).first(conn).await;
    let set: Option<(Option<i32>, i32, i32)> = terms.optional()?;
    let terms = set.map_or(SaleTerms::of_service(None), |(percent, method, object)| {
        let vat = percent.and_then(|percent| VatRate::percent(percent).ok());
        SaleTerms { vat, method, object }
    });
    Ok(Some(Sale { account_id, label, amount, currency, terms }))
}

/// Keeps what goes to the gateway for it. Of several the first stays.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn keep(
    conn: &mut AsyncPgConnection,
    payment_id: PaymentId,
    text: &SecretString,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = (
        receipt::payment_id.eq(payment_id),
        receipt::created_at.eq(now),
        receipt::sealed.eq(cipher.seal(Place::Receipt(payment_id), text)),
    );
    diesel::insert_into(receipt::table).values(row).on_conflict_do_nothing().execute(conn).await?;
    Ok(())
}

/// What goes to the gateway for it, until the attempt has ended.
///
/// # Errors
/// [`StoreError::Db`], [`StoreError::Cipher`].
pub async fn kept(
    conn: &mut AsyncPgConnection,
    payment_id: PaymentId,
    cipher: &Cipher,
) -> Result<Option<SecretString>, StoreError> {
    let sealed: Option<Option<String>> =
        receipt::table.find(payment_id).select(receipt::sealed).first(conn).await.optional()?;
    Ok(sealed.flatten().map(|sealed| cipher.open(Place::Receipt(payment_id), &sealed)).transpose()?)
}
