//! `inspect`: asks workers what they do (`celery/bin/control.py`).

use celeriac::protocol::Json;
use clap::Args;

use super::commands::{self, Kind};
use super::failure::Failure;
use super::options::{GlobalOptions, RemoteOptions};
use super::{python, remote};

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// What to ask; see --list
    #[arg(required_unless_present = "list")]
    command: Option<String>,

    /// The command's own arguments
    #[arg(value_name = "ARGS")]
    arguments: Vec<String>,

    /// List available inspect commands and exit
    #[arg(long)]
    list: bool,

    #[command(flatten)]
    remote: RemoteOptions,
    #[command(flatten)]
    global: GlobalOptions,
}

pub(super) async fn run(args: InspectArgs) -> Result<(), Failure> {
    let out = args.global.output();
    let Some(name) = args.command.filter(|_| !args.list) else {
        return Ok(out.raw(&commands::listing(Kind::Inspect))?);
    };
    let command = commands::compile(Kind::Inspect, &name, &args.arguments)?;
    let json = args.remote.json;
    let on_reply = |node: &str, reply: &Json| if json { Ok(()) } else { out.reply(node, reply, true) };
    let verb = format!("inspect {name}");
    let asked = remote::ask(&verb, command, &args.global, &args.remote, on_reply);
    let nodes = remote::by_node(asked.await?);
    if json {
        out.line(&python::dumps(&Json::Object(nodes)))?;
    } else if !out.quiet {
        out.online(nodes.len())?;
    }
    Ok(())
}
