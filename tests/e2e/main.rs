//! Whole-system tests against real servers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod celery;
mod cinema;
mod clocks;
mod closing;
mod compose;
mod crash_loop;
mod crashes;
mod declines;
mod docs;
mod edges;
mod environment;
mod health;
mod invariants;
mod keys;
mod kubernetes;
mod ledger;
mod metrics;
mod parking;
mod reconciling;
mod reports;
mod roles;
mod secrecy;
mod standalone;
mod steps;
mod stops;
mod system;
mod tariffs;
mod telemetry;
mod verb_steps;
mod verbs;
mod watched;
