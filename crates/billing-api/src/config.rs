//! Settings of the API. Each is an option and an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use crate::browser::BrowserConfig;
use crate::notifications::NotificationsConfig;
use crate::values::{count, duration};

/// Tokens that open everything on a developer's machine.
pub const LOCAL_TOKENS: &str = "frontend:frontend-dev:payments+tariffs+subscriptions,auth:auth-dev:accounts+access,mailer:mailer-dev:events,\
     panel:panel-dev:staff";

/// Where and for whom the API answers.
#[derive(Args, Clone, Debug)]
#[group(id = "api")]
pub struct Config {
    /// Address to answer gRPC and grpc-web at
    #[arg(
        id = "api_listen",
        long = "api-listen",
        env = "API_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:50051",
        hide_env_values = true
    )]
    pub listen: SocketAddr,

    /// Clients, separated by commas: name:token:scope+scope, with :YYYY-MM-DD behind it a token is good through that day.
    /// Scopes: tariffs, payments, accounts, access, events, subscriptions. Give a name two entries to replace its token
    #[arg(
        id = "api_tokens",
        long = "api-tokens",
        env = "API_TOKENS",
        value_name = "CLIENTS",
        default_value = LOCAL_TOKENS,
        hide_env_values = true
    )]
    pub tokens: SecretString,

    /// Certificate chain of the server (PEM): answers TLS only
    #[arg(id = "api_tls_cert", long = "api-tls-cert", env = "API_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the server's certificate (PEM)
    #[arg(id = "api_tls_key", long = "api-tls-key", env = "API_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Certificate authorities (PEM) that clients' certificates must be signed by: mutual TLS
    #[arg(id = "api_tls_client_ca", long = "api-tls-client-ca", env = "API_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Origins of web pages, separated by commas, that may call by grpc-web from a browser, as `https://cinema.example`; with
    /// tokens by API_JWKS
    #[arg(
        id = "api_web_origins",
        long = "api-web-origins",
        env = "API_WEB_ORIGINS",
        value_name = "ORIGINS",
        value_delimiter = ','
    )]
    pub web_origins: Vec<String>,

    /// Longest time a request may take when its caller sets no shorter deadline
    #[arg(
        id = "api_request_timeout",
        long = "api-request-timeout",
        env = "API_REQUEST_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = duration
    )]
    pub request_timeout: Duration,

    /// Longest time the message of a request may take to arrive
    #[arg(
        id = "api_message_timeout",
        long = "api-message-timeout",
        env = "API_MESSAGE_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration
    )]
    pub message_timeout: Duration,

    /// Requests served at once; more are refused with RESOURCE_EXHAUSTED
    #[arg(
        id = "api_max_in_flight",
        long = "api-max-in-flight",
        env = "API_MAX_IN_FLIGHT",
        value_name = "N",
        default_value = "1024",
        value_parser = count
    )]
    pub max_in_flight: usize,

    /// Requests of one client served at once; more are refused with RESOURCE_EXHAUSTED [default: half of
    /// API_MAX_IN_FLIGHT]
    #[arg(
        id = "api_max_in_flight_per_client",
        long = "api-max-in-flight-per-client",
        env = "API_MAX_IN_FLIGHT_PER_CLIENT",
        value_name = "N",
        value_parser = count
    )]
    pub max_in_flight_per_client: Option<usize>,

    /// Open streams of one client; more are refused with RESOURCE_EXHAUSTED
    #[arg(
        id = "api_max_streams",
        long = "api-max-streams",
        env = "API_MAX_STREAMS",
        value_name = "N",
        default_value = "1000",
        value_parser = count
    )]
    pub max_streams: usize,

    /// Longest time a connection may take to its first request, with its TLS handshake
    #[arg(
        id = "api_handshake_timeout",
        long = "api-handshake-timeout",
        env = "API_HANDSHAKE_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration
    )]
    pub handshake_timeout: Duration,

    /// How long a connection is kept on which nothing is asked; an open stream keeps its connection
    #[arg(
        id = "api_idle_timeout",
        long = "api-idle-timeout",
        env = "API_IDLE_TIMEOUT",
        value_name = "DURATION",
        default_value = "5m",
        value_parser = duration
    )]
    pub idle_timeout: Duration,

    /// Open connections; with more, the one that has been silent the longest is closed. Never more than three quarters
    /// of the file descriptors of the process (ulimit -n)
    #[arg(
        id = "api_max_connections",
        long = "api-max-connections",
        env = "API_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "4096",
        value_parser = count
    )]
    pub max_connections: usize,

    /// Open connections of one address; with more, the one that has been silent the longest is closed. Behind a load
    /// balancer all clients have its address: give it room
    #[arg(
        id = "api_max_connections_per_address",
        long = "api-max-connections-per-address",
        env = "API_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value = "256",
        value_parser = count
    )]
    pub max_connections_per_address: usize,

    /// How often an open WatchPayment stream looks at the payment although nothing woke it
    #[arg(
        id = "api_watch_reread",
        long = "api-watch-reread",
        env = "API_WATCH_REREAD",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration
    )]
    pub watch_reread: Duration,

    /// How often the log of events is looked at for open streams although nothing woke them
    #[arg(
        id = "api_events_reread",
        long = "api-events-reread",
        env = "API_EVENTS_REREAD",
        value_name = "DURATION",
        default_value = "1s",
        value_parser = duration
    )]
    pub events_reread: Duration,

    #[command(flatten)]
    pub browsers: BrowserConfig,

    #[command(flatten)]
    pub notifications: NotificationsConfig,
}

