//! `billing staff`: who may sign in to the admin panel.

use std::io::Write as _;

use billing::staff::{self, Role};
use billing::store::staff::{By, StaffError, all, allow_password, disable, invite, invite_again};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret as _, SecretString};

use crate::exit::{self, Exit};

#[derive(Args, Debug)]
pub struct StaffConfig {
    #[command(subcommand)]
    pub verb: StaffVerb,
    /// Who does it; it stands in the audit log
    #[arg(long, env = "USER", default_value = "somebody", value_name = "NAME", global = true)]
    pub by: String,
    /// Where people reach the panel: links that are printed begin with it
    #[arg(long, env = "ADMIN_ADDRESS", default_value = "http://127.0.0.1:8070", value_name = "URL", global = true)]
    pub address: url::Url,
    #[command(flatten)]
    pub services: billing::ServicesConfig,
}

#[derive(Subcommand, Debug)]
pub enum StaffVerb {
    /// Shows who there is
    List,
    /// Lets somebody in, and prints a link by which they choose a password, once and within three days
    Add {
        #[arg(value_parser = name)]
        name: String,
        /// support, accountant, chief_accountant, operator, auditor or administrator
        #[arg(long, value_parser = role)]
        role: Role,
        /// They may sign in with that password even where ADMIN_OIDC_ONLY is set: for when the company's sign-in is out of order
        #[arg(long)]
        with_password: bool,
    },
    /// Ends somebody's sessions, forgets their password, second factor and company account, and prints another such link
    Reset {
        #[arg(value_parser = name)]
        name: String,
        /// They may sign in with that password even where ADMIN_OIDC_ONLY is set
        #[arg(long)]
        with_password: bool,
    },
    /// Lets somebody in no more, at once
    Disable {
        #[arg(value_parser = name)]
        name: String,
    },
}

fn name(text: &str) -> Result<String, staff::BadName> {
    staff::name(text)
}

fn role(text: &str) -> Result<Role, String> {
    let known = || Role::ALL.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
    text.parse().map_err(|_| format!("no such role; there are {}", known()))
}

pub(crate) async fn run(config: StaffConfig) -> Result<u8, Exit> {
    let db = config.services.connect_database().await.map_err(crate::roles::services_error)?;
    let (mut conn, by, now) = (db.conn().await?, By::command_line(&config.by), db.now());
    let mut out = std::io::stdout();
    match config.verb {
        StaffVerb::List => {
            for one in all(&mut conn).await.map_err(anyhow::Error::from)? {
                let state = match (one.disabled_at, one.is_one_time) {
                    (Some(at), _) => format!("disabled since {}", at.format("%Y-%m-%d %H:%M UTC")),
                    (None, true) => "has not come in yet".to_owned(),
                    (None, false) => String::new(),
                };
                writeln!(out, "{}\t{}\t{state}", one.name, one.role)?;
            }
        }
        StaffVerb::Add { name, role, with_password } => {
            let token = invite(&mut conn, &name, role, &by, now).await.map_err(staff_error)?;
            if with_password {
                allow_password(&mut conn, &name, &by, now).await.map_err(staff_error)?;
            }
            writeln!(out, "{}", link(&config.address, &token).expose_secret())?;
        }
        StaffVerb::Reset { name, with_password } => {
            let token = invite_again(&mut conn, &name, &by, now).await.map_err(staff_error)?;
            if with_password {
                allow_password(&mut conn, &name, &by, now).await.map_err(staff_error)?;
            }
            writeln!(out, "{}", link(&config.address, &token).expose_secret())?;
        }
        StaffVerb::Disable { name } => disable(&mut conn, &name, &by, now).await.map_err(staff_error)?,
    }
    Ok(exit::OK)
}

fn link(address: &url::Url, token: &SecretString) -> SecretString {
    format!("{}/invite/{}", address.as_str().trim_end_matches('/'), token.expose_secret()).into()
}

fn staff_error(error: StaffError) -> Exit {
    match error {
        StaffError::Store(_) => anyhow::Error::from(error).into(),
        StaffError::Known(_) | StaffError::Unknown(_) | StaffError::LastAdministrator(_) => {
            Exit { status: exit::FAILED, error: error.into() }
        }
    }
}
