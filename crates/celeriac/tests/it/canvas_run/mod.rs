//! Workflows that run: on our worker, on Python's, and on both.

mod chords;
mod ours;
mod python;
pub(crate) mod tasks;
