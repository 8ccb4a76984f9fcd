//! The scheduler: sends tasks at their times.

mod crontab;
mod schedule;

pub use self::crontab::{Crontab, CrontabError};
pub use self::schedule::{CatchUp, Schedule};
