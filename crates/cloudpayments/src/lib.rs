#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod amount;
pub mod answer;
mod charge;
mod chargeback;
mod client;
mod date;
mod error;
mod fields;
pub mod notification;
pub mod reason;
mod request;
mod transaction;

pub use amount::{Amount, InvalidAmount};
pub use charge::{Charge, ThreeDs};
pub use chargeback::Chargeback;
pub use client::{Client, ClientConfig, ConfigError, Exchange, Pages, Record};
pub use error::{Decline, Doubt, Error, NotProcessed};
pub use reason::ReasonGroup;
pub use request::{
    CardCharge, Initiator, InvalidRequestId, ListRequest, Payer, ReceiptKind, ReceiptOrder, RequestId, TokenCharge,
    TransactionPart,
};
pub use transaction::{CardMask, Operation, Transaction, TransactionStatus};
