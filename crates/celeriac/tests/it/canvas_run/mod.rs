//! Workflows that run: on our worker, on Python's, and on both.

mod chords;
mod endings;
mod growing;
mod metas;
mod ours;
mod python;
mod results;
pub(crate) mod tasks;
#[cfg(feature = "postgres")]
mod unlock;
