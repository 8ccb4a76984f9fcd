//! What can be said on the command line. Every option is also an environment variable with a default that works locally.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, Command as Clap, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::celery::{self, CeleryCommand};
use crate::declines::DeclinesConfig;
use crate::demo::DemoConfig;
use crate::environment;
use crate::exit;
use crate::health::HealthConfig;
use crate::keys::KeysConfig;
use crate::ledger::LedgerConfig;
use crate::receipts::ReceiptsConfig;
use crate::reconcile::ReconcileConfig;
use crate::restored::RestoredConfig;
use crate::roles::{
    AdminConfig, ApiConfig, BeatConfig, CryptogramConfig, DashboardConfig, MigrateConfig, WorkerConfig,
};
use crate::staff::StaffConfig;
use crate::standalone::{self, StandaloneConfig};
use crate::tariffs::TariffsConfig;
use crate::telemetry::TelemetryConfig;
use crate::token::TokenConfig;

/// Billing of an online cinema: every role is a subcommand of this one program
///
/// Exit status: 0 done, 1 the demo or a check failed or a worker has dropped tasks that ran, 64 a setting is wrong (the message names the variable), 69 a server
/// was not reached, 70 an error of ours or the worker's watchdog, 75 a worker has run as many tasks, or takes as much memory,
/// as it may: start it again, 130 a signal came before the work was done. Celery's verbs (inspect, control, status, events,
/// call, result, purge, list, report, and in their manner parked, requeue, discard) end as Celery's: 2 the command line is
/// wrong, 69 no broker or nobody who answers, 1 anything else.
#[derive(Parser, Debug)]
#[command(name = "billing", version, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub telemetry: TelemetryConfig,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// The whole system in this process: API, worker, beat, dashboard, admin panel, gateway sandbox, and an embedded PostgreSQL
    Standalone(Box<StandaloneConfig>),
    /// The gRPC API for the frontend and the auth service
    Api(Box<ApiConfig>),
    /// Executes tasks; start as many as are needed
    Worker(Box<WorkerConfig>),
    /// Starts what the clock starts
    Beat(Box<BeatConfig>),
    /// The operators' page: workers, tasks, queues, parked messages, schedule
    Dashboard(Box<DashboardConfig>),
    /// The panel for accounting and support
    Admin(Box<AdminConfig>),
    /// The emulator of the payment gateway
    Sandbox(Box<cloudpayments_sandbox::Config>),
    /// Brings the database up to date
    Migrate(MigrateConfig),
    /// Plays customers against a running system and checks the gateway's ledger
    Demo(DemoConfig),
    /// What refusals of cards mean: when they are tried again, and what customers are told
    Declines(Box<DeclinesConfig>),
    /// The ledger: balances, deferred revenue, closed months, VAT, the export for accountants
    Ledger(Box<LedgerConfig>),
    /// Who may sign in to the panel
    Staff(Box<StaffConfig>),
    /// What tariffs cost, and from when on
    Tariffs(Box<TariffsConfig>),
    /// Fiscal receipts that are missing, and having others made
    Receipts(Box<ReceiptsConfig>),
    /// Compares the gateway's list with our payments, and shows what does not agree
    Reconcile(Box<ReconcileConfig>),
    /// After the database was restored, or a failover has lost commits: nothing is charged until it is known what the gateway has
    Restored(Box<RestoredConfig>),
    /// The keys that seal card tokens: which are in use, and sealing anew what older ones have sealed
    Keys(Box<KeysConfig>),
    /// Makes a cryptogram of a test card, as the gateway's checkout script would
    Cryptogram(CryptogramConfig),
    /// Makes a token for the browser of an account, which this machine's `billing standalone` takes
    Token(TokenConfig),
    /// Asks a role whether it is well
    Health(Box<HealthConfig>),
    #[command(flatten)]
    Celery(Box<CeleryCommand>),
}

/// Reads the command line and the environment.
///
/// # Errors
/// What clap says, with the environment variable of the option in question.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let args = celery::verb_first(args.into_iter().collect());
    let read = environment::read(command()).try_get_matches_from(&args);
    let matches = read.map_err(|error| name_variable(with_all_variables(error, &args)))?;
    from_matches(&matches).map_err(name_variable)
}

/// The exit status of a command line that cannot be read.
#[must_use]
pub fn status_of_usage(args: impl IntoIterator<Item = OsString>) -> u8 {
    let subcommand = args.into_iter().skip(1).find(|arg| arg.to_str().is_some_and(Command::has_subcommand));
    let is_celerys = subcommand.is_some_and(|name| name.to_str().is_some_and(CeleryCommand::has_subcommand));
    if is_celerys { exit::CELERY_USAGE } else { exit::CONFIGURATION }
}

/// The whole command line, with the defaults of each role.
pub fn command() -> Clap {
    environment::switches(Cli::command()).mut_subcommand("standalone", standalone::defaults)
}

fn from_matches(matches: &ArgMatches) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(matches)
}

/// What help says names also the variables that are not set.
fn with_all_variables(error: clap::Error, args: &[OsString]) -> clap::Error {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand};
    match error.kind() {
        DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand => {
            command().try_get_matches_from(args).err().unwrap_or(error)
        }
        _ => error,
    }
}

/// Clap names the option; who set it by the environment looks for the variable.
fn name_variable(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return error };
    // `--option <VALUE>`, or `--option[=<on|off>]` of a switch.
    let name = option.split([' ', '[', '=']).next().unwrap_or_default();
    let flag = name.trim_start_matches("--").to_owned();
    let command = command();
    let variable = command.get_subcommands().chain([&command]).find_map(|role| variable_of(role, &flag));
    if let Some(variable) = variable {
        let named = format!("{option} (environment variable {variable})");
        error.insert(ContextKind::InvalidArg, ContextValue::String(named));
    }
    error
}

fn variable_of(role: &Clap, flag: &str) -> Option<String> {
    let option = role.get_arguments().find(|option| option.get_long() == Some(flag))?;
    Some(option.get_env()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_ends_as_the_verb_is_expected_to() {
        for (line, status) in [
            ("billing inspect", 2),
            ("billing --log debug control --nope", 2),
            ("billing -A proj -q inspect", 2),
            ("billing worker --nope", 64),
            ("billing nope", 64),
            ("billing demo inspect", 64),
        ] {
            let args = || line.split(' ').map(OsString::from);
            assert!(parse(args()).is_err(), "{line}");
            assert_eq!(status_of_usage(args()), status, "{line}");
        }
    }

    #[test]
    fn every_option_of_a_role_is_an_environment_variable_and_is_described() {
        let not_roles = HashSet::from(["cryptogram"]);
        let is_role = |name: &str| !not_roles.contains(name) && !CeleryCommand::has_subcommand(name);
        for role in command().get_subcommands().filter(|role| is_role(role.get_name())) {
            for option in role.get_arguments().filter(|option| option.get_long().is_some_and(|long| long != "help")) {
                let name = format!("{} --{}", role.get_name(), option.get_long().unwrap_or_default());
                assert!(option.get_env().is_some(), "{name} has no environment variable");
                assert!(option.get_help().is_some(), "{name} is not described");
            }
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_its_environment_variable() {
        for (option, value, variable) in
            [("--gateway-timeout", "soon", "GATEWAY_TIMEOUT"), ("--log-format", "xml", "LOG_FORMAT")]
        {
            let args = ["billing", "worker", option, value].map(OsString::from);
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(variable), "{error}");
        }
    }
}
