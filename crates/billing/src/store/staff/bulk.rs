//! One action on all rows of a filtered list: money given back after an outage, access extended for everybody.
//!
//! What the filter found when it was looked at is frozen as rows of [`bulk_item`](crate::schema::bulk_item): what is done later
//! is done to exactly these. A second person lets it begin; then workers go through it, a row in a transaction, each under an
//! id that follows from the action's. So nothing is done twice, however often a worker dies or is told to.

mod decide;
mod freeze;
mod read;
mod run;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use uuid::Uuid;

pub use self::decide::{BulkWord, ask_bulk, tell_bulk};
pub use self::freeze::freeze_bulk;
pub use self::read::{bulk_by_id, bulk_items, bulk_progress, bulks, bulks_waiting};
pub use self::run::{BulkStep, bulk_step, take_bulk};
use super::{By, StoreError};
use crate::macros::text_enum;
use crate::refund::AccessEffect;
use crate::schema::{bulk, bulk_item};
use crate::staff::StaffId;
use crate::store::browse::{AccountFilter, PaymentFilter};
use crate::{AccountId, Currency, Kopecks, PaymentId, RefundId};

/// The most rows of one action.
pub const MAX_ITEMS: i64 = 5_000;
/// A second person agrees within this time, or it is over.
pub const BULK_AGREED_WITHIN: TimeDelta = TimeDelta::hours(24);
/// The most days by which everybody is extended.
pub const MAX_BULK_DAYS: u16 = 31;
/// The longest description of the conditions that is kept, in bytes.
const MAX_CONDITIONS: usize = 1_000;

text_enum! {
    /// What is done to each row.
    pub enum BulkKind {
        /// The paid time ends later.
        Extend = "extend",
        /// All that is left of the payment goes back.
        Refund = "refund",
    }
}

text_enum! {
    /// How far an action on many rows is.
    pub enum BulkState {
        /// It is looked at.
        Draft = "draft",
        /// A second person is to agree.
        Waiting = "waiting",
        Running = "running",
        /// Nothing is done until somebody lets it go on.
        Paused = "paused",
        /// It was ended before its end.
        Stopped = "stopped",
        Done = "done",
        /// It was taken back before it began.
        Withdrawn = "withdrawn",
    }
}

text_enum! {
    /// What became of a row.
    pub enum ItemState {
        Waiting = "waiting",
        Done = "done",
        /// Nothing was done to it; why is beside it.
        Refused = "refused",
        /// The action was stopped before it.
        Left = "left",
    }
}

text_enum! {
    /// Why nothing was done to a row.
    pub enum Refusal {
        NothingPaid = "nothing_paid",
        Closed = "closed",
        /// No money was taken, or it is not known whether.
        NotTaken = "not_taken",
        TooOld = "too_old",
        /// Another refund of it is under way.
        Unfinished = "unfinished",
        /// Less is left than when it was looked at.
        LessLeft = "less_left",
        ChargedBack = "charged_back",
        /// Above the limits of who asked and who agreed.
        OverLimit = "over_limit",
        /// Its rows contradict each other: a person must look.
        Defect = "defect",
    }
}

/// What is to be done, and to which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAsk {
    Extend { days: u16, of: AccountFilter },
    Refund { effect: AccessEffect, of: PaymentFilter },
}

impl BulkAsk {
    const fn kind(&self) -> BulkKind {
        match self {
            Self::Extend { .. } => BulkKind::Extend,
            Self::Refund { .. } => BulkKind::Refund,
        }
    }
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    #[error("there is no action {0}")]
    Unknown(Uuid),
    #[error("more than {MAX_ITEMS} rows fit the conditions")]
    TooMany,
    #[error("no row that fits the conditions can take it")]
    Nothing,
    #[error("the payments are of several currencies")]
    Currencies,
    #[error("from 1 to {MAX_BULK_DAYS} days")]
    Days,
    #[error("why: from 3 to 500 characters")]
    Reason,
    #[error("whoever agrees must be another person")]
    SamePerson,
    /// Only whoever looked at it asks for it.
    #[error("somebody else has prepared it")]
    AnothersDraft,
    #[error("it is {0}")]
    Is(BulkState),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for BulkError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// An action on many rows.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = bulk, check_for_backend(diesel::pg::Pg))]
pub struct Bulk {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    pub kind: BulkKind,
    pub days: Option<i32>,
    pub effect: Option<AccessEffect>,
    /// The conditions, as they stand in the address of the list.
    pub conditions: String,
    pub staff_id: StaffId,
    pub made_by: String,
    pub made_role: String,
    pub address: String,
    pub reason: Option<String>,
    pub items: i32,
    /// Rows that fit the conditions, and could not take it.
    pub left_out: i32,
    pub total: Kopecks,
    pub currency: Option<Currency>,
    pub state: BulkState,
    pub asked_at: Option<DateTime<Utc>>,
    pub approved_by: Option<String>,
    pub approved_role: Option<String>,
    pub approved_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

impl Bulk {
    /// Whether it is too late to agree to it.
    #[must_use]
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.state == BulkState::Waiting && self.asked_at.is_some_and(|at| at + BULK_AGREED_WITHIN <= now)
    }

    /// Whoever has prepared it.
    #[must_use]
    pub fn maker(&self) -> By {
        By {
            staff_id: Some(self.staff_id),
            name: self.made_by.clone(),
            role: self.made_role.clone(),
            address: self.address.clone(),
        }
    }
}

/// A row of it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = bulk_item, check_for_backend(diesel::pg::Pg))]
pub struct BulkItem {
    pub no: i32,
    pub account_id: AccountId,
    pub payment_id: Option<PaymentId>,
    pub amount: Option<Kopecks>,
    pub state: ItemState,
    pub why: Option<Refusal>,
    pub refund_id: Option<RefundId>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// How many rows came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub waiting: i64,
    pub done: i64,
    pub refused: i64,
    pub left: i64,
    /// The money of those that are done.
    pub moved: Kopecks,
}
