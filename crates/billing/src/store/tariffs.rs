//! What can be bought.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::db::DbError;
use crate::models::{NewTariff, Tariff};
use crate::period::Period;
use crate::schema::tariff;
use crate::{Currency, Kopecks, TariffId};

/// The tariffs on sale, cheapest first.
///
/// # Errors
/// [`DbError`].
pub async fn list(conn: &mut AsyncPgConnection) -> Result<Vec<Tariff>, DbError> {
    let on_sale = tariff::table.filter(tariff::is_active).order((tariff::amount, tariff::name));
    Ok(on_sale.select(Tariff::as_select()).load(conn).await?)
}

/// One tariff, on sale or not.
///
/// # Errors
/// [`DbError`].
pub async fn get(conn: &mut AsyncPgConnection, id: TariffId) -> Result<Option<Tariff>, DbError> {
    Ok(tariff::table.find(id).select(Tariff::as_select()).first(conn).await.optional()?)
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
    };
    let days = |n| Period::days(n).expect("between 1 and 3600");
    let months = |n| Period::months(n).expect("between 1 and 120");
    [
        tariff(0x0001_0000_0000_4000_8000_0000_0000_0001, "День", "Все фильмы и сериалы на один день", days(1), 5_900),
        tariff(0x0001_0000_0000_4000_8000_0000_0000_0002, "Месяц", "Все фильмы и сериалы на месяц", months(1), 39_900),
        tariff(0x0001_0000_0000_4000_8000_0000_0000_0003, "Год", "Все фильмы и сериалы на год", months(12), 299_000),
    ]
}
