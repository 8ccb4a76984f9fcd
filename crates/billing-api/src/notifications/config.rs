//! Settings of the port for notifications.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use billing::payment::identity::Terminal;
use clap::Args;
use secrecy::SecretString;

use super::networks::Network;
use crate::values::{count, duration};

/// Where notifications of the gateway come in, and from whom.
#[derive(Args, Clone, Debug)]
#[group(id = "notifications")]
pub struct NotificationsConfig {
    /// Address to take the gateway's notifications at, by HTTP: POST or GET /notifications/KIND, KIND being check, pay, fail,
    /// confirm, refund, recurrent, cancel or receipt. Without it none are taken, and a payment is known by its response alone
    #[arg(
        id = "notifications_listen",
        long = "notifications-listen",
        env = "NOTIFICATIONS_LISTEN",
        value_name = "ADDRESS:PORT"
    )]
    pub listen: Option<SocketAddr>,

    /// The API Secret of our terminal, by which notifications are signed; two, separated by a comma, while it is changed
    #[arg(
        id = "notifications_api_secrets",
        long = "notifications-api-secrets",
        env = "NOTIFICATIONS_API_SECRETS",
        value_name = "SECRET[,SECRET]",
        hide_env_values = true
    )]
    pub api_secrets: Option<SecretString>,

    /// Whether our terminal takes real money, as the workers' CLOUDPAYMENTS_TERMINAL: live or test. What was paid in the
    /// other mode gives no access and waits for a person [default: live]
    #[arg(
        id = "notifications_terminal",
        long = "notifications-terminal",
        env = "NOTIFICATIONS_TERMINAL",
        value_name = "live|test"
    )]
    pub terminal: Option<Terminal>,

    /// Certificate chain of this port (PEM): TLS only
    #[arg(
        id = "notifications_tls_cert",
        long = "notifications-tls-cert",
        env = "NOTIFICATIONS_TLS_CERT",
        value_name = "FILE"
    )]
    pub tls_cert: Option<PathBuf>,

    /// Private key of its certificate (PEM)
    #[arg(
        id = "notifications_tls_key",
        long = "notifications-tls-key",
        env = "NOTIFICATIONS_TLS_KEY",
        value_name = "FILE"
    )]
    pub tls_key: Option<PathBuf>,

    /// Networks that notifications may come from, separated by commas, as 185.98.81.0/28; from anywhere by default. The gateway's
    /// are in docs/notifications.md
    #[arg(
        id = "notifications_from",
        long = "notifications-from",
        env = "NOTIFICATIONS_FROM",
        value_delimiter = ',',
        value_name = "NETWORKS"
    )]
    pub from: Vec<Network>,

    /// Networks of our own proxies: of what comes from these the last address in X-Forwarded-For that is not theirs counts
    #[arg(
        id = "notifications_proxies",
        long = "notifications-proxies",
        env = "NOTIFICATIONS_PROXIES",
        value_delimiter = ',',
        value_name = "NETWORKS"
    )]
    pub proxies: Vec<Network>,

    /// Notifications at once; more are told to come again. Checks are counted apart, as many of them
    #[arg(
        id = "notifications_max_in_flight",
        long = "notifications-max-in-flight",
        env = "NOTIFICATIONS_MAX_IN_FLIGHT",
        default_value = "256",
        value_parser = count,
        value_name = "N"
    )]
    pub max_in_flight: usize,

    /// Longest time a notification may take; the gateway waits for 30 seconds
    #[arg(
        id = "notifications_timeout",
        long = "notifications-timeout",
        env = "NOTIFICATIONS_TIMEOUT",
        default_value = "20s",
        value_parser = duration,
        value_name = "DURATION"
    )]
    pub timeout: Duration,

    /// Longest time a check may take; a payment whose check is not replied to is declined by the gateway
    #[arg(
        id = "notifications_check_timeout",
        long = "notifications-check-timeout",
        env = "NOTIFICATIONS_CHECK_TIMEOUT",
        default_value = "5s",
        value_parser = duration,
        value_name = "DURATION"
    )]
    pub check_timeout: Duration,

    /// Connections to PostgreSQL for checks alone, beside those of DATABASE_POOL_SIZE: a check waits behind nothing else
    #[arg(
        id = "notifications_check_connections",
        long = "notifications-check-connections",
        env = "NOTIFICATIONS_CHECK_CONNECTIONS",
        default_value = "2",
        value_parser = count,
        value_name = "N"
    )]
    pub check_connections: usize,
}
