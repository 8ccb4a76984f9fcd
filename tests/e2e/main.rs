//! Whole-system tests against real servers.

mod cinema;
mod compose;
mod crashes;
mod invariants;
mod roles;
mod standalone;
mod system;
