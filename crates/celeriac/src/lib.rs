//! A distributed task queue that is Celery on the wire.

pub mod app;
pub mod backend;
pub mod beat;
pub mod broker;
pub mod canvas;
pub mod clock;
pub mod context;
pub mod control;
pub mod events;
pub mod protocol;
pub mod result;
pub mod task;
pub mod worker;

pub use app::{App, AppBuilder, BuildError, PublishError, QueueDefinition, QueueType, Route, SendError, SendOptions};
pub use beat::{Beat, Entry};
pub use celeriac_macros::Task;
pub use context::{Context, Request};
pub use result::{AsyncResult, GetError, GroupResult, Published};
pub use task::{Failure, RateLimit, Task, TaskError, TaskOptions, TaskResult};
pub use worker::{Worker, WorkerBuilder, WorkerError};

// The derive macro names this crate as its users do.
extern crate self as celeriac;
