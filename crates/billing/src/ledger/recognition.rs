//! What is earned of a period sold, day by day.
//!
//! Evenly over its days, by what is earned in total: by the end of day `n` of `N` it is `amount × n / N`, rounded down, and a
//! day earns the difference to the day before. However that rounds, the days of a period come to its amount.

use chrono::{Days, NaiveDate};

use crate::Kopecks;

/// A period sold, or what is left of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deferral {
    /// Without VAT.
    pub amount: Kopecks,
    pub starts_on: NaiveDate,
    /// Exclusive.
    pub ends_on: NaiveDate,
    /// The day on which the money came: nothing is earned before, and what would have been is caught up on it.
    pub known_on: NaiveDate,
    /// From this day on it earns nothing.
    pub cut_on: Option<NaiveDate>,
}

impl Deferral {
    /// A period of at least one day.
    #[must_use]
    pub fn new(amount: Kopecks, starts_on: NaiveDate, ends_on: NaiveDate, known_on: NaiveDate) -> Self {
        let ends_on = ends_on.max(starts_on + Days::new(1));
        Self { amount, starts_on, ends_on, known_on, cut_on: None }
    }

    /// The last day on which it earns anything.
    fn last_on(&self) -> NaiveDate {
        let last = self.known_on.max(self.ends_on - Days::new(1));
        self.cut_on.map_or(last, |cut| last.min(cut - Days::new(1)))
    }

    /// What is earned of it by the end of a day.
    #[must_use]
    pub fn earned_by(&self, day: NaiveDate) -> Kopecks {
        let day = day.min(self.last_on());
        if day < self.known_on || day < self.starts_on {
            return Kopecks::new(0);
        }
        let days = (self.ends_on - self.starts_on).num_days().max(1);
        let passed = ((day - self.starts_on).num_days() + 1).min(days);
        let earned = i128::from(self.amount.get()) * i128::from(passed) / i128::from(days);
        Kopecks::new(i64::try_from(earned).expect("no more than its amount"))
    }

    /// What a day earns.
    #[must_use]
    pub fn earned_on(&self, day: NaiveDate) -> Kopecks {
        Kopecks::new(self.earned_by(day).get() - self.earned_by(day - Days::new(1)).get())
    }

    /// What is not earned before `day`.
    #[must_use]
    pub fn unearned_from(&self, day: NaiveDate) -> Kopecks {
        match self.cut_on {
            Some(_) => Kopecks::new(0),
            None => Kopecks::new(self.amount.get() - self.earned_by(day - Days::new(1)).get()),
        }
    }

    /// What goes on from `day` when it is cut there and `less` of it is earned by nobody any more. `None`: nothing.
    #[must_use]
    pub fn rest(&self, day: NaiveDate, less: Kopecks) -> Option<Self> {
        let amount = self.unearned_from(day).get() - less.get();
        let has_begun = day > self.known_on && day > self.starts_on;
        let starts_on = if has_begun { day } else { self.starts_on };
        let known_on = self.known_on.max(day);
        (amount > 0).then(|| Self::new(Kopecks::new(amount), starts_on, self.ends_on, known_on))
    }

    /// What goes on from `day`, of which nothing is earned before, over other days: it was credited to what was bought
    /// instead.
    #[must_use]
    pub fn moved(&self, day: NaiveDate, starts_on: NaiveDate, ends_on: NaiveDate) -> Option<Self> {
        let amount = self.unearned_from(day);
        (amount.get() > 0).then(|| Self::new(amount, starts_on, ends_on, day))
    }
}
