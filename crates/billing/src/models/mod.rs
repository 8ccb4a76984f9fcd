//! Rows, as they lie in the tables, and how they become the machines' states and back.

mod account;
mod bill;
mod payment;
mod refund;
mod skipped;
mod tariff;

pub(crate) use self::account::AccountChange;
pub use self::account::AccountRow;
pub use self::bill::BillRow;
pub(crate) use self::bill::{BillChange, NewBill};
pub use self::payment::PaymentRow;
pub(crate) use self::payment::{NewPaymentRow, PaymentChange};
pub use self::refund::RefundRow;
pub(crate) use self::refund::{NewRefund, RefundChange};
pub(crate) use self::skipped::SkippedRow;
pub use self::tariff::{NewTariff, Tariff, TariffPrice, Trial};
