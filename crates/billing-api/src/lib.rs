//! The gRPC services for the frontend and the auth service.
//!
//! `proto/billing/v1` says what can be called, `proto/README.md` how. A request passes `gate.rs` (its id, its caller, its
//! time), is turned into domain values by `validation.rs`, and is served by the file of its service, which calls
//! [`billing::store`] and nothing else that writes. Whatever goes wrong becomes a status in `status.rs`, only there.
//!
//! Notifications of the gateway come in at a port of their own (`notifications`).
//!
//! The API never talks to the payment gateway: it stores what is to be done, tells the workers, and waits for their
//! results on behalf of its callers (`watch.rs`).

mod access;
mod auth;
mod browser;
mod caller;
mod config;
mod convert;
mod deadline;
mod denied;
mod error;
mod events;
mod explained;
mod follow;
mod gate;
mod gateway_rest;
mod health;
mod notifications;
mod outage;
mod payments;
mod per_client;
pub mod proto;
mod reconciliation;
mod refunds;
mod scope;
mod server;
mod start;
mod status;
mod streams;
mod subscriptions;
mod tail;
mod tariffs;
mod tls;
mod validation;
mod values;
mod watch;
mod watch_access;
mod writes;

pub use browser::{BrowserConfig, LocalKey, LocalKeyError};
pub use config::{Config, LOCAL_TOKENS};
pub use health::Readiness;
pub use notifications::NotificationsConfig;
pub use scope::Scope;
pub use server::{Bound, bind};
pub use start::StartError;

use billing::Services;
use tokio_util::sync::CancellationToken;

/// Takes the port and serves until `shutdown`.
///
/// # Errors
/// [`StartError`] when a setting is wrong or the port is taken; anything else when the server cannot go on.
pub async fn run(config: Config, services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    bind(config).await?.run(services, shutdown).await
}
