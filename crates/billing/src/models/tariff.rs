use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;

use crate::period::{Period, PeriodError};
use crate::schema::{tariff, tariff_price};
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
    /// The price in force at the time for which it was asked ([`Tariff::priced_at`]). In the table: the price that it was
    /// made with.
    pub amount: Kopecks,
    pub currency: Currency,
    /// No longer sold when false; who has it keeps it.
    pub is_active: bool,
    /// The money is held first, and taken once the bill still wants it.
    pub two_stages: bool,
    pub trial_days: Option<i32>,
    pub trial_amount: Option<Kopecks>,
    pub trial_currency: Option<Currency>,
}

/// For how long, and for how much, a tariff may be tried before its first full charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// 1 to [`Trial::MAX_DAYS`].
    pub days: i32,
    /// 0: for nothing. The card is verified then.
    pub amount: Kopecks,
    pub currency: Currency,
}

impl Trial {
    pub const MAX_DAYS: i32 = 366;
}

impl Tariff {
    /// What it may be tried for, if it may.
    #[must_use]
    pub fn trial(&self) -> Option<Trial> {
        let ((days, amount), currency) = self.trial_days.zip(self.trial_amount).zip(self.trial_currency)?;
        Some(Trial { days, amount, currency })
    }

    /// The trial as what is sold: its days, at its price.
    ///
    /// # Errors
    /// [`PeriodError`], for days that no period has.
    pub(crate) fn tried(&self, trial: Trial) -> Result<Self, PeriodError> {
        let days = u32::try_from(trial.days).map_err(|_| PeriodError::OutsideCalendar)?;
        let period = Period::days(days)?;
        Ok(Self { period, amount: trial.amount, currency: trial.currency, ..self.clone() })
    }

    /// With the price in force at `at`: that of the last version which has come into force by then. Before the first it is
    /// the one that the tariff was made with.
    #[must_use]
    pub fn priced_at(mut self, versions: &[TariffPrice], at: DateTime<Utc>) -> Self {
        let begun = versions.iter().filter(|price| price.tariff_id == self.id && price.effective_from <= at);
        if let Some(price) = begun.max_by_key(|price| price.effective_from) {
            (self.amount, self.currency) = (price.amount, price.currency);
        }
        self
    }
}

/// What a tariff costs from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = tariff_price, check_for_backend(Pg))]
pub struct TariffPrice {
    pub tariff_id: TariffId,
    pub effective_from: DateTime<Utc>,
    pub amount: Kopecks,
    pub currency: Currency,
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
    pub trial_days: Option<i32>,
    pub trial_amount: Option<Kopecks>,
    pub trial_currency: Option<Currency>,
}

impl NewTariff {
    /// The same, with a trial.
    #[must_use]
    pub fn with_trial(self, trial: Trial) -> Self {
        let Trial { days, amount, currency } = trial;
        Self { trial_days: Some(days), trial_amount: Some(amount), trial_currency: Some(currency), ..self }
    }
}
