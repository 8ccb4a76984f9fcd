//! The gateway's list beside our rows: runs, what was listed, and the differences.
//!
//! | call | who | does |
//! |---|---|---|
//! | [`open_daily`] | timetable | a run for each of the last closed days, once a day |
//! | [`ask`] | staff | a run of any range |
//! | [`due`], [`claim`] | worker | the run to be worked on next, leased |
//! | [`keep_page`], [`end_reading`] | worker, after a request | a page of the list, kept with the place of the next |
//! | [`keep_chargebacks`] | worker, after a request | likewise, of chargebacks |
//! | [`compare`] | worker | a chunk of the comparison, in SQL |
//! | [`to_settle`], [`settled`], [`end`] | worker | what may be put right without a person, and the end |
//! | [`recover`] | worker | writes down again what the database has lost |
//! | [`list`], [`decide`], [`days`], [`get`] | staff | what was found, and what became of it |
//!
//! Each step keeps its place with what it did, so that whoever goes on after a crash goes on from there.

mod compare;
mod days;
mod differences;
mod listed;
mod recover;
mod runs;

pub use self::compare::{Compared, compare};
pub use self::days::{Day, days};
pub(in crate::store) use self::differences::by_id_for_update;
pub use self::differences::{
    DecideError, Decision, Difference, Filter, RECONCILIATION, by_id, decide, list, settled, to_settle,
};
pub use self::listed::{chargeback, keep_chargebacks, keep_page, refunds_of};
pub use self::recover::{Lost, Recovered, recover};
pub use self::runs::{MAX_READINGS, Run, ask, claim, due, end, end_reading, get, open_daily, release, troubled};
