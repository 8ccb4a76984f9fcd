//! What travels on the wire: pure encoding and decoding, no I/O and no clock.

mod message;

pub use message::{DeliveryMode, Headers, Message, Properties, Value};
