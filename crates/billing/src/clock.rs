//! The only reader of the wall clock in the billing crates. Everything else is told what time it is.

use chrono::{DateTime, SubsecRound, Utc};

/// The present, to the microsecond: what PostgreSQL keeps, so a time read back equals the time written.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
