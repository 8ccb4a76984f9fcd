//! `billing token`: what the browser of an account shows, where there is no auth service.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use billing_api::LocalKey;
use clap::Args;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::exit::{self, Exit};
use crate::standalone::browser_key;

#[derive(Args, Debug)]
pub struct TokenConfig {
    /// The account whose browser it is
    #[arg(long, env = "TOKEN_ACCOUNT", value_name = "UUID")]
    pub account: Uuid,
    /// How long it is good, at most a day
    #[arg(long, env = "TOKEN_LIFE", default_value = "1h", value_parser = token_life, value_name = "DURATION")]
    pub life: Duration,
    /// Where `billing standalone` keeps everything
    #[arg(long, env = "BILLING_DATA_DIR", default_value = ".data", value_name = "DIRECTORY")]
    pub data_dir: PathBuf,
}

fn token_life(text: &str) -> Result<Duration, String> {
    let life = billing::duration::parse(text).map_err(|error| error.to_string())?;
    let is_sensible = (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&life);
    if is_sensible { Ok(life) } else { Err("must be from 1s to 24h".to_owned()) }
}

/// Prints a token for the browser of an account.
pub(crate) fn run(config: &TokenConfig) -> Result<u8, Exit> {
    let file = browser_key(&config.data_dir);
    let made = LocalKey::open(&file).and_then(|key| key.token(config.account.into(), config.life));
    let token = made.map_err(|error| {
        let shown = file.display();
        Exit::configuration(anyhow::anyhow!("BILLING_DATA_DIR: {shown}: {error}; billing standalone makes the key"))
    })?;
    writeln!(std::io::stdout(), "{}", token.expose_secret())?;
    Ok(exit::OK)
}
