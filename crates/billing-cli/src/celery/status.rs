//! `status`: which workers are there (`celery/bin/control.py`).

use celeriac::control::Command;
use celeriac::protocol::Json;
use clap::Args;

use super::failure::Failure;
use super::options::{GlobalOptions, RemoteOptions};
use super::{python, remote};

#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    remote: RemoteOptions,
    #[command(flatten)]
    global: GlobalOptions,
}

pub(super) async fn run(args: StatusArgs) -> Result<(), Failure> {
    let out = args.global.output();
    let json = args.remote.json;
    let on_reply = |node: &str, reply: &Json| if json { Ok(()) } else { out.reply(node, reply, false) };
    let replies = remote::ask("status", Command::ping(), &args.global, &args.remote, on_reply).await?;
    let nodes = remote::by_node(replies);
    let count = nodes.len();
    if json {
        out.line(&python::dumps(&Json::Object(nodes)))?;
    }
    // Celery's own counts here even when told to be quiet or to write JSON; scripts have learned to live with it.
    Ok(out.online(count)?)
}
