use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;

use crate::account::SkippedPeriod;
use crate::schema::skipped_period;
use crate::{AccountId, BillId};

/// A row of `skipped_period`.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = skipped_period, check_for_backend(Pg))]
pub(crate) struct SkippedRow {
    pub(crate) account_id: AccountId,
    pub(crate) begins_at: DateTime<Utc>,
    pub(crate) ends_at: DateTime<Utc>,
    pub(crate) period_no: i32,
    /// The bill that was opened instead.
    pub(crate) bill_id: BillId,
    pub(crate) noticed_at: DateTime<Utc>,
}

impl SkippedRow {
    pub(crate) const fn period(&self) -> SkippedPeriod {
        SkippedPeriod { no: self.period_no, begins_at: self.begins_at, ends_at: self.ends_at }
    }
}
