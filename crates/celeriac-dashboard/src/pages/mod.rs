//! The pages, one file each; what they say stands in the template of the same name.

pub(crate) mod act;
pub(crate) mod canvas;
pub(crate) mod entry;
pub(crate) mod log;
pub(crate) mod overview;
pub(crate) mod parked;
pub(crate) mod queue;
pub(crate) mod queues;
pub(crate) mod ranking;
pub(crate) mod schedule;
pub(crate) mod sign_in;
pub(crate) mod task;
pub(crate) mod tasks;
pub(crate) mod worker;
pub(crate) mod workers;

use std::sync::Arc;

use axum::extract::State;

/// What every handler is given.
pub(crate) type Shared = State<Arc<crate::Core>>;
