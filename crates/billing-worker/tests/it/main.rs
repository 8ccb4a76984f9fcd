//! The tasks against a real PostgreSQL and the gateway's sandbox, with its faults.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod allowance;
mod announcing;
mod breaker;
mod bulk;
mod calls;
mod charging;
mod closing;
mod connections;
mod deliveries;
mod history;
mod holds;
mod identity;
mod in_doubt;
mod late_notifications;
mod looks;
mod places;
mod planning;
mod receipts;
mod reconciling;
mod refunded;
mod refunding;
mod renewing;
mod restoring;
mod revenue;
mod roles;
mod three_ds;
mod timetable;
mod trying;
mod verifying;
mod world;
