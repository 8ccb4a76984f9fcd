//! Whether what was declared is still there, asked so that nobody but the node itself has to answer.
//!
//! A node answers from what it knows whether an exchange or a queue exists. To bind, or to count the messages of a queue,
//! it must ask others in its cluster, and waits for a peer that has stopped until it gives that up, a minute or more. What
//! exists is bound, so a connection is good without that.

use lapin::options::{BasicQosOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Error, ExchangeKind};

use super::wire::{encode_table, short};
use crate::broker::Topology;

/// Whether all exchanges and queues exist, the queues with our arguments. False also where that is not known: declaring
/// tells.
pub(super) async fn all_there(connection: &Connection, topology: &Topology) -> Result<bool, Error> {
    if topology.exchanges.is_empty() && topology.queues.is_empty() {
        return Ok(topology.bindings.is_empty());
    }
    match look(connection, topology).await {
        Ok(there) => Ok(there),
        // What does not exist ends the channel.
        Err(_) if connection.status().connected() => Ok(false),
        Err(error) => Err(error),
    }
}

async fn look(connection: &Connection, topology: &Topology) -> Result<bool, Error> {
    let channel = connection.create_channel().await?;
    for exchange in &topology.exchanges {
        let Ok(name) = short("the name of an exchange", &exchange.name) else { return Ok(false) };
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name, ExchangeKind::Direct, passive, FieldTable::default()).await?;
    }
    for queue in &topology.queues {
        let Ok(name) = short("the name of a queue", &queue.name) else { return Ok(false) };
        // Without an answer, which would count messages.
        let passive = QueueDeclareOptions { passive: true, nowait: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.clone(), passive, FieldTable::default()).await?;
        // It is there; and as we declare it, or the channel ends.
        let Ok(arguments) = encode_table(&queue.arguments) else { return Ok(false) };
        let same = QueueDeclareOptions {
            durable: queue.durable,
            exclusive: queue.exclusive,
            auto_delete: queue.auto_delete,
            nowait: true,
            ..QueueDeclareOptions::default()
        };
        channel.queue_declare(name, same, arguments).await?;
    }
    // Answered by the node after what was asked before.
    channel.basic_qos(0, BasicQosOptions::default()).await?;
    channel.close(200, "OK".into()).await?;
    Ok(true)
}
