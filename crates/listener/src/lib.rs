//! Where connections come in. Every port of a role is served through here, so that each has the same limits before a
//! byte of a request is understood, and before anybody is asked who they are:
//!
//! * a connection that does not say what it wants – no bytes, half a greeting, a TLS handshake without a request – ends
//!   after [`Limits::handshake`]; one that has nothing under way, after [`Limits::idle`]; a request whose body does not
//!   come, after [`Limits::body`]; an answer that is not taken, after [`Limits::stalled`];
//! * one address has at most [`Limits::per_address`] connections, all together [`Limits::in_all`];
//! * a part of the process's file descriptors is left alone: a role does not run out of them for its own work because
//!   somebody connects to it ([`Descriptors`]).
//!
//! At a limit a new connection takes the place of the one that has been silent the longest, first of those that never
//! asked for anything: who floods a port with silence shuts nobody out. Where all have something under way, it is closed.
//!
//! This crate knows HTTP and no role: it depends on none of its siblings, and any of them may use it.

mod activity;
mod admission;
mod body;
mod descriptors;
mod limits;
mod serve;
mod stream;

pub use activity::{Peer, Place};
pub use body::{Answer, Body, BodyError};
pub use descriptors::Descriptors;
pub use limits::Limits;
pub use serve::Listener;
