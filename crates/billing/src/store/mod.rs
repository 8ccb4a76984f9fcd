//! Transactions. Each is short, holds one connection and never waits for anybody outside the database.
//!
//! All of them lock the account first, so what happens to one customer happens in one order; within the lock every
//! change of an attempt is still a compare-and-set on the state it was read in, and the unique indexes have the last
//! word. Times are passed in.

pub mod accounts;
pub mod announcements;
pub mod browse;
mod cards;
pub mod circuits;
pub mod closing;
pub mod declines;
pub mod events;
pub mod gateway_calls;
pub mod journal;
pub mod keys;
pub mod notifications;
pub mod orphans;
pub mod payments;
mod prepared;
pub mod receipts;
pub mod reconciliation;
pub mod refunds;
pub mod renewals;
pub mod reports;
pub mod restores;
pub mod roles;
mod secrets;
pub mod staff;
pub mod standing;
pub mod subscriptions;
pub mod tariffs;

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::sql_types::Bool;

use crate::account::AccountError;
use crate::bill::IllegalBillEvent;
use crate::cipher::CipherError;
use crate::db::DbError;
use crate::payment::{IllegalTransition, PaymentState};
use crate::period::PeriodError;
use crate::refund::IllegalRefundStep;
use crate::{PaymentId, RefundId};

/// Bills that are owed. Written out as the index has it: a plan that is made once for all parameters cannot know that it
/// fits.
fn owed() -> SqlLiteral<Bool> {
    sql("bill.status in ('Not paid', 'In work') and bill.kind <> 'verification'")
}

/// Why a transaction did not happen. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no payment {0}")]
    UnknownPayment(PaymentId),
    #[error("there is no refund {0}")]
    UnknownRefund(RefundId),
    /// The caller says of an attempt what cannot have happened: a bug, to be looked at by a person.
    #[error("payment {id}: {source}")]
    Illegal { id: PaymentId, source: IllegalTransition },
    /// Likewise, of a refund.
    #[error("refund {id}: {source}")]
    IllegalRefund { id: RefundId, source: IllegalRefundStep },
    /// Somebody changed the attempt although we hold the account's lock: a bug.
    #[error("payment {id} is no longer {expected}")]
    Overtaken { id: PaymentId, expected: PaymentState },
    /// Open bills were changed by hand while their renewals were opened: the same call finds them as they are now.
    #[error("bills were changed meanwhile")]
    BillsOvertaken,
    #[error(transparent)]
    Bill(#[from] IllegalBillEvent),
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A key is missing from the configuration, or a row was tampered with.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::BillsOvertaken => true,
            Self::Db(error) => error.is_transient(),
            _ => false,
        }
    }
}

impl From<diesel::result::Error> for StoreError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

impl From<PeriodError> for StoreError {
    fn from(error: PeriodError) -> Self {
        Self::Account(error.into())
    }
}
