//! A worker's ear for remote control (`celery/worker/pidbox.py`): takes commands from its queue and replies.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::mailbox;
use super::panel::{self, Answer, Node};
use crate::broker::{BrokerError, ConsumeOptions, Delivery, Publication, Subscription};
use crate::protocol::pidbox::{REPLY_EXCHANGE, Reply, Request, node_queue};
use crate::protocol::{Json, RawJson};

/// How long a broker that refuses is left alone.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Commands that take their time at once. One more waits for the first of them to end.
const MAX_LATER: usize = 64;
/// The largest command that is carried out, and the largest reply, in bytes: as large as a message may be in `RabbitMQ` 4
/// unless its `max_message_size` says otherwise.
const MAX_MESSAGE: usize = 16 << 20;

/// Serves commands until `stop`.
pub(crate) async fn serve(node: Node, stop: CancellationToken) {
    while let Some(listening) = stop.run_until_cancelled(listen(&node)).await {
        match listening {
            Ok(subscription) => {
                if stop.run_until_cancelled(obey(&node, subscription)).await.is_none() {
                    return;
                }
            }
            // The queue is exclusive: it may be that of a worker of the same name, or our own of a connection that the
            // broker has not noticed to be dead.
            Err(error) => tracing::warn!(hostname = &*node.hostname, %error, "no remote control for now"),
        }
        stop.run_until_cancelled(sleep(RETRY_EVERY)).await;
    }
}

async fn listen(node: &Node) -> Result<Subscription, BrokerError> {
    let broker = node.app.broker();
    broker.declare(&mailbox::node_mailbox(&node.hostname)).await?;
    broker.declare(&mailbox::reply_exchange()).await?;
    let queue = node_queue(&node.hostname);
    broker.consume(ConsumeOptions { queue, no_ack: true, ..ConsumeOptions::default() }).await
}

/// Carries out commands in the order in which they come.
async fn obey(node: &Node, mut subscription: Subscription) {
    let mut later = JoinSet::new();
    while let Some(delivery) = subscription.deliveries.recv().await {
        let Some(request) = read(node, &delivery) else { continue };
        let bytes = delivery.message.body.len();
        if bytes > MAX_MESSAGE {
            tracing::warn!(method = request.method, bytes, "a command of remote control is too large");
            let why =
                format!("{} was not carried out: it has {bytes} bytes, at most {MAX_MESSAGE} are", request.method);
            reply(node, &request, &panel::error(&why)).await;
            continue;
        }
        match panel::dispatch(node, &request) {
            Answer::Value(value) => reply(node, &request, &value).await,
            Answer::Silence => {}
            Answer::Later(work) => {
                while later.try_join_next().is_some() {}
                if later.len() >= MAX_LATER {
                    later.join_next().await;
                }
                let node = node.clone();
                later.spawn(async move {
                    let value = work.await.unwrap_or_else(|exception| exception.to_json());
                    reply(&node, &request, &value).await;
                });
            }
        }
    }
}

/// A command that is meant for this node.
fn read(node: &Node, delivery: &Delivery) -> Option<Request> {
    node.clock.forward();
    let request = match Request::decode(&delivery.message) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "a command of remote control cannot be read");
            return None;
        }
    };
    node.clock.adjust(request.clock.and_then(|clock| clock.try_into().ok()).unwrap_or(0));
    match request.is_for(&node.hostname) {
        Ok(true) => Some(request),
        Ok(false) => None,
        Err(error) => {
            tracing::warn!(%error, "a command of remote control is for nobody");
            None
        }
    }
}

/// Replies, if a reply is wanted. One that does not arrive is not missed: who asked waits for a second.
async fn reply(node: &Node, request: &Request, value: &Json) {
    let Some(reply_to) = &request.reply_to else { return };
    let mut text = Vec::new();
    value.write(&mut text);
    let value = if text.len() > MAX_MESSAGE {
        Reply::error(&format!(
            "the reply to {} has {} bytes, at most {MAX_MESSAGE} are sent",
            request.method,
            text.len()
        ))
    } else {
        RawJson::parse(text).unwrap_or_else(|error| Reply::error(&error.to_string()))
    };
    let clock = i64::try_from(node.clock.forward()).unwrap_or(i64::MAX);
    let publication = Publication {
        exchange: reply_to.exchange.clone(),
        routing_key: reply_to.routing_key.clone(),
        mandatory: false,
        message: Reply::to(request, &*node.hostname, value, clock).to_message(),
    };
    let broker = node.app.broker();
    let published = if reply_to.exchange == REPLY_EXCHANGE {
        broker.publish_unconfirmed(publication).await
    } else {
        // It may not exist, which only a confirmed publication survives.
        broker.publish(publication).await
    };
    if let Err(error) = published {
        tracing::debug!(%error, "reply not sent");
    }
}
