//! The domain of subscription billing: state machines, models, queries and the task contract.
//!
//! Rules live in modules without I/O – [`payment`], [`bill`], [`account`], [`period`], [`decline`], [`resolve`],
//! [`event`], [`notification`] – and are told what time it is. [`store`] moves rows by those rules, one short transaction each; nothing here ever
//! calls the gateway. [`tasks`] is every asynchronous thing the system does, on one page.
#![deny(clippy::float_arithmetic)]

mod macros;

pub mod account;
pub mod bell;
pub mod bill;
pub mod breaker;
pub mod card;
pub mod cipher;
pub mod clock;
pub mod db;
pub mod decline;
pub mod duration;
pub mod event;
pub mod explain;
pub mod ids;
pub mod ledger;
pub mod models;
pub mod money;
pub mod notification;
pub mod payment;
pub mod period;
pub mod proration;
pub mod receipt;
pub mod reconciliation;
pub mod refund;
pub mod resolve;
pub mod schema;
pub mod services;
pub mod size;
pub mod staff;
pub mod store;
pub mod tasks;
pub mod text;
pub mod times;
pub mod trail;
pub mod wake;

pub use ids::{AccountId, BillId, DifferenceId, PaymentId, ReceiptId, ReconciliationId, RefundId, TariffId};
pub use money::{Currency, Kopecks};
pub use services::{Services, ServicesConfig};
