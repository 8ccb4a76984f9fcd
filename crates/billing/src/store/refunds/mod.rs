//! The way of a refund through the database: money that goes back to a customer.
//!
//! | call | who | from → to |
//! |---|---|---|
//! | [`request`] | api, admin | – → `requested`, perhaps to wait for a second person |
//! | [`approve`], [`withdraw`] | api, admin | a second person lets it go on; it is taken back before it was sent |
//! | `owe` | with the payment that nobody owed | – → `requested`, by itself |
//! | [`begin`] | worker, before the request | `requested` → `sending`; `sending` whose sender died → `unknown`; a look at `unknown` |
//! | [`begin_resend`] | worker | `unknown` → `sending`, the identical request |
//! | [`apply`] | worker, after the response | any → what the machine says |
//! | [`recognise`] | notification, look, reconciliation | what the gateway has: ours by its `refund_id`, or – → `succeeded`, `external` |
//! | [`recognise_chargeback`] | reconciliation | the customer's bank took the payment back |
//! | [`due`], [`told`] | timetable | finds what nobody turns to |
//!
//! Money that went back is written down in one place, `given_back`: the refund, the bill, the account and the log of events
//! move together there, once for each movement. What must be written with the money – the ledger – belongs there.
//!
//! The account is locked first, then bill and payment; a payment's refunds are read and written under its lock.

mod apply;
mod approve;
mod chargeback;
mod find;
mod given_back;
mod limits;
mod recognise;
mod request;
mod send;

pub use self::apply::{AppliedRefund, apply};
pub use self::approve::{approve, withdraw};
pub use self::chargeback::{Chargeback, is_barred, recognise_chargeback};
pub use self::find::{DueRefund, Listing, due, get, list, of_payment, sum_of_payment, told};
pub(in crate::store) use self::given_back::{give_back_the_rest, owe};
pub use self::limits::{Limit, limits, set_limit};
pub use self::recognise::{GatewayRefund, KnownFrom, Recognised, payment_of, recognise};
pub use self::request::{Ask, RefundError, Requested, automatic_id, request};
pub use self::send::{BeginRefund, RefundLook, RefundOrder, begin, begin_resend, put_look_off};
