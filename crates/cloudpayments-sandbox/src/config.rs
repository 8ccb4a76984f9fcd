//! Settings. Every option is also an environment variable.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use secrecy::SecretString;

use crate::ledger::payout::Fee;

const LISTEN: &str = "127.0.0.1:8090";
const PUBLIC_ID: &str = "pk_sandbox";
const API_SECRET: &str = "sk_sandbox";
const MAX_CONCURRENT: usize = 5;
const MAX_TRANSACTIONS: usize = 1_000_000;

/// How the sandbox runs. The defaults work locally; [`Config::for_tests`] takes a free port.
#[derive(Args, Clone, Debug)]
#[group(id = "sandbox")]
pub struct Config {
    /// Address the gateway's API, its 3-D Secure page and the sandbox's own page listen on
    #[arg(id = "sandbox_listen", value_name = "ADDRESS", long = "sandbox-listen", env = "SANDBOX_LISTEN", default_value = LISTEN)]
    pub listen: SocketAddr,

    /// Where browsers reach the sandbox, if not at the address it listens on; begins AcsUrl
    #[arg(id = "sandbox_public_url", value_name = "URL", long = "sandbox-public-url", env = "SANDBOX_PUBLIC_URL", value_parser = parse_url)]
    pub public_url: Option<url::Url>,

    /// Public ID of the terminal: the user name of the gateway's API
    #[arg(
        id = "sandbox_public_id",
        value_name = "ID",
        long = "sandbox-public-id",
        env = "CLOUDPAYMENTS_PUBLIC_ID",
        default_value = PUBLIC_ID
    )]
    pub public_id: String,

    /// API Secret of the terminal: the password of the gateway's API
    #[arg(
        id = "sandbox_api_secret",
        value_name = "SECRET",
        long = "sandbox-api-secret",
        env = "CLOUDPAYMENTS_API_SECRET",
        default_value = API_SECRET,
        hide_env_values = true
    )]
    pub api_secret: SecretString,

    /// Requests the gateway handles at a time; it answers 429 to more (5 on real test terminals, 30 on live ones)
    #[arg(
        id = "sandbox_max_concurrent",
        value_name = "COUNT",
        long = "sandbox-max-concurrent",
        env = "SANDBOX_MAX_CONCURRENT",
        default_value_t = MAX_CONCURRENT,
        value_parser = at_least_one
    )]
    pub max_concurrent: usize,

    /// How long the gateway thinks about every request before it does anything: 200ms, 3s
    #[arg(
        id = "sandbox_latency",
        value_name = "DURATION",
        long = "sandbox-latency",
        env = "SANDBOX_LATENCY",
        default_value = "0ms",
        value_parser = parse_duration
    )]
    pub latency: Duration,

    /// File that keeps the ledger over restarts; without one it is in memory only
    #[arg(id = "sandbox_ledger_file", value_name = "PATH", long = "sandbox-ledger-file", env = "SANDBOX_LEDGER_FILE")]
    pub ledger_file: Option<PathBuf>,

    /// Transactions kept in memory; beyond that the oldest are forgotten
    #[arg(
        id = "sandbox_max_transactions",
        value_name = "COUNT",
        long = "sandbox-max-transactions",
        env = "SANDBOX_MAX_TRANSACTIONS",
        default_value_t = MAX_TRANSACTIONS,
        value_parser = at_least_one
    )]
    pub max_transactions: usize,

    /// Base address of the shop's listener for notifications: they are posted to /check, /pay, /fail, /confirm, /refund,
    /// /recurrent, /cancel and /receipt under it. Without one nothing is sent until an address is set by the API
    #[arg(
        id = "sandbox_notifications_url",
        value_name = "URL",
        long = "sandbox-notifications-url",
        env = "SANDBOX_NOTIFICATIONS_URL",
        value_parser = parse_url
    )]
    pub notifications_url: Option<url::Url>,

    /// How long the shop may take to reply to a notification: 30s, 500ms. Not scaled by the clock
    #[arg(
        id = "sandbox_notification_timeout",
        value_name = "DURATION",
        long = "sandbox-notification-timeout",
        env = "SANDBOX_NOTIFICATION_TIMEOUT",
        default_value = "30s",
        value_parser = parse_duration
    )]
    pub notification_timeout: Duration,

    /// Seconds that pass for the gateway in one second of the world: 60 makes a minute between two tries of a
    /// notification a second
    #[arg(
        id = "sandbox_clock_speed",
        value_name = "FACTOR",
        long = "sandbox-clock-speed",
        env = "SANDBOX_CLOCK_SPEED",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub clock_speed: u32,

    /// Refuse token charges without TrInitiatorCode (and PaymentScheduled), which the gateway requires since 2023 and
    /// old clients do not send
    #[arg(
        id = "sandbox_strict",
        long = "sandbox-strict",
        env = "SANDBOX_STRICT",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub strict: bool,

    /// Percent of each payment that the gateway keeps: 2.8. The rest is transferred to the shop's bank at midnight in Moscow,
    /// and lists show when and how much. Without it nothing is transferred, as on a test terminal
    #[arg(
        id = "sandbox_fee",
        value_name = "PERCENT",
        long = "sandbox-fee",
        env = "SANDBOX_FEE",
        value_parser = Fee::parse
    )]
    pub fee: Option<Fee>,

    /// A terminal of two stages: a charge only holds the money, until it is confirmed or, after seven days, let go
    #[arg(
        id = "sandbox_two_stage",
        long = "sandbox-two-stage",
        env = "SANDBOX_TWO_STAGE",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub two_stage: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            public_url: None,
            public_id: PUBLIC_ID.to_owned(),
            api_secret: API_SECRET.into(),
            max_concurrent: MAX_CONCURRENT,
            latency: Duration::ZERO,
            ledger_file: None,
            max_transactions: MAX_TRANSACTIONS,
            notifications_url: None,
            notification_timeout: Duration::from_secs(30),
            clock_speed: 1,
            strict: false,
            fee: None,
            two_stage: false,
        }
    }
}

