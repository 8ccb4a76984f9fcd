//! The VAT of tariffs, from a time on.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use crate::TariffId;
use crate::ledger::{SaleTerms, VatRate};
use crate::schema::{tariff, tariff_vat};

/// Why a rate was not set. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SetVatError {
    #[error("there is no tariff {0}")]
    UnknownTariff(TariffId),
    /// Money that has come was entered with the rate of its time.
    #[error("a rate cannot be set for the past")]
    Past,
    /// Rates are added in the order in which they come into force.
    #[error("there is a later rate already, from {} on", .0.to_rfc3339())]
    NotTheLast(DateTime<Utc>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for SetVatError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Sets the terms of a tariff from a time on, in the name of `by`.
///
/// # Errors
/// [`SetVatError`].
pub async fn set_vat(
    conn: &mut AsyncPgConnection,
    tariff_id: TariffId,
    terms: SaleTerms,
    effective_from: DateTime<Utc>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), SetVatError> {
    if effective_from < now {
        return Err(SetVatError::Past);
    }
    conn.transaction(async |conn| {
        let known: Option<TariffId> =
            tariff::table.find(tariff_id).select(tariff::id).for_no_key_update().first(conn).await.optional()?;
        known.ok_or(SetVatError::UnknownTariff(tariff_id))?;
        let rates = tariff_vat::table.filter(tariff_vat::tariff_id.eq(tariff_id));
        let last: Option<DateTime<Utc>> =
            rates.select(diesel::dsl::max(tariff_vat::effective_from)).first(conn).await?;
        if let Some(last) = last.filter(|last| *last >= effective_from) {
            return Err(SetVatError::NotTheLast(last));
        }
        let row = (
            tariff_vat::tariff_id.eq(tariff_id),
            tariff_vat::effective_from.eq(effective_from),
            tariff_vat::percent.eq(terms.vat.map(VatRate::get)),
            tariff_vat::method.eq(terms.method),
            tariff_vat::object.eq(terms.object),
            tariff_vat::created_at.eq(now),
            tariff_vat::set_by.eq(by),
        );
        diesel::insert_into(tariff_vat::table).values(row).execute(conn).await?;
        Ok(())
    })
    .await
}
