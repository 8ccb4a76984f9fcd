//! What can be bought, and what it costs. Whoever needs a price gets it here, with the time it is asked for: bills take the
//! price in force when they are opened and keep it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::{StoreError, events};
use crate::db::DbError;
use crate::event::{EventKind, NewEvent};
use crate::models::{NewTariff, Tariff, TariffPrice, Trial};
use crate::period::Period;
use crate::schema::{tariff, tariff_price};
use crate::{Currency, Kopecks, TariffId};

/// Some tariffs with all versions of their prices.
#[derive(Debug, Clone, Default)]
pub struct PriceList {
    tariffs: HashMap<TariffId, Tariff>,
    versions: Vec<TariffPrice>,
}

impl PriceList {
    /// A tariff with the price in force at `at`.
    #[must_use]
    pub fn get(&self, id: TariffId, at: DateTime<Utc>) -> Option<Tariff> {
        self.tariffs.get(&id).map(|tariff| tariff.clone().priced_at(&self.versions, at))
    }

    fn priced_at(self, at: DateTime<Utc>) -> Vec<Tariff> {
        let Self { tariffs, versions } = self;
        tariffs.into_values().map(|tariff| tariff.priced_at(&versions, at)).collect()
    }
}

/// The prices of these tariffs, on sale or not.
///
/// # Errors
/// [`DbError`].
pub async fn price_list(
    conn: &mut AsyncPgConnection,
    ids: impl IntoIterator<Item = TariffId>,
) -> Result<PriceList, DbError> {
    let mut ids: Vec<TariffId> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    let tariffs = tariff::table.filter(tariff::id.eq_any(&ids)).select(Tariff::as_select()).load(conn).await?;
    with_versions(conn, tariffs).await
}

async fn with_versions(conn: &mut AsyncPgConnection, tariffs: Vec<Tariff>) -> Result<PriceList, DbError> {
    let ids: Vec<TariffId> = tariffs.iter().map(|tariff| tariff.id).collect();
    let versions = tariff_price::table.filter(tariff_price::tariff_id.eq_any(ids));
    Ok(PriceList {
        versions: versions.select(TariffPrice::as_select()).load(conn).await?,
        tariffs: tariffs.into_iter().map(|tariff| (tariff.id, tariff)).collect(),
    })
}

/// The tariffs on sale, cheapest first, with their prices at `now`.
///
/// # Errors
/// [`DbError`].
pub async fn list(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<Vec<Tariff>, DbError> {
    let on_sale = tariff::table.filter(tariff::is_active).select(Tariff::as_select()).load(conn).await?;
    let mut on_sale = with_versions(conn, on_sale).await?.priced_at(now);
    on_sale.sort_by(|a, b| (a.amount, &a.name).cmp(&(b.amount, &b.name)));
    Ok(on_sale)
}

/// One tariff, on sale or not, with its price at `now`.
///
/// # Errors
/// [`DbError`].
pub async fn get(conn: &mut AsyncPgConnection, id: TariffId, now: DateTime<Utc>) -> Result<Option<Tariff>, DbError> {
    Ok(price_list(conn, [id]).await?.get(id, now))
}

/// Why a price was not set. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SetPriceError {
    #[error("there is no tariff {0}")]
    UnknownTariff(TariffId),
    /// Subscribers must be told in time.
    #[error("subscribers are told {} days before: not before {}", .notice.num_days(), .earliest.to_rfc3339())]
    TooSoon { earliest: DateTime<Utc>, notice: TimeDelta },
    /// Prices are added in the order in which they come into force.
    #[error("there is a later price already, from {} on", .0.to_rfc3339())]
    NotTheLast(DateTime<Utc>),
    #[error(transparent)]
    Amount(#[from] crate::money::AmountOutOfRange),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for SetPriceError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Sets what a tariff costs from a time on that is at least `notice` ahead: so long before subscribers are told of it. The
/// change reaches each with the first bill that opens from then on.
///
/// # Errors
/// [`SetPriceError`].
pub async fn set_price(
    conn: &mut AsyncPgConnection,
    price: TariffPrice,
    notice: TimeDelta,
    now: DateTime<Utc>,
) -> Result<(), SetPriceError> {
    Kopecks::billable(price.amount.get())?;
    let earliest = now + notice;
    if price.effective_from < earliest {
        return Err(SetPriceError::TooSoon { earliest, notice });
    }
    conn.transaction(async |conn| {
        let known: Option<TariffId> =
            tariff::table.find(price.tariff_id).select(tariff::id).for_no_key_update().first(conn).await.optional()?;
        known.ok_or(SetPriceError::UnknownTariff(price.tariff_id))?;
        let versions = tariff_price::table.filter(tariff_price::tariff_id.eq(price.tariff_id));
        let last: Option<DateTime<Utc>> =
            versions.select(diesel::dsl::max(tariff_price::effective_from)).get_result(conn).await?;
        if let Some(last) = last.filter(|last| *last >= price.effective_from) {
            return Err(SetPriceError::NotTheLast(last));
        }
        diesel::insert_into(tariff_price::table)
            .values((price, tariff_price::created_at.eq(now)))
            .execute(conn)
            .await?;
        let told = NewEvent::of_nobody(EventKind::PriceSet)
            .with("tariff_id", price.tariff_id.to_string())
            .with("amount", price.amount.get())
            .with("currency", price.currency.as_str())
            .with("effective_from", price.effective_from.to_rfc3339());
        Ok(events::append(conn, vec![told], now).await?)
    })
    .await
}

/// Takes a price away that is not in force yet. Who was told of it is not told again. Returns whether there was one.
///
/// # Errors
/// [`StoreError`].
pub async fn withdraw_price(
    conn: &mut AsyncPgConnection,
    tariff_id: TariffId,
    effective_from: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        let coming = tariff_price::table.find((tariff_id, effective_from)).filter(tariff_price::effective_from.gt(now));
        if diesel::delete(coming).execute(conn).await? == 0 {
            return Ok(false);
        }
        let told = NewEvent::of_nobody(EventKind::PriceSet)
            .with("tariff_id", tariff_id.to_string())
            .with("effective_from", effective_from.to_rfc3339())
            .with("withdrawn", true);
        events::append(conn, vec![told], now).await?;
        Ok(true)
    })
    .await
}

