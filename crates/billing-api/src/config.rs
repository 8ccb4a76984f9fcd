//! Settings of the API. Each is an option and an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

/// Tokens that open everything on a developer's machine.
pub const LOCAL_TOKENS: &str =
    "frontend:frontend-dev:payments+tariffs,auth:auth-dev:accounts+access,mailer:mailer-dev:events";

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
    /// Scopes: tariffs, payments, accounts, access, events. Give a name two entries to replace its token
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

    /// Origins of web pages, separated by commas, that may call by grpc-web from a browser, as `https://cinema.example`
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

    /// Requests served at once; more are refused with RESOURCE_EXHAUSTED
    #[arg(
        id = "api_max_in_flight",
        long = "api-max-in-flight",
        env = "API_MAX_IN_FLIGHT",
        value_name = "N",
        default_value = "512",
        value_parser = count
    )]
    pub max_in_flight: usize,

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
}

fn duration(text: &str) -> Result<Duration, String> {
    match billing::duration::parse(text) {
        Ok(Duration::ZERO) => Err("must not be zero".into()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1_000_000).contains(&n) => Ok(n),
        _ => Err("expected a number from 1 to 1000000".into()),
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
        ] {
            let Err(error) = Command::try_parse_from(["api", option, value]) else { panic!("{option} {value}") };
            assert!(error.to_string().contains(option), "{error}");
        }
    }
}
