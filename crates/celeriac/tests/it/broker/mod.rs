//! Brokers: one suite of rules for all of them, then what only a real server can show.

mod conformance;
mod interop;
mod outages;
mod recovery;
mod refusals;
mod restart;
mod setup;
mod several;
mod tls;
