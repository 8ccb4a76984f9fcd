//! What a result backend does for chords: it counts the parts, and lets exactly one worker send the body.
//!
//! The algorithm is that of Celery 5.7 (`celery/backends/redis.py`, `on_chord_part_return`): each task of the header hands
//! in its part, the last one claims the chord, and whoever holds the claim joins the parts and sends the body. A worker
//! that dies in between loses its claim after a while, and the next copy of a header task takes it over.

use std::time::Duration;

use super::BackendError;
use crate::protocol::json::elements;
use crate::protocol::{RawJson, State};

/// How long a worker may take to join the parts before another one may claim the chord. Celery's default.
pub(super) const CLAIM: Duration = Duration::from_secs(6);
/// How long it may take to send the body once its claim was extended.
pub(super) const EXTENDED_CLAIM: Duration = Duration::from_secs(60);
/// How long it is remembered that a chord is done, so that late copies of its tasks do not begin it again.
pub(super) const DONE: Duration = Duration::from_secs(300);

/// How one task of a chord's header has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct ChordPart {
    /// The group that is the header of the chord: the key of all that is stored of it.
    pub group_id: String,
    /// The task that has ended.
    pub task_id: String,
    /// Its place among the results; those without one come last.
    pub group_index: Option<i64>,
    /// SUCCESS, or a state whose result is an exception.
    pub state: State,
    /// The value, or the exception as it is stored.
    pub result: RawJson,
}

/// What a part has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChordProgress {
    /// Other parts are to come, or the chord is over: nothing is to be done.
    Open,
    /// All parts are in, and another worker has claimed the chord. Should it die, nobody else would send the body: hand
    /// in the part again after a while.
    Claimed,
    /// All parts are in, and the chord is the caller's.
    Complete(CompleteChord),
}

/// A chord whose parts are all in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteChord {
    /// Each as `[1, task id, state, result]`, in the order of the header.
    pub parts: Vec<String>,
    /// The structure of the header, where a client has stored one because it is nested (`GroupResult`).
    pub group: Option<String>,
}

impl ChordPart {
    /// `[1, task id, state, result]`
    pub(crate) fn to_json(&self) -> String {
        let mut out = b"[1, ".to_vec();
        crate::protocol::json::string(&self.task_id, &mut out);
        out.extend_from_slice(b", ");
        crate::protocol::json::string(self.state.as_str(), &mut out);
        out.extend_from_slice(b", ");
        out.extend_from_slice(self.result.as_bytes());
        out.push(b']');
        String::from_utf8(out).expect("JSON is written as UTF-8")
    }

    /// Task id, state and result of a part that any worker has handed in; `None` if it is none.
    pub(crate) fn read(text: &str) -> Option<(String, State, RawJson)> {
        let json = RawJson::parse(text.to_owned()).ok()?;
        let [_, task_id, state, result] = <[RawJson; 4]>::try_from(elements(&json)?).ok()?;
        Some((task_id.read().ok()?, State::from(state.read::<String>().ok()?), result))
    }
}

/// The answer of a backend that cannot do this.
pub(super) fn not_supported(address: &str, what: &str) -> BackendError {
    let reason = format!("this result backend keeps no {what}: use redis:// for workflows that need them");
    BackendError::Refused { address: address.to_owned(), reason }
}
