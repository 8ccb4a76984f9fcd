//! `billing demo`: plays customers against a running system and compares what they saw with the gateway's own ledger.

mod browser;
mod customer;
pub(crate) mod month;
mod narrator;
mod sandbox;
mod scenes;
mod trial;
mod verbs;

use std::time::Duration;

use anyhow::Context as _;
use billing::db::Db;
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::environment;
use crate::exit;

use customer::{Cinema, Tokens};
use narrator::Narrator;
use sandbox::Sandbox;
use scenes::{Expectation, Stage};

#[derive(Args, Clone, Debug)]
pub struct DemoConfig {
    /// The gRPC API to play against
    #[arg(long, env = "DEMO_API_URL", default_value = "http://127.0.0.1:50051", value_parser = http_url)]
    pub demo_api_url: Url,

    /// The gateway's sandbox that the workers charge at
    #[arg(long, env = "DEMO_SANDBOX_URL", default_value = "http://127.0.0.1:8090", value_parser = http_url)]
    pub demo_sandbox_url: Url,

    /// The frontend's token
    #[arg(long, env = "DEMO_FRONTEND_TOKEN", default_value = "frontend-dev", hide_env_values = true, value_parser = token)]
    pub demo_frontend_token: SecretString,

    /// The auth service's token
    #[arg(long, env = "DEMO_AUTH_TOKEN", default_value = "auth-dev", hide_env_values = true, value_parser = token)]
    pub demo_auth_token: SecretString,

    /// The token of the staff's panel
    #[arg(long, env = "DEMO_PANEL_TOKEN", default_value = "panel-dev", hide_env_values = true, value_parser = token)]
    pub demo_panel_token: SecretString,

    /// The system's database, to move the end of a paid time as support does; without it no renewal is shown
    #[arg(long = "demo-database-url", env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub demo_database_url: Option<SecretString>,

    /// A connection that is there already.
    #[arg(skip)]
    pub(crate) database: Option<Db>,

    /// How long one step may take before the demo gives up on it, in seconds
    #[arg(long, env = "DEMO_PATIENCE", default_value = "60", value_name = "SECONDS")]
    pub demo_patience: u64,
}

fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err("must begin with http:// or https://".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn token(text: &str) -> Result<SecretString, String> {
    let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible { Ok(text.into()) } else { Err("must be visible ASCII characters".to_owned()) }
}

impl DemoConfig {
    /// What works against a system with default settings.
    pub fn local() -> Self {
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            demo: DemoConfig,
        }
        let command = environment::read(<Defaults as clap::CommandFactory>::command());
        let matches = command.get_matches_from(["demo"]);
        <Defaults as clap::FromArgMatches>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).demo
    }
}

/// The exit status that stands for how the demo went; an error that kept it from being played is told here.
pub(crate) fn status(played: anyhow::Result<bool>) -> u8 {
    match played {
        Ok(true) => exit::OK,
        Ok(false) => exit::FAILED,
        Err(error) => {
            tracing::error!("the demo could not be played: {}", exit::told(&error));
            exit::FAILED
        }
    }
}

/// Plays all scenes. `false`: something was not as it should be, and the narrator said what.
pub(crate) async fn run(config: DemoConfig) -> anyhow::Result<bool> {
    let mut narrator = Narrator::default();
    narrator.title(format_args!("Playing customers against {}", config.demo_api_url));
    let stage = set(config).await?;
    let expectations = play(&stage, &mut narrator).await;
    audit(&stage, &expectations, &mut narrator).await?;
    Ok(conclude(&narrator))
}

async fn set(config: DemoConfig) -> anyhow::Result<Stage> {
    let patience = Duration::from_secs(config.demo_patience);
    let http = reqwest::Client::builder().timeout(patience).build()?;
    let tokens =
        Tokens { frontend: config.demo_frontend_token, auth: config.demo_auth_token, panel: config.demo_panel_token };
    let cinema = Cinema::connect(config.demo_api_url.as_str(), tokens, patience).await?;
    let database = match (config.database, config.demo_database_url) {
        (Some(database), _) => Some(database),
        (None, Some(url)) => Some(Db::connect(url.expose_secret(), 1).await.context("DATABASE_URL")?),
        (None, None) => None,
    };
    let tariffs = cinema.tariffs().await.context("cannot list the tariffs")?;
    let sandbox = Sandbox::new(http.clone(), config.demo_sandbox_url);
    Ok(Stage { cinema, sandbox, http, database, patience, tariffs })
}

async fn play(stage: &Stage, narrator: &mut Narrator) -> Vec<Expectation> {
    let mut expectations = Vec::new();
    /// A scene that fails is told, and the next one is played all the same.
    macro_rules! scene {
        ($title:literal, $scene:expr) => {{
            narrator.scene($title);
            match $scene.await {
                Ok(expectation) => expectations.push(expectation),
                Err(error) => narrator.failed(exit::told(&error)),
            }
        }};
    }
    scene!("A card without 3-D Secure", stage.card_without_three_ds(narrator));
    scene!("A card with 3-D Secure", stage.card_with_three_ds(narrator));
    scene!("A card without funds", stage.card_without_funds(narrator));
    scene!("The same request twice, at the same time", stage.same_key_twice(narrator));
    scene!("A dearer tariff, at once", stage.changes_tariff(narrator));
    scene!("A trial", stage.trial(narrator));
    scene!("The card is replaced", stage.another_card(narrator));
    match &stage.database {
        Some(database) => scene!("A subscription renews itself", stage.renewal(database, narrator)),
        None => narrator.scene("A subscription renews itself (left out: it needs DATABASE_URL)"),
    }
    scene!("A subscriber cancels, and resumes", stage.changes_of_mind(narrator));
    scene!("Money goes back", stage.money_back(narrator));
    scene!("A card is forgotten", stage.card_forgotten(narrator));
    scene!("An account is closed", stage.account_closed(narrator));
    scene!("The gateway answers late", stage.lost_answer("delay", 1_500, narrator));
    scene!("The gateway charges and drops the connection", stage.lost_answer("drop_after", 0, narrator));
    expectations
}

async fn audit(stage: &Stage, expectations: &[Expectation], narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.scene("The gateway's own ledger");
    for Expectation { who, account_id, charges } in expectations {
        match stage.sandbox.successes(account_id).await? {
            seen if seen == *charges => narrator.step(format_args!("the customer who {who}: charged {seen}×")),
            seen => narrator.failed(format_args!("the customer who {who}: charged {seen}×, not {charges}×")),
        }
    }
    Ok(())
}

fn conclude(narrator: &Narrator) -> bool {
    match narrator.failures() {
        [] => narrator.title("All is as told: every payment ended, and nobody was charged twice.\n"),
        failures => {
            narrator.title(format_args!("{} things were not as told:", failures.len()));
            failures.iter().for_each(|failure| narrator.line(failure));
        }
    }
    narrator.failures().is_empty()
}
