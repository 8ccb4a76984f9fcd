//! Signing in at the company's provider: OpenID Connect, authorization code with PKCE. What a browser has to bring back from
//! there is in [`flow`]; what is asked of the provider and what it says, in [`provider`]; how it is reached, in [`http`]. Who is
//! let in by that is decided in `pages::oidc` and `billing::store::staff`.

mod config;
mod flow;
mod http;
mod provider;

pub use self::config::OidcConfig;
pub(crate) use self::flow::{Flow, Purpose, forget_cookie};
pub(crate) use self::provider::{Failed, Provider, Told};
