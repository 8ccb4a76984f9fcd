//! `add_consumer`, `cancel_consumer`, `active_queues`.

use super::arguments::Arguments;
use super::{Answer, Exception, Node, Reply, json};
use crate::app::QueueDefinition;
use crate::broker::ExchangeKind;
use crate::protocol::{Headers, Json, Value};

pub(super) fn add_consumer(node: &Node, arguments: &Arguments) -> Answer {
    try_add(node, arguments).into()
}

/// A queue of which only the name is said is the application's; otherwise its exchange and key are what is said, or the
/// queue's name (`celery/worker/consumer/consumer.py`, `add_task_queue`).
fn try_add(node: &Node, arguments: &Arguments) -> Reply {
    let name = queue_name(arguments)?;
    let (exchange, routing_key) = (arguments.text("exchange"), arguments.text("routing_key"));
    let kind = match arguments.text("exchange_type") {
        None | Some("direct") => ExchangeKind::Direct,
        Some("topic") => ExchangeKind::Topic,
        Some("fanout") => ExchangeKind::Fanout,
        Some(other) => return Err(Exception::value_error(format!("unknown exchange type '{other}'"))),
    };
    let mut queue = node.app.queue(name);
    if exchange.is_some() || routing_key.is_some() || kind != ExchangeKind::Direct {
        queue = queue.exchange(exchange.unwrap_or(name), kind, routing_key.unwrap_or(name));
    }
    node.queues.add(queue, false);
    Ok(json::ok(&format!("add consumer {name}")))
}

pub(super) fn cancel_consumer(node: &Node, arguments: &Arguments) -> Answer {
    let cancelled = queue_name(arguments).map(|name| {
        node.queues.cancel(name);
        json::ok(&format!("no longer consuming from {name}"))
    });
    cancelled.into()
}

fn queue_name(arguments: &Arguments) -> Result<&str, Exception> {
    arguments.text("queue").ok_or_else(|| Exception::type_error("the name of a queue must be a str"))
}

pub(super) fn active_queues(node: &Node, _: &Arguments) -> Answer {
    Ok(json::list(node.queues.definitions().iter().map(described))).into()
}

/// As kombu describes a queue (`Queue.as_dict(recurse=True)`); Flower wants all of it.
fn described(queue: &QueueDefinition) -> Json {
    let topology = queue.topology();
    let kind = topology.exchanges.first().map_or("direct", |exchange| exchange.kind.name());
    let exchange = topology.exchanges.first().map(|exchange| exchange.name.clone()).unwrap_or_default();
    let routing_key = topology.bindings.first().map(|binding| binding.routing_key.clone()).unwrap_or_default();
    let arguments = topology.queues.first().map_or(Json::Null, |queue| table(&queue.arguments));
    let null = || Json::Null;
    json::object([
        ("name", queue.name.as_str().into()),
        (
            "exchange",
            json::object([
                ("name", exchange.into()),
                ("type", kind.into()),
                ("arguments", null()),
                ("durable", true.into()),
                ("passive", false.into()),
                ("auto_delete", false.into()),
                ("delivery_mode", null()),
                ("no_declare", false.into()),
            ]),
        ),
        ("routing_key", routing_key.into()),
        ("queue_arguments", arguments),
        ("binding_arguments", null()),
        ("consumer_arguments", null()),
        ("durable", true.into()),
        ("exclusive", false.into()),
        ("auto_delete", false.into()),
        ("no_ack", false.into()),
        ("alias", null()),
        ("bindings", Json::List(Vec::new())),
        ("no_declare", null()),
        ("expires", null()),
        ("message_ttl", null()),
        ("max_length", null()),
        ("max_length_bytes", null()),
        ("max_priority", null()),
    ])
}

fn table(arguments: &Headers) -> Json {
    if arguments.is_empty() {
        return Json::Null;
    }
    json::object(arguments.iter().map(|(name, value)| (name, header(value))))
}

fn header(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::Int((*number).into()),
        Value::Float(number) => Json::from(*number),
        Value::Str(text) => text.as_str().into(),
        Value::List(items) => json::list(items.iter().map(header)),
        Value::Table(table) => json::object(table.iter().map(|(name, value)| (name, header(value)))),
        Value::Bytes(_) | Value::Decimal { .. } | Value::Timestamp(_) => Json::Str(format!("{value:?}")),
    }
}
