//! A distributed task queue that is Celery on the wire.

pub mod backend;
pub mod beat;
pub mod broker;
pub mod clock;
pub mod protocol;
