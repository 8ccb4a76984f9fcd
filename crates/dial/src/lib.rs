//! How servers are reached: [addresses](address) as their own clients write them, [TLS](tls) with private authorities,
//! and [sockets](socket) that notice when nobody is there any more. PostgreSQL's connections are made here as a whole
//! ([`postgres`]), for the queue and for the domain.
//!
//! Nothing here waits without a limit, and nothing shows a password.

pub mod address;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod socket;
pub mod tls;
