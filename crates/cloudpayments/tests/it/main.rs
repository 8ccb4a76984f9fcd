//! The client against a gateway at the wire, and what it makes of the captured data.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod decisions_at_the_wire;
mod documented_answers;
mod fixtures;
mod gateway;
mod limits;
mod notifications;
mod paging;
mod reason_codes;
mod redaction;
mod wire_equality;
