//! Sends a command to workers and takes their replies as they come.

use std::io;

use celeriac::control::{Client, Command};
use celeriac::protocol::Json;

use super::failure::Failure;
use super::options::{GlobalOptions, RemoteOptions};

/// Every reply in the order of arrival: the node and what it said. `on_reply` hears of each at once.
pub(super) async fn ask(
    verb: &str,
    command: Command,
    global: &GlobalOptions,
    options: &RemoteOptions,
    mut on_reply: impl FnMut(&str, &Json) -> io::Result<()>,
) -> Result<Vec<(String, Json)>, Failure> {
    let unavailable = |error| Failure::remote(verb, &error);
    let broker = global.connect().await.map_err(unavailable)?;
    let command = if options.destination.is_empty() { command } else { command.to(options.destination.clone()) };
    let mut replies = Client::new(broker.clone()).call(command, options.timeout).await.map_err(unavailable)?;
    let mut all = Vec::new();
    while let Some(reply) = replies.next().await {
        let value = reply.value.to_tree();
        on_reply(&reply.node, &value)?;
        all.push((reply.node, value));
    }
    broker.close().await;
    if all.is_empty() { Err(Failure::nobody()) } else { Ok(all) }
}

/// One entry for each node: of two that share a name, the last. Whoever runs them so is told.
#[expect(clippy::print_stderr, reason = "a warning beside the answer on standard output")]
pub(super) fn by_node(replies: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let mut nodes: Vec<(String, Json)> = Vec::new();
    for (node, value) in replies {
        match nodes.iter_mut().find(|(known, _)| *known == node) {
            Some((_, known)) => {
                eprintln!(
                    "Received multiple replies from node name: {node}.\nPlease make sure you give each node a unique \
                     nodename using\nthe celery worker `-n` option."
                );
                *known = value;
            }
            None => nodes.push((node, value)),
        }
    }
    nodes
}
