//! What is sold, and what was: they are few.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::tariffs::price_list;
use super::StoreError;
use crate::TariffId;
use crate::models::{Tariff, TariffPrice};
use crate::schema::{tariff, tariff_price};

/// The most that are read.
const MOST: i64 = 1_000;

/// A tariff with its price at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TariffLine {
    pub tariff: Tariff,
    /// The next price, which is not in force yet.
    pub next: Option<TariffPrice>,
}

/// All tariffs, on sale or not, by name.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn tariffs(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<Vec<TariffLine>, StoreError> {
    let ids: Vec<TariffId> = tariff::table.order(tariff::name).limit(MOST).select(tariff::id).load(conn).await?;
    let prices = price_list(conn, ids.iter().copied()).await?;
    let coming: Vec<TariffPrice> = tariff_price::table
        .filter(tariff_price::effective_from.gt(now))
        .order(tariff_price::effective_from)
        .select(TariffPrice::as_select())
        .load(conn)
        .await?;
    let line = |id: TariffId| {
        let next = coming.iter().find(|price| price.tariff_id == id).copied();
        Some(TariffLine { tariff: prices.get(id, now)?, next })
    };
    Ok(ids.into_iter().filter_map(line).collect())
}
