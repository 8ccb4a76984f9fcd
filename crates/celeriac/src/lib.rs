//! A distributed task queue that is Celery on the wire.

pub mod backend;
pub mod beat;
pub mod broker;
pub mod clock;
pub mod protocol;
pub mod task;

pub use celeriac_macros::Task;
pub use task::{Failure, RateLimit, Task, TaskError, TaskOptions, TaskResult};

// The derive macro names this crate as its users do.
extern crate self as celeriac;
