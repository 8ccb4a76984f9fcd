//! The fields of a request, and the rules that they break.

use billing::Kopecks;
use billing::event::ResumeToken;
use billing::models::Trial;
use billing::reconciliation::MAX_DAYS;
use chrono::NaiveDate;
use uuid::Uuid;

use super::rules::uuid;
use crate::error::{ApiError, Violation};
use crate::proto;

pub(super) const NO_SUCH_PAGE: &str = "must be the next_page_token of the page before";

pub(crate) fn no_such_page() -> ApiError {
    ApiError::Invalid(vec![Violation { field: "page_token", rule: NO_SUCH_PAGE }])
}

pub(super) fn one(field: &'static str, text: &str) -> Result<Uuid, ApiError> {
    let mut fields = Fields::default();
    fields.read(field, text, uuid).ok_or_else(|| fields.into())
}

/// Reads fields and collects the rules they break.
#[derive(Default)]
pub(super) struct Fields(pub(super) Vec<Violation>);

impl Fields {
    pub(super) fn read<T>(
        &mut self,
        field: &'static str,
        text: &str,
        rule: fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let value = if text.is_empty() { Err("is required") } else { rule(text) };
        value.map_err(|rule| self.0.push(Violation { field, rule })).ok()
    }

    pub(super) fn broken(&mut self, field: &'static str, rule: &'static str) {
        self.0.push(Violation { field, rule });
    }

    /// An id that may be left out.
    pub(super) fn maybe(&mut self, field: &'static str, text: &str) -> Option<Uuid> {
        if text.is_empty() { None } else { self.read(field, text, uuid) }
    }

    pub(super) fn page_size(&mut self, page_size: i32) -> i64 {
        const DEFAULT_PAGE: i64 = 20;
        match page_size {
            0 => DEFAULT_PAGE,
            1..=100 => i64::from(page_size),
            _ => {
                self.broken("page_size", "must be from 1 to 100, or 0 for 20");
                0
            }
        }
    }

    /// The last id of the page before.
    pub(super) fn page_token(&mut self, page_token: &str) -> Option<Uuid> {
        let before = if page_token.is_empty() { None } else { uuid(page_token).ok() };
        if !page_token.is_empty() && before.is_none() {
            self.broken("page_token", "must be the next_page_token of the page before");
        }
        before
    }

    /// Days of the gateway, the last included.
    pub(super) fn days(&mut self, first: &str, last: &str) -> Option<(NaiveDate, NaiveDate)> {
        let day = |text: &str| text.parse::<NaiveDate>().map_err(|_| "must be a day like 2026-11-01");
        let (first, last) = (self.read("first_day", first, day), self.read("last_day", last, day));
        let (first, last) = (first?, last?);
        let days = (last - first).num_days();
        if !(0..MAX_DAYS).contains(&days) {
            self.broken("last_day", "must be the first day or one of the 365 after it");
            return None;
        }
        Some((first, last))
    }

    pub(super) fn trial(&mut self, shown: &proto::Trial) -> Option<Trial> {
        let days = i32::try_from(shown.days).ok().filter(|days| (1..=Trial::MAX_DAYS).contains(days));
        if days.is_none() {
            self.broken("trial.days", "must be 1 to 366, as Tariff.trial has it");
        }
        let amount = Kopecks::new(shown.amount_kopecks);
        if !(Kopecks::ZERO..=Kopecks::MAX).contains(&amount) {
            self.broken("trial.amount_kopecks", "must be 0 to 100000000, as Tariff.trial has it");
        }
        let currency = shown.currency.parse();
        if currency.is_err() {
            self.broken("trial.currency", "must be three capital letters, as Tariff.trial has it");
        }
        Some(Trial { days: days?, amount, currency: currency.ok()? })
    }

    /// Empty is allowed, and means: none.
    pub(super) fn resume_token(&mut self, text: &str) -> Option<ResumeToken> {
        if text.is_empty() {
            return None;
        }
        let token = text.parse();
        token.map_err(|_| self.broken("resume_token", "must be a token that this service gave, unchanged")).ok()
    }
}

impl From<Fields> for ApiError {
    fn from(fields: Fields) -> Self {
        Self::Invalid(fields.0)
    }
}
