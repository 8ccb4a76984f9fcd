//! `billing declines`: what refusals mean, seen and changed while the system runs.

use std::io::Write as _;

use billing::db::Conn;
use billing::decline::{CustomerAction, DeclineGroup, Rule};
use billing::store::declines::{self, Author, Change, ChangeError};
use billing::text::Text;
use clap::{Args, Subcommand};

use crate::exit::{self, Exit};

#[derive(Args, Debug)]
pub struct DeclinesConfig {
    #[command(subcommand)]
    pub verb: DeclinesVerb,
    #[command(flatten)]
    pub services: billing::ServicesConfig,
}

#[derive(Subcommand, Debug)]
pub enum DeclinesVerb {
    /// Shows the schedule of each group and the rule of each code
    List,
    /// Shows the last changes, the latest first
    History {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
    },
    /// Changes the rule of a code; what is not said stays
    Set(SetRule),
    /// Changes when refusals of a group are tried again
    Schedule {
        /// hard, soft, technical, conditional, customer_action or configuration
        #[arg(value_parser = group)]
        group: DeclineGroup,
        /// Hours after the first refusal, as in 29,72,120,164; never: no tries
        #[arg(value_parser = hours)]
        hours: Hours,
        #[command(flatten)]
        author: AuthorArgs,
    },
    /// Takes a change back
    Revert {
        /// The number that the change was given
        version: i64,
        #[command(flatten)]
        author: AuthorArgs,
    },
}

#[derive(Args, Debug)]
pub struct SetRule {
    /// The gateway's reason code, for example 5051
    pub code: i32,
    /// hard, soft, technical, conditional, customer_action or configuration
    #[arg(long, value_parser = group)]
    pub group: Option<DeclineGroup>,
    /// At most so many of the tries of the group's schedule
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max_retries: Option<i32>,
    /// What the customer can do: wait, top_up, raise_limit, check_card, confirm, other_card or call_bank
    #[arg(long, value_parser = action)]
    pub action: Option<CustomerAction>,
    /// What the customer is told, in English
    #[arg(long, value_name = "TEXT")]
    pub en: Option<String>,
    /// What the customer is told, in Russian
    #[arg(long, value_name = "TEXT")]
    pub ru: Option<String>,
    #[command(flatten)]
    pub author: AuthorArgs,
}

/// Stands beside every change, for ever.
#[derive(Args, Debug)]
pub struct AuthorArgs {
    /// Why; it is kept with the change
    #[arg(long)]
    pub reason: String,
    /// Who changes it
    #[arg(long, env = "USER", value_name = "NAME")]
    pub by: String,
}

/// A schedule as it is written on the command line.
#[derive(Clone, Debug)]
pub struct Hours(Vec<i32>);

fn hours(text: &str) -> Result<Hours, String> {
    if text == "never" {
        return Ok(Hours(Vec::new()));
    }
    let read: Result<_, _> = text.split(',').map(|hours| hours.trim().parse()).collect();
    read.map(Hours).map_err(|_| "expected hours, as in 29,72,120,164, or never".to_owned())
}

fn group(text: &str) -> Result<DeclineGroup, String> {
    text.parse().map_err(|_| expected(DeclineGroup::ALL))
}

fn action(text: &str) -> Result<CustomerAction, String> {
    text.parse().map_err(|_| expected(CustomerAction::ALL))
}

fn expected(all: &[impl ToString]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    format!("expected one of {}", all.join(", "))
}

pub(crate) async fn run(config: DeclinesConfig) -> Result<u8, Exit> {
    let db = config.services.connect_database().await.map_err(crate::roles::services_error)?;
    let mut conn = db.conn().await?;
    let author = |AuthorArgs { reason, by }| Author { actor: by, reason, now: db.now() };
    let version = match config.verb {
        DeclinesVerb::List => return list(&mut conn).await,
        DeclinesVerb::History { limit } => return history(&mut conn, limit).await,
        DeclinesVerb::Set(set) => {
            let rule = changed(declines::ruling(&mut conn, set.code).await?.rule, &set);
            declines::set_rule(&mut conn, &rule, &author(set.author)).await
        }
        DeclinesVerb::Schedule { group, hours, author: args } => {
            declines::set_schedule(&mut conn, group, &hours.0, &author(args)).await
        }
        DeclinesVerb::Revert { version, author: args } => declines::revert(&mut conn, version, &author(args)).await,
    }
    .map_err(refused)?;
    writeln!(std::io::stdout(), "version {version}; it holds from the next refusal on")?;
    Ok(exit::OK)
}

fn changed(rule: Rule, set: &SetRule) -> Rule {
    let message = Text::new(set.en.clone().unwrap_or(rule.message.en), set.ru.clone().unwrap_or(rule.message.ru));
    Rule {
        group: set.group.unwrap_or(rule.group),
        max_retries: set.max_retries.unwrap_or(rule.max_retries),
        action: set.action.unwrap_or(rule.action),
        message,
        ..rule
    }
}

fn refused(error: ChangeError) -> Exit {
    match error {
        ChangeError::Rule(_) | ChangeError::Schedule(_) | ChangeError::Actor | ChangeError::Reason => {
            Exit::configuration(error)
        }
        ChangeError::NoChange | ChangeError::UnknownVersion(_) | ChangeError::ChangedSince { .. } => {
            Exit { status: exit::FAILED, error: error.into() }
        }
        ChangeError::Store(error) => error.into(),
    }
}

async fn list(conn: &mut Conn) -> Result<u8, Exit> {
    let (rules, schedules) = declines::all(conn).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "tried again, in hours after the first refusal:")?;
    for (group, schedule) in schedules {
        let hours: Vec<String> = schedule.hours().iter().map(ToString::to_string).collect();
        let hours = if hours.is_empty() { "never".to_owned() } else { hours.join(",") };
        writeln!(out, "  {:<16} {hours}", group.as_str())?;
    }
    writeln!(out, "code  group            retries  customer     message")?;
    for Rule { code, group, max_retries, action, message } in rules {
        let (group, action) = (group.as_str(), action.as_str());
        writeln!(out, "{code:<5} {group:<16} {max_retries:<8} {action:<12} {} | {}", message.en, message.ru)?;
    }
    Ok(exit::OK)
}

async fn history(conn: &mut Conn, limit: i64) -> Result<u8, Exit> {
    let mut out = std::io::stdout().lock();
    let none = || "nothing".to_owned();
    for Change { version, at, actor, reason, subject, before, after } in declines::changes(conn, limit).await? {
        let at = at.format("%Y-%m-%d %H:%M:%SZ");
        let (before, after) =
            (before.map_or_else(none, |json| json.to_string()), after.map_or_else(none, |json| json.to_string()));
        writeln!(out, "{version} {at} {actor} {subject}: {reason}\n  from {before}\n  to   {after}")?;
    }
    Ok(exit::OK)
}
