//! The scheduler: sends tasks at their times.
//!
//! Any number of beats may run on one [`ScheduleStore`]: one leads and sends, the others wait for its lease to end, which
//! it does at once when it stops in order and within [`BeatBuilder::lease`] (10 seconds) and one more when it dies.
//!
//! # What is guaranteed
//! * **No tick is skipped**, but for those that its [`CatchUp`] says. A tick is claimed in the store before it is sent and
//!   recorded after the broker has confirmed it, and whoever leads next begins with what was claimed and not recorded.
//! * **No tick is sent twice while the beats live**, whoever leads: only the holder of the lease sends, it stops a fifth
//!   of the lease before it ends by a clock that nobody sets, and the store refuses claims of any other.
//! * **A tick may be sent a second time** in three cases, in which nobody can know whether the broker has it: the beat died
//!   between claim and record, the broker's confirmation was lost, or the process was stopped (SIGSTOP, a suspended
//!   machine) for longer than its lease just between its last look at the clock and the write to the socket. In the first
//!   two the second message has the header [`SENT_AGAIN`]. In all of them it has the **same task id**, a UUID made of the
//!   name of the entry and the time of the tick, so that whoever must not do it twice can tell by the id.
//!
//! With [`MemoryScheduleStore`] all this holds among the beats that share it; nothing outlives the process.

mod crontab;
mod entry;
mod lease;
mod readiness;
mod schedule;
mod service;
pub mod store;
mod ticker;

pub use self::crontab::{Crontab, CrontabError};
pub use self::entry::{DueTick, Entry};
pub use self::readiness::{BeatHandle, BeatReadiness, BeatUnready};
pub use self::schedule::{CatchUp, Schedule};
pub use self::service::{Beat, BeatBuilder};
#[cfg(feature = "postgres")]
pub use self::store::PostgresScheduleStore;
pub use self::store::{EntryDefinition, MemoryScheduleStore, RedisScheduleStore, ScheduleStore, StoreError};

/// The header of a message that may be the second one of its tick.
pub const SENT_AGAIN: &str = "celeriac_beat_sent_again";
