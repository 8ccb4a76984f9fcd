//! What was declared, to declare it again after a reconnect.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeUnbindOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Error};
use parking_lot::Mutex;

use super::error::{is_forbidden, is_not_found, reason, refusal};
use super::wire::{encode_table, short};
use crate::broker::{Binding, BindingDestination, Exchange, ExchangeKind, Queue, Topology};

/// The objects that this process declared.
#[derive(Default)]
pub(super) struct Remembered(Mutex<Topology>);

impl Remembered {
    /// Remembers what has been declared; the latest declaration of a name counts.
    pub(super) fn add(&self, topology: &Topology) {
        let mut known = self.0.lock();
        for exchange in &topology.exchanges {
            known.exchanges.retain(|other| other.name != exchange.name);
            known.exchanges.push(exchange.clone());
        }
        for queue in &topology.queues {
            known.queues.retain(|other| other.name != queue.name);
            known.queues.push(queue.clone());
        }
        for binding in &topology.bindings {
            if !known.bindings.contains(binding) {
                known.bindings.push(binding.clone());
            }
        }
    }

    pub(super) fn forget_binding(&self, binding: &Binding) {
        self.0.lock().bindings.retain(|other| other != binding);
    }

    pub(super) fn forget_queue(&self, name: &str) {
        let mut known = self.0.lock();
        known.queues.retain(|queue| queue.name != name);
        known.bindings.retain(|binding| !leads_to(binding, name));
    }

    /// A queue that the broker removes by itself with its last consumer has lost that.
    pub(super) fn forget_if_auto_delete(&self, name: &str) {
        let gone = self.0.lock().queues.iter().any(|queue| queue.name == name && queue.auto_delete);
        if gone {
            self.forget_queue(name);
        }
    }

    /// What every connection may declare. Left to their consumers are exclusive queues, which belong to the
    /// connection that declares them, and auto-delete ones, which would stay for ever without a consumer.
    pub(super) fn shared(&self) -> Topology {
        let mut topology = self.0.lock().clone();
        let (shared, own): (Vec<Queue>, Vec<Queue>) =
            topology.queues.into_iter().partition(|queue| !queue.exclusive && !queue.auto_delete);
        topology.queues = shared;
        topology.bindings.retain(|binding| !own.iter().any(|queue| leads_to(binding, &queue.name)));
        topology
    }

    /// One queue with the exchanges and bindings that lead to it; empty if it was not declared here.
    pub(super) fn of_queue(&self, name: &str) -> Topology {
        let known = self.0.lock();
        let queues: Vec<Queue> = known.queues.iter().filter(|queue| queue.name == name).cloned().collect();
        if queues.is_empty() {
            return Topology::default();
        }
        let bindings: Vec<Binding> = known.bindings.iter().filter(|binding| leads_to(binding, name)).cloned().collect();
        let leads = |exchange: &&Exchange| bindings.iter().any(|binding| binding.exchange == exchange.name);
        Topology { exchanges: known.exchanges.iter().filter(leads).cloned().collect(), queues, bindings }
    }
}

fn leads_to(binding: &Binding, name: &str) -> bool {
    matches!(&binding.destination, BindingDestination::Queue(queue) if queue == name)
}

/// One declaration, ready to send: its names and arguments are known to fit.
pub(super) enum Step {
    Exchange(lapin::types::ShortString, lapin::ExchangeKind, ExchangeDeclareOptions),
    Queue(lapin::types::ShortString, QueueDeclareOptions, FieldTable),
    Binding(Bound),
}

/// The names of a binding: source, destination, routing key.
pub(super) struct Bound {
    source: lapin::types::ShortString,
    destination: lapin::types::ShortString,
    to_exchange: bool,
    routing_key: lapin::types::ShortString,
}

