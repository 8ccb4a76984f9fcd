//! Whole-system tests against real servers.

mod cinema;
mod compose;
mod crashes;
mod roles;
mod standalone;
mod system;
