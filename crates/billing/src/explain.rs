//! Why a payment, a bill or a subscription is in its state, what happens next, and when. Pure.
//!
//! Every time that is named here is one that the timetable and the workers go by: the row's own
//! (`look_again_at`, `next_charge_at`, `access_until`), or one that [`ResolvePolicy`](crate::resolve::ResolvePolicy)
//! and the account's machine compute. So a page that says what comes next and the task that does it cannot disagree.

mod account;
mod bill;
mod payment;
mod words;

use chrono::{DateTime, Utc};

pub use self::account::{UnderWay, account};
pub use self::bill::bill;
pub use self::payment::{PaymentFacts, payment};
pub use crate::text::Text;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It happens by itself.
    Step { at: When, what: Text },
    /// Nothing happens until this person does something.
    WaitsFor { whom: Whom, what: Text },
    /// It is over.
    Nothing,
}

/// When a step is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as a worker is free.
    Soon,
    At(DateTime<Utc>),
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    Customer,
    /// Support or accounting.
    Staff,
}

/// Why it is so, and what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub why: Text,
    pub next: Next,
}
