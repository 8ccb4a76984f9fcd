//! The scheduler: sends tasks at their times.

mod crontab;
mod entry;
mod schedule;
mod service;
mod store;

pub use self::crontab::{Crontab, CrontabError};
pub use self::entry::Entry;
pub use self::schedule::{CatchUp, Schedule};
pub use self::service::{Beat, BeatBuilder};
pub use self::store::{MemoryScheduleStore, ScheduleStore, StoreError};
