//! The wire format, held against messages that were captured from Celery 5.7.

mod arguments;
mod events;
pub(crate) mod fixtures;
pub(crate) mod golden;
mod hostile;
mod lenient;
mod pidbox;
mod results;
mod snapshots;