impl Config {
    /// The defaults on a free port.
    pub fn for_tests() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Self::default() }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("must be a whole number".to_owned()),
    }
}

fn parse_url(text: &str) -> Result<url::Url, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) => Err("must begin with http:// or https://".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// `500ms`, `15s`, `6m`, `1h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number =
        text[..text.len() - unit.len()].parse::<u32>().map_err(|_| "must be like 500ms, 15s or 6m".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_secs(60 * u64::from(number))),
        "h" => Ok(Duration::from_secs(3600 * u64::from(number))),
        _ => Err("must be like 500ms, 15s or 6m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};
    use secrecy::ExposeSecret as _;

    use super::*;

    /// Parses like the command line does, blind to the environment of the test.
    fn parse(arguments: &[&str]) -> Result<Config, clap::Error> {
        let command = Config::augment_args(Command::new("sandbox").no_binary_name(true));
        let command = command.mut_args(|arg| arg.env(None::<&str>));
        Config::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    #[test]
    fn the_default_configuration_is_that_of_an_empty_command_line() {
        let parsed = parse(&[]).unwrap();
        let default = Config::default();
        assert_eq!(format!("{parsed:?}"), format!("{default:?}"));
        assert_eq!(parsed.api_secret.expose_secret(), default.api_secret.expose_secret());
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, duration) in [
            ("0ms", Duration::ZERO),
            ("250ms", Duration::from_millis(250)),
            ("15s", Duration::from_secs(15)),
            ("6m", Duration::from_secs(360)),
            ("1h", Duration::from_secs(3600)),
        ] {
            assert_eq!(parse_duration(text), Ok(duration));
        }
        for bad in ["", "5", "s", "-1s", "1.5s", "1d", "99999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        for arguments in [
            ["--sandbox-listen", "somewhere"],
            ["--sandbox-max-concurrent", "0"],
            ["--sandbox-public-url", "ftp://x"],
            ["--sandbox-latency", "soon"],
            ["--sandbox-notifications-url", "shop"],
            ["--sandbox-clock-speed", "0"],
            ["--sandbox-fee", "101"],
        ] {
            let error = parse(&arguments).unwrap_err().to_string();
            assert!(error.contains(arguments[0]), "{error}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let config = Config { api_secret: "very-secret".into(), ..Config::default() };
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
