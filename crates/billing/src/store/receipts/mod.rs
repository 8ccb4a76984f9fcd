//! Receipts of 54-FZ: what goes to the gateway so that its cash register makes them, which were made, and which are missing.

mod issued;
mod missing;
mod orders;
mod sale;

pub(in crate::store) use self::issued::{issued, of_payment};
pub use self::missing::{Missing, list_missing, order_missing, tell_missing};
pub use self::orders::{
    AppliedOrder, BeginOrder, DueOrder, RegisterOrder, apply_order, begin_order, due_orders, orders_told,
};
pub use self::sale::{Sale, keep, kept, sale, sale_ordered, sale_returned};
