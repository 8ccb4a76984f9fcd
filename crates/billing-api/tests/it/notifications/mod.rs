//! What the gateway tells by itself, posted as it posts: over the wire, signed.

mod bounds;
mod checks;
mod failing;
mod gateway;
mod paying;
mod refunding;
mod shapes;
mod signatures;
mod strange;
