//! Remote control: asks workers what they do and tells them what to do, whatever language they are written in.
//!
//! A [`Command`] goes to all workers, to those named, or to those whose names fit a pattern; each answers by itself.
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use celeriac::control::{Client, Command};
//! # async fn example(broker: Arc<dyn celeriac::broker::Broker>) -> Result<(), celeriac::broker::BrokerError> {
//! let client = Client::new(broker);
//! let mut replies = client.call(Command::ping(), Duration::from_secs(1)).await?;
//! while let Some(reply) = replies.next().await {
//!     println!("{}: {}", reply.node, reply.value);
//! }
//! client.cast(Command::rate_limit("billing.charge_payment", "10/m").to(["celery@host"])).await?;
//! # Ok(())
//! # }
//! ```

mod client;
mod command;
mod election;
mod gossip;
mod mailbox;
mod mingle;
mod node;
mod panel;
mod report;

pub use client::{Client, Replies};
pub use command::{Command, Matcher};
pub(crate) use election::Elections;
pub(crate) use gossip::listen as gossip;
pub(crate) use mingle::mingle;
pub(crate) use node::serve;
pub(crate) use panel::resident;
pub use report::{hide_password, report};
