//! A worker that starts asks the others what they know (`celery/worker/consumer/mingle.py`): which tasks are revoked, and
//! how late it is by the logical clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Client, Replies};
use super::command::Command;
use super::panel::{Node, adopt_revoked};
use crate::broker::BrokerError;
use crate::protocol::Json;

/// How long the others have to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the other workers and is told. Where there are none it takes that long, as in Celery: nothing else tells.
pub(crate) async fn mingle(node: &Node) {
    match say_hello(node).await {
        Ok(replies) => hear(node, replies).await,
        Err(error) => tracing::warn!(%error, "mingle: other workers cannot be asked"),
    }
}

async fn say_hello(node: &Node) -> Result<Replies, BrokerError> {
    let client = Client::with_clock(Arc::clone(node.app.broker()), node.clock.clone());
    let hello = Command::hello(&node.hostname, node.state.revoked_to_tell(Instant::now()));
    client.call(hello, PATIENCE).await
}

async fn hear(node: &Node, mut replies: Replies) {
    let mut nodes = 0;
    while let Some(reply) = replies.next().await {
        let value = reply.value.to_tree();
        if reply.node == *node.hostname || value.get("error").is_some() {
            continue;
        }
        nodes += 1;
        if let Some(Json::Int(clock)) = value.get("clock") {
            node.clock.adjust(u64::try_from(*clock).unwrap_or(0));
        }
        adopt_revoked(node, value.get("revoked"));
    }
    match nodes {
        0 => tracing::debug!("mingle: all alone"),
        nodes => tracing::info!(nodes, "mingle: in sync with other workers"),
    }
}
