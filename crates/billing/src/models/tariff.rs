use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;

use crate::period::Period;
use crate::schema::tariff;
use crate::{Currency, Kopecks, TariffId};

/// What can be bought.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Identifiable)]
#[diesel(table_name = tariff, check_for_backend(Pg))]
pub struct Tariff {
    pub id: TariffId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub name: String,
    pub description: String,
    pub period: Period,
    pub amount: Kopecks,
    pub currency: Currency,
    /// No longer sold when false; who has it keeps it.
    pub is_active: bool,
}

/// A tariff to be put on sale.
#[derive(Debug, Clone, PartialEq, Eq, Insertable)]
#[diesel(table_name = tariff)]
pub struct NewTariff {
    pub id: TariffId,
    pub name: String,
    pub description: String,
    pub period: Period,
    pub amount: Kopecks,
    pub currency: Currency,
}