/// The declarations of a topology in the order in which they need each other.
///
/// # Errors
/// What cannot be put on the wire, in words.
pub(super) fn steps(topology: &Topology) -> Result<Vec<Step>, String> {
    let exchanges = topology.exchanges.iter().map(|exchange| {
        let kind = match exchange.kind {
            ExchangeKind::Direct => lapin::ExchangeKind::Direct,
            ExchangeKind::Topic => lapin::ExchangeKind::Topic,
            ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
        };
        let options = ExchangeDeclareOptions {
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            ..ExchangeDeclareOptions::default()
        };
        Ok(Step::Exchange(short("the name of an exchange", &exchange.name)?, kind, options))
    });
    let queues = topology.queues.iter().map(|queue| {
        let options = QueueDeclareOptions {
            durable: queue.durable,
            exclusive: queue.exclusive,
            auto_delete: queue.auto_delete,
            ..QueueDeclareOptions::default()
        };
        Ok(Step::Queue(short("the name of a queue", &queue.name)?, options, encode_table(&queue.arguments)?))
    });
    let bindings = topology.bindings.iter().map(|binding| bound(binding).map(Step::Binding));
    exchanges.chain(queues).chain(bindings).collect()
}

/// # Errors
/// What cannot be put on the wire, in words.
pub(super) fn bound(binding: &Binding) -> Result<Bound, String> {
    let (destination, to_exchange) = match &binding.destination {
        BindingDestination::Queue(name) => (short("the name of a queue", name)?, false),
        BindingDestination::Exchange(name) => (short("the name of an exchange", name)?, true),
    };
    Ok(Bound {
        source: short("the name of an exchange", &binding.exchange)?,
        destination,
        to_exchange,
        routing_key: short("a routing key", &binding.routing_key)?,
    })
}

impl Step {
    async fn run(&self, channel: &Channel) -> Result<(), Error> {
        match self {
            Self::Exchange(name, kind, options) => {
                channel.exchange_declare(name.clone(), kind.clone(), *options, FieldTable::default()).await
            }
            Self::Queue(name, options, arguments) => {
                channel.queue_declare(name.clone(), *options, arguments.clone()).await.map(drop)
            }
            Self::Binding(bound) => bound.bind(channel).await,
        }
    }
}

impl Step {
    /// Whether it is there, without declaring it; `None`: a binding cannot be looked at.
    async fn look(&self, channel: &Channel) -> Option<Result<(), Error>> {
        match self {
            Self::Exchange(name, kind, options) => {
                let options = ExchangeDeclareOptions { passive: true, ..*options };
                Some(channel.exchange_declare(name.clone(), kind.clone(), options, FieldTable::default()).await)
            }
            Self::Queue(name, options, _) => {
                let options = QueueDeclareOptions { passive: true, ..*options };
                Some(channel.queue_declare(name.clone(), options, FieldTable::default()).await.map(drop))
            }
            Self::Binding(_) => None,
        }
    }
}

impl Bound {
    async fn bind(&self, channel: &Channel) -> Result<(), Error> {
        let (to, from, key) = (self.destination.clone(), self.source.clone(), self.routing_key.clone());
        if self.to_exchange {
            channel.exchange_bind(to, from, key, ExchangeBindOptions::default(), FieldTable::default()).await
        } else {
            channel.queue_bind(to, from, key, QueueBindOptions::default(), FieldTable::default()).await
        }
    }

    pub(super) async fn unbind(&self, channel: &Channel) -> Result<(), Error> {
        let (to, from, key) = (self.destination.clone(), self.source.clone(), self.routing_key.clone());
        if self.to_exchange {
            channel.exchange_unbind(to, from, key, ExchangeUnbindOptions::default(), FieldTable::default()).await
        } else {
            channel.queue_unbind(to, from, key, FieldTable::default()).await
        }
    }
}

/// Declares in order, up to the first error; returns the channel, for more. Who may not configure anything finds what
/// somebody else has declared: it is looked at then, and its bindings are taken for made.
pub(super) async fn ensure(connection: &Connection, steps: &[Step]) -> Result<Channel, Error> {
    let mut channel = connection.create_channel().await?;
    let mut is_found = false;
    for step in steps {
        let Err(error) = step.run(&channel).await else { continue };
        if !is_forbidden(&error) {
            return Err(error);
        }
        channel = connection.create_channel().await?;
        match step.look(&channel).await {
            Some(Ok(())) => is_found = true,
            Some(Err(missing)) if is_not_found(&missing) => return Err(error),
            Some(Err(other)) => return Err(other),
            None if is_found => {}
            None => return Err(error),
        }
    }
    Ok(channel)
}

