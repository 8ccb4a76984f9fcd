#![doc = include_str!("../README.md")]
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`App`], [`SendOptions`], [`AsyncResult`] | send tasks, ask for their results |
//! | [`Task`], [`Context`], [`TaskError`] | what a task is, what its body knows, what it may answer |
//! | [`Worker`] | runs tasks; [`worker::WorkerHandle`] looks at it |
//! | [`Beat`], [`Entry`], [`beat::Crontab`] | sends tasks at their times |
//! | [`canvas`] | workflows |
//! | [`events`], [`control`], [`parking`] | what operators see and do |
//! | [`metrics`] | figures for whatever watches the program |
//! | [`trace`] | traces that go on from program to program |
//! | [`broker`], [`backend`] | the servers behind it, and how to bring another one |
//! | [`tagged`] | decimals, times and UUIDs as Python's own |
//! | [`protocol`] | the wire format, without I/O |
//! | [`testing`] | support for your tests |

#![warn(missing_docs)]

pub mod app;
pub mod backend;
pub mod beat;
pub mod broker;
pub mod canvas;
pub mod clock;
pub mod context;
pub mod control;
pub mod events;
pub mod metrics;
mod outage;
pub mod parking;
pub mod protocol;
pub mod result;
pub mod tagged;
pub mod task;
pub mod testing;
pub mod trace;
pub mod worker;

pub use app::{App, AppBuilder, BuildError, PublishError, QueueDefinition, QueueType, Route, SendError, SendOptions};
pub use beat::{Beat, Entry};
pub use celeriac_macros::Task;
pub use context::{Context, Request};
pub use result::{AsyncResult, GetError, GroupResult, Published};
pub use task::{ConcurrencyLimit, Failure, RateLimit, Task, TaskError, TaskOptions, TaskResult};
pub use worker::{Worker, WorkerBuilder, WorkerError};

// The derive macro names this crate as its users do.
extern crate self as celeriac;
