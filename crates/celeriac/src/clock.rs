//! The only reader of the wall clock in this crate; everything else is told the time.

use chrono::{DateTime, Utc};

/// The current time. Pure code never calls this: it takes `now` as an argument.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The current time as Celery's events carry it: seconds since 1970 with a fraction.
#[must_use]
pub fn unix_seconds() -> f64 {
    // Microseconds since 1970 stay below 2^53 until the year 2255.
    now().timestamp_micros() as f64 / 1e6
}
