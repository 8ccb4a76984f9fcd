//! The one integration test binary of this crate.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod backend;
mod broker;
mod canvas;
mod canvas_run;
mod protocol;
mod testing;
mod worker;
mod app;
mod beat;
