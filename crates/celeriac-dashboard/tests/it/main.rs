//! The dashboard in front of real servers, a worker of ours and one of Python's, in a real browser.

mod browser;
mod cluster;
mod streams;