/// Declares again what this process had declared. What the broker refuses now is logged and left out: one queue that
/// somebody has declared anew with other arguments must not keep all others down.
pub(super) async fn restore(connection: &Connection, topology: &Topology) -> Result<(), Error> {
    // What could be put on the wire once can be put there again.
    let steps = steps(topology).unwrap_or_default();
    if steps.is_empty() {
        return Ok(());
    }
    let mut channel = connection.create_channel().await?;
    let mut is_found = false;
    for step in &steps {
        let Err(error) = step.run(&channel).await else { continue };
        if refusal(&error).is_none() || !connection.status().connected() {
            return Err(error);
        }
        channel = connection.create_channel().await?;
        if is_forbidden(&error) {
            match step.look(&channel).await {
                Some(Ok(())) => {
                    is_found = true;
                    continue;
                }
                None if is_found => continue,
                Some(Err(_)) => channel = connection.create_channel().await?,
                None => {}
            }
        }
        tracing::warn!(reason = reason(&error), "the broker refused to declare an object again");
    }
    channel.close(200, "OK".into()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Headers;

    fn queue(name: &str, exclusive: bool) -> Queue {
        Queue { name: name.into(), durable: !exclusive, exclusive, auto_delete: false, arguments: Headers::default() }
    }

    fn binding(exchange: &str, queue: &str) -> Binding {
        Binding {
            exchange: exchange.into(),
            destination: BindingDestination::Queue(queue.into()),
            routing_key: "#".into(),
        }
    }

    fn exchange(name: &str) -> Exchange {
        Exchange { name: name.into(), kind: ExchangeKind::Topic, durable: true, auto_delete: false }
    }

    fn remembered() -> Remembered {
        let remembered = Remembered::default();
        let topology = Topology {
            exchanges: vec![exchange("events"), exchange("other")],
            queues: vec![
                queue("work", false),
                queue("mine", true),
                Queue { auto_delete: true, ..queue("reply", false) },
            ],
            bindings: vec![binding("events", "work"), binding("events", "mine")],
        };
        remembered.add(&topology);
        remembered.add(&topology);
        remembered
    }

    #[test]
    fn a_declaration_is_remembered_once() {
        let remembered = remembered();
        let all = remembered.0.lock();
        assert_eq!((all.exchanges.len(), all.queues.len(), all.bindings.len()), (2, 3, 2));
    }

    #[test]
    fn exclusive_and_auto_delete_queues_are_left_to_their_consumers() {
        let shared = remembered().shared();
        assert_eq!(shared.queues, [queue("work", false)]);
        assert_eq!(shared.bindings, [binding("events", "work")]);
    }

    #[test]
    fn a_consumer_declares_its_own_queue_with_what_leads_to_it() {
        let own = remembered().of_queue("mine");
        assert_eq!(own.exchanges, [exchange("events")]);
        assert_eq!(own.queues, [queue("mine", true)]);
        assert_eq!(own.bindings, [binding("events", "mine")]);
        assert_eq!(remembered().of_queue("foreign"), Topology::default());
    }

    #[test]
    fn what_was_removed_does_not_come_back() {
        let remembered = remembered();
        remembered.forget_queue("work");
        remembered.forget_binding(&binding("events", "mine"));
        let all = remembered.0.lock();
        assert_eq!(all.queues.len(), 2);
        assert_eq!(all.queues[0], queue("mine", true));
        assert!(all.bindings.is_empty());
    }

    #[test]
    fn only_auto_delete_queues_vanish_with_their_consumer() {
        let remembered = remembered();
        remembered.forget_if_auto_delete("work");
        remembered.forget_if_auto_delete("reply");
        let all = remembered.0.lock();
        assert_eq!(all.queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["work", "mine"]);
    }

    #[test]
    fn names_too_long_for_amqp_are_refused_before_they_are_sent() {
        let topology = Topology { queues: vec![queue(&"q".repeat(256), false)], ..Topology::default() };
        assert!(steps(&topology).err().unwrap().contains("256 bytes"));
    }
}
