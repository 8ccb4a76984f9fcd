//! What the gateway tells by itself, posted as it posts: over the wire, signed.

mod gateway;
mod paying;
