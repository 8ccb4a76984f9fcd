//! What workers and clients announce about themselves: receiving it, and the picture of a cluster that it makes.

mod receiver;
mod state;

pub use receiver::Receiver;
pub use state::{State, Task, Worker};
