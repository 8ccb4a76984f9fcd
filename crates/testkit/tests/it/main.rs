//! The tools of the tests, tested.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod eventually;
mod own;
mod process;
mod proxy;
mod servers;
