//! An emulator of the [CloudPayments](https://developers.cloudpayments.ru/) gateway: test cards, 3-D Secure, tokens,
//! subscriptions, orders, receipts, notifications, a ledger, and faults to order. For whoever integrates with the gateway,
//! `README.md` of this crate says how it is used; here is how it is made.
//!
//! * `wire` – the gateway's language: requests read from JSON or forms in any case, answers as the documentation shows them.
//! * `ledger` – the gateway's books, pure: a command is decided, its changes are written, then applied. Time is passed in.
//! * `notification` – what the shop is told, how that is written and signed, and when it is told again; pure too.
//! * `http` – the thin edge: who asks, how many at a time, what goes wrong; pages; the sender and the timekeeper.
//! * `journal` – the ledger file: one line per command, written before its answer is given.
//!
//! Its own controls are under `/sandbox`: `cards`, `cryptogram` (also [`cryptogram()`]), `ledger`, `refunds`, `chargebacks`,
//! `tokens`, `notifications`, `faults`, `clock`, `load`. Whoever reaches them may use them: this is for tests only.
//!
//! The sandbox shares no types with any client of the gateway: a misspelled field must not hide on both sides.

mod cards;
mod clock;
mod config;
mod cryptogram;
mod http;
mod journal;
mod ledger;
mod money;
mod notification;
mod past;
mod reason;
mod server;
mod wire;

pub use cards::{BankAnswer, Brand, TEST_CARDS, TestCard};
pub use config::Config;
pub use cryptogram::{CardError, cryptogram};
pub use ledger::payout::Fee;
pub use past::{ChargedBy, PastAnswer, PastCharge, PastError};
pub use server::{Bound, Sandbox, StartError, bind, run};
