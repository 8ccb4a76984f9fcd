//! The one integration test binary of this crate.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod app;
mod backend;
mod beat;
mod broker;
mod canvas;
mod canvas_run;
mod control;
mod documentation;
mod protocol;
mod testing;
mod worker;
