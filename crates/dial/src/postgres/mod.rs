//! PostgreSQL: its addresses, its connections, and what its errors mean.
//!
//! Every server of an address has a limit of its own within the whole, as libpq's `connect_timeout` is counted: one that
//! is silent does not hide the next.

mod address;
mod codes;
mod connect;
mod errors;
mod keywords;
mod pooler;
mod stream;

pub use self::address::Address;
pub use self::codes::code_of;
pub use self::connect::{Dialer, Link};
pub use self::errors::{ConnectError, describe, is_hopeless, is_network, is_passing};
pub use self::pooler::{Sessions, check as check_sessions};