impl Config {
    /// How many requests of one client are served at once: however many it sends, others find room.
    pub(crate) fn max_in_flight_of_one_client(&self) -> usize {
        self.max_in_flight_per_client.unwrap_or((self.max_in_flight / 2).max(1))
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        api: Config,
    }

    #[test]
    fn defaults_work_on_a_developers_machine() {
        let config = Command::try_parse_from(["api"]).expect("defaults").api;
        assert!(config.listen.ip().is_loopback());
        assert!(crate::auth::Clients::parse(&config.tokens).is_ok());
        assert!(config.web_origins.is_empty());
    }

    #[test]
    fn every_option_is_also_an_environment_variable_of_its_name() {
        for option in Command::command().get_arguments().filter(|option| option.get_id() != "help") {
            let variable = option.get_id().as_str().to_uppercase();
            assert_eq!(option.get_env().and_then(|env| env.to_str()), Some(&*variable));
            assert!(option.get_help().is_some(), "{variable} has no help");
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_the_name_of_its_option() {
        for (option, value) in [
            ("--api-listen", "50051"),
            ("--api-request-timeout", "0s"),
            ("--api-request-timeout", "soon"),
            ("--api-max-in-flight", "0"),
            ("--api-max-in-flight-per-client", "0"),
            ("--api-message-timeout", "0s"),
            ("--api-handshake-timeout", "soon"),
            ("--api-idle-timeout", "0s"),
            ("--api-max-connections", "0"),
            ("--api-max-connections-per-address", "many"),
            ("--api-jwks-refresh", "0s"),
            ("--api-jwks-pause", "often"),
            ("--api-max-in-flight-per-account", "0"),
            ("--api-max-streams-per-account", "many"),
            ("--notifications-listen", "8095"),
            ("--notifications-terminal", "real"),
            ("--notifications-from", "185.98.81.0/33"),
            ("--notifications-proxies", "load-balancer"),
            ("--notifications-max-in-flight", "0"),
            ("--notifications-timeout", "0s"),
            ("--notifications-check-timeout", "soon"),
            ("--notifications-check-connections", "0"),
        ] {
            let Err(error) = Command::try_parse_from(["api", option, value]) else { panic!("{option} {value}") };
            assert!(error.to_string().contains(option), "{error}");
        }
    }
}
