//! `control`: tells workers what to do (`celery/bin/control.py`).

use celeriac::protocol::Json;
use clap::Args;

use super::commands::{self, Kind};
use super::failure::Failure;
use super::options::{GlobalOptions, RemoteOptions};
use super::{python, remote};

#[derive(Args, Debug)]
pub struct ControlArgs {
    /// What to tell; see --list
    #[arg(required_unless_present = "list")]
    command: Option<String>,

    /// The command's own arguments
    #[arg(value_name = "ARGS")]
    arguments: Vec<String>,

    /// List available control commands and exit
    #[arg(long)]
    list: bool,

    #[command(flatten)]
    remote: RemoteOptions,
    #[command(flatten)]
    global: GlobalOptions,
}

pub(super) async fn run(args: ControlArgs) -> Result<(), Failure> {
    let out = args.global.output();
    let Some(name) = args.command.filter(|_| !args.list) else {
        return Ok(out.raw(&commands::listing(Kind::Control))?);
    };
    let command = commands::compile(Kind::Control, &name, &args.arguments)?;
    let json = args.remote.json;
    let on_reply = |node: &str, reply: &Json| if json { Ok(()) } else { out.reply(node, reply, true) };
    let verb = format!("control {name}");
    let told = remote::ask(&verb, command, &args.global, &args.remote, on_reply);
    let replies = told.await?;
    if json {
        let replies = replies.into_iter().map(|reply| Json::Object(vec![reply])).collect();
        out.line(&python::dumps(&Json::List(replies)))?;
    }
    Ok(())
}