/// Sets whether a tariff is sold. Who has it keeps it. Returns whether there is such a tariff.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn set_on_sale(
    conn: &mut AsyncPgConnection,
    id: TariffId,
    is_active: bool,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let set = (tariff::is_active.eq(is_active), tariff::updated_at.eq(now));
    Ok(diesel::update(tariff::table.find(id)).set(set).execute(conn).await? > 0)
}

/// The longest that money is held before it is taken, in days: after seven the gateway lets it go.
pub const MAX_CONFIRM_AFTER: i32 = 6;

/// Sets whether a tariff's charges hold the money first, and take it once the bill still wants it: `confirm_after` days after it
/// was held, [`MAX_CONFIRM_AFTER`] at most; `None`: they take it at once. It reaches bills that open from then on, and the days
/// also what is held then. Returns whether there is such a tariff.
///
/// # Errors
/// [`DbError`].
pub async fn set_two_stages(
    conn: &mut AsyncPgConnection,
    id: TariffId,
    confirm_after: Option<i32>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let changing = diesel::update(tariff::table.find(id)).set((
        tariff::two_stages.eq(confirm_after.is_some()),
        tariff::confirm_after.eq(confirm_after.unwrap_or_default()),
        tariff::updated_at.eq(now),
    ));
    Ok(changing.execute(conn).await? > 0)
}

/// Why a trial was not set. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SetTrialError {
    #[error("there is no tariff {0}")]
    UnknownTariff(TariffId),
    #[error("a trial is 1 to {max} days long, not {days}", max = Trial::MAX_DAYS)]
    Days { days: i32 },
    #[error("a trial costs 0 to {max} minor units, not {}", .amount.get(), max = Kopecks::MAX.get())]
    Amount { amount: Kopecks },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for SetTrialError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Sets what a tariff may be tried for from now on; `None`: it may not. Trials that were asked for go on as they were.
///
/// # Errors
/// [`SetTrialError`].
pub async fn set_trial(
    conn: &mut AsyncPgConnection,
    id: TariffId,
    trial: Option<Trial>,
    now: DateTime<Utc>,
) -> Result<(), SetTrialError> {
    if let Some(Trial { days, amount, .. }) = trial {
        if !(1..=Trial::MAX_DAYS).contains(&days) {
            return Err(SetTrialError::Days { days });
        }
        if !(Kopecks::ZERO..=Kopecks::MAX).contains(&amount) {
            return Err(SetTrialError::Amount { amount });
        }
    }
    conn.transaction(async |conn| {
        let set = diesel::update(tariff::table.find(id))
            .set((
                tariff::trial_days.eq(trial.map(|trial| trial.days)),
                tariff::trial_amount.eq(trial.map(|trial| trial.amount)),
                tariff::trial_currency.eq(trial.map(|trial| trial.currency)),
                tariff::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        if set == 0 {
            return Err(SetTrialError::UnknownTariff(id));
        }
        let told = NewEvent::of_nobody(EventKind::TrialSet).with("tariff_id", id.to_string());
        let told = match trial {
            Some(Trial { days, amount, currency }) => {
                told.with("days", days).with("amount", amount.get()).with("currency", currency.as_str())
            }
            None => told,
        };
        Ok(events::append(conn, vec![told], now).await?)
    })
    .await
}

/// Puts tariffs on sale whose names are not taken; leaves those that exist as they are. Returns how many are new.
///
/// # Errors
/// [`DbError`].
pub async fn seed(conn: &mut AsyncPgConnection, tariffs: &[NewTariff], now: DateTime<Utc>) -> Result<usize, DbError> {
    let rows: Vec<_> =
        tariffs.iter().map(|new| (new.clone(), tariff::created_at.eq(now), tariff::updated_at.eq(now))).collect();
    Ok(diesel::insert_into(tariff::table).values(rows).on_conflict_do_nothing().execute(conn).await?)
}

/// The three tariffs of a fresh installation. Their identifiers are the same everywhere, so examples can name them.
#[must_use]
pub fn defaults() -> [NewTariff; 3] {
    let tariff = |id: u128, name: &str, description: &str, period, kopecks| NewTariff {
        id: uuid::Uuid::from_u128(id).into(),
        name: name.to_owned(),
        description: description.to_owned(),
        period,
        amount: Kopecks::new(kopecks),
        currency: Currency::RUB,
        trial_days: None,
        trial_amount: None,
        trial_currency: None,
    };
    let days = |n| Period::days(n).expect("between 1 and 3600");
    let months = |n| Period::months(n).expect("between 1 and 120");
    let a_week_for_nothing = Trial { days: 7, amount: Kopecks::ZERO, currency: Currency::RUB };
    [
        tariff(0x0001_0000_0000_4000_8000_0000_0000_0001, "День", "Все фильмы и сериалы на один день", days(1), 5_900),
        tariff(0x0001_0000_0000_4000_8000_0000_0000_0002, "Месяц", "Все фильмы и сериалы на месяц", months(1), 39_900)
            .with_trial(a_week_for_nothing),
        tariff(0x0001_0000_0000_4000_8000_0000_0000_0003, "Год", "Все фильмы и сериалы на год", months(12), 299_000),
    ]
}
