//! The exchanges and queues of remote control, declared exactly as kombu 5.7 does: the broker refuses other arguments
//! for objects that a Python peer has declared before.

use crate::broker::{Binding, BindingDestination, Exchange, ExchangeKind, Queue, Topology};
use crate::protocol::Headers;
use crate::protocol::pidbox::{CONTROL_EXCHANGE, REPLY_EXCHANGE, node_queue, reply_queue};

/// `control_queue_ttl`: what waits longer for a reader is dropped, in milliseconds.
const MESSAGE_TTL: i64 = 300_000;
/// `control_queue_expires`: a queue that nobody uses goes away, in milliseconds.
const QUEUE_EXPIRES: i64 = 10_000;

/// Where commands are published.
pub(super) fn control_exchange() -> Topology {
    Topology { exchanges: vec![exchange(CONTROL_EXCHANGE, ExchangeKind::Fanout)], ..Topology::default() }
}

/// Where a worker takes commands from.
pub(super) fn node_mailbox(node: &str) -> Topology {
    mailbox(exchange(CONTROL_EXCHANGE, ExchangeKind::Fanout), node_queue(node), "")
}

/// Where replies are published.
pub(super) fn reply_exchange() -> Topology {
    Topology { exchanges: vec![exchange(REPLY_EXCHANGE, ExchangeKind::Direct)], ..Topology::default() }
}

/// Where the replies to one command are waited for; its routing key is `oid`.
pub(super) fn reply_mailbox(oid: &str) -> Topology {
    mailbox(exchange(REPLY_EXCHANGE, ExchangeKind::Direct), reply_queue(oid), oid)
}

fn exchange(name: &str, kind: ExchangeKind) -> Exchange {
    Exchange { name: name.to_owned(), kind, durable: false, auto_delete: false }
}

fn mailbox(exchange: Exchange, queue: String, routing_key: &str) -> Topology {
    let mut arguments = Headers::with_capacity(2);
    arguments.push("x-expires", QUEUE_EXPIRES);
    arguments.push("x-message-ttl", MESSAGE_TTL);
    let binding = Binding {
        exchange: exchange.name.clone(),
        destination: BindingDestination::Queue(queue.clone()),
        routing_key: routing_key.to_owned(),
    };
    let queue = Queue { name: queue, durable: false, exclusive: true, auto_delete: true, arguments };
    Topology { exchanges: vec![exchange], queues: vec![queue], bindings: vec![binding] }
}
