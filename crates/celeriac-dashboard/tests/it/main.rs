//! The dashboard in front of real servers, a worker of ours and one of Python's, in a real browser.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod alerts;
mod browser;
mod canvas;
mod cluster;
mod flower;
mod history;
mod html;
mod pitfalls;
mod streams;
