//! Settings of what browsers call with.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::values::{count, duration};

/// Whose tokens browsers may show, and how much each account may have at once.
#[derive(Args, Clone, Debug)]
#[group(id = "browsers")]
pub struct BrowserConfig {
    /// The public keys of the auth service that signs the tokens of browsers, as a JWK Set: an https:// URL, a file, or the
    /// JSON text itself. Without it browsers have no tokens
    #[arg(id = "api_jwks", long = "api-jwks", env = "API_JWKS", value_name = "URL|FILE|JSON")]
    pub jwks: Option<String>,

    /// What a browser's token must have as `iss`
    #[arg(id = "api_jwt_issuer", long = "api-jwt-issuer", env = "API_JWT_ISSUER", value_name = "ISSUER")]
    pub jwt_issuer: Option<String>,

    /// What a browser's token must have as `aud`, or among it
    #[arg(id = "api_jwt_audience", long = "api-jwt-audience", env = "API_JWT_AUDIENCE", value_name = "AUDIENCE")]
    pub jwt_audience: Option<String>,

    /// Certificate authorities (PEM) that the server of API_JWKS is trusted by [default: those of the system]
    #[arg(id = "api_jwks_ca", long = "api-jwks-ca", env = "API_JWKS_CA", value_name = "FILE")]
    pub jwks_ca: Option<PathBuf>,

    /// How often the keys are fetched anew
    #[arg(
        id = "api_jwks_refresh",
        long = "api-jwks-refresh",
        env = "API_JWKS_REFRESH",
        value_name = "DURATION",
        default_value = "10m",
        value_parser = duration
    )]
    pub jwks_refresh: Duration,

    /// They are also fetched when a token names a key that is not known, but not again within this time
    #[arg(
        id = "api_jwks_pause",
        long = "api-jwks-pause",
        env = "API_JWKS_PAUSE",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration
    )]
    pub jwks_pause: Duration,

    /// Requests of the browsers of one account served at once; more are refused with RESOURCE_EXHAUSTED. All browsers
    /// together may have as many as one client
    #[arg(
        id = "api_max_in_flight_per_account",
        long = "api-max-in-flight-per-account",
        env = "API_MAX_IN_FLIGHT_PER_ACCOUNT",
        value_name = "N",
        default_value = "16",
        value_parser = count
    )]
    pub max_in_flight_per_account: usize,

    /// Open streams of the browsers of one account; more are refused with RESOURCE_EXHAUSTED. All browsers together may
    /// have as many as one client
    #[arg(
        id = "api_max_streams_per_account",
        long = "api-max-streams-per-account",
        env = "API_MAX_STREAMS_PER_ACCOUNT",
        value_name = "N",
        default_value = "8",
        value_parser = count
    )]
    pub max_streams_per_account: usize,
}
