//! Queues and where a task goes.

use crate::broker::{Binding, BindingDestination, Exchange, ExchangeKind, Queue, Topology};
use crate::parking::parking_queue;
use crate::protocol::{Headers, Value};

/// How `RabbitMQ` keeps a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// On one node. Declared without arguments, as Celery does.
    #[default]
    Classic,
    /// Replicated (`x-queue-type: quorum`).
    Quorum,
}

/// A queue with the exchange and the routing key that lead to it; by default those of Celery: a direct exchange and a
/// key of the same name.
///
/// ```
/// use celeriac::broker::ExchangeKind;
/// use celeriac::{App, QueueDefinition, QueueType};
///
/// App::builder()
///     .queue(QueueDefinition::new("payments").queue_type(QueueType::Quorum))
///     .queue(QueueDefinition::new("urgent").max_priority(9))
///     .queue(QueueDefinition::new("invoices").exchange("papers", ExchangeKind::Topic, "paper.invoice.*"))
/// # ;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct QueueDefinition {
    pub(crate) name: String,
    exchange: String,
    kind: ExchangeKind,
    routing_key: String,
    queue_type: Option<QueueType>,
    max_priority: Option<u8>,
    arguments: Headers,
}

impl QueueDefinition {
    /// A queue of this name, of the type that the application has for queues
    /// ([`AppBuilder::queue_type`](super::AppBuilder::queue_type)).
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            exchange: name.clone(),
            kind: ExchangeKind::Direct,
            routing_key: name.clone(),
            name,
            queue_type: None,
            max_priority: None,
            arguments: Headers::default(),
        }
    }

    /// Binds the queue to this exchange with this routing key (a pattern, for a topic exchange).
    #[must_use]
    pub fn exchange(mut self, name: impl Into<String>, kind: ExchangeKind, routing_key: impl Into<String>) -> Self {
        self.exchange = name.into();
        self.kind = kind;
        self.routing_key = routing_key.into();
        self
    }

    /// Overrides the queue type of the application.
    #[must_use]
    pub fn queue_type(mut self, queue_type: QueueType) -> Self {
        self.queue_type = Some(queue_type);
        self
    }

    /// Lets the queue heed priorities up to this one (`x-max-priority`); classic queues only.
    #[must_use]
    pub fn max_priority(mut self, max_priority: u8) -> Self {
        self.max_priority = Some(max_priority);
        self
    }

    /// Adds an argument of the declaration, such as `x-dead-letter-exchange`.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.insert(name, value);
        self
    }

    /// Settles what the definition leaves to the application.
    pub(crate) fn or_defaults(mut self, queue_type: QueueType, max_priority: Option<u8>) -> Self {
        self.queue_type.get_or_insert(queue_type);
        if self.queue_type == Some(QueueType::Classic) {
            self.max_priority = self.max_priority.or(max_priority);
        }
        self
    }

    /// What to declare: senders and workers declare the same (`kombu.Queue`).
    pub(crate) fn topology(&self) -> Topology {
        let mut arguments = Headers::default();
        if self.queue_type == Some(QueueType::Quorum) {
            arguments.insert("x-queue-type", "quorum");
        }
        if let Some(max_priority) = self.max_priority {
            arguments.insert("x-max-priority", i64::from(max_priority));
        }
        for (name, value) in self.arguments.iter() {
            arguments.insert(name, value.clone());
        }
        Topology {
            exchanges: vec![Exchange {
                name: self.exchange.clone(),
                kind: self.kind,
                durable: true,
                auto_delete: false,
            }],
            queues: vec![Queue {
                name: self.name.clone(),
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments,
            }],
            bindings: vec![Binding {
                exchange: self.exchange.clone(),
                destination: BindingDestination::Queue(self.name.clone()),
                routing_key: self.routing_key.clone(),
            }],
        }
    }

    /// What to declare for the messages of this queue that are parked. Whoever looks at them gets them delivered, and again
    /// and again: no limit must end that, of which quorum queues have one by themselves.
    pub(crate) fn parking(&self) -> Topology {
        let mut arguments = Headers::default();
        if self.is_quorum() {
            arguments.insert("x-queue-type", "quorum");
            arguments.insert("x-delivery-limit", i64::from(i32::MAX));
        }
        let name = parking_queue(&self.name);
        let queue = Queue { name, durable: true, exclusive: false, auto_delete: false, arguments };
        Topology { queues: vec![queue], ..Topology::default() }
    }

    /// How often the broker delivers a message before it drops it: a quorum queue by default so often (`RabbitMQ` 4; with
    /// 3 for ever, if nobody says otherwise).
    pub(crate) fn broker_delivery_limit(&self) -> Option<u32> {
        const DEFAULT: u32 = 20;
        if !self.is_quorum() {
            return None;
        }
        match self.arguments.get("x-delivery-limit").and_then(Value::as_i64) {
            None => Some(DEFAULT),
            // A negative one is none.
            Some(limit) => u32::try_from(limit).ok(),
        }
    }

    pub(crate) fn kind(&self) -> ExchangeKind {
        self.kind
    }

    pub(crate) fn exchange_name(&self) -> &str {
        &self.exchange
    }

    pub(crate) fn routing_key_name(&self) -> &str {
        &self.routing_key
    }

    pub(crate) fn is_quorum(&self) -> bool {
        self.queue_type == Some(QueueType::Quorum)
    }

    /// The exchange and the routing key to publish with. A queue behind a direct exchange is addressed by its name
    /// through the default exchange (`celery/app/amqp.py`, `send_task_message`).
    pub(crate) fn address(&self) -> (String, String) {
        if self.kind == ExchangeKind::Direct {
            (String::new(), self.name.clone())
        } else {
            (self.exchange.clone(), self.routing_key.clone())
        }
    }
}

/// Where the tasks of some names go: Celery's `task_routes`. What the sender says, and the task's own `queue`, come
/// before it.
///
/// ```
/// use celeriac::{App, Route};
///
/// App::builder()
///     .route("billing.refund", Route::queue("refunds"))
///     .route("billing.*", Route::queue("billing"))
///     .route("papers.*", Route::exchange("papers", "paper.new"))
/// # ;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub(crate) queue: Option<String>,
    pub(crate) exchange: Option<String>,
    pub(crate) routing_key: Option<String>,
}

impl Route {
    /// To a queue, which is declared if it is not there.
    #[must_use]
    pub fn queue(name: impl Into<String>) -> Self {
        Self { queue: Some(name.into()), ..Self::default() }
    }

    /// With another routing key than the queue's, for a queue behind a topic exchange. It is put to the queue's exchange, so
    /// whether that queue gets it, or others, is for the bindings.
    #[must_use]
    pub fn routing_key(mut self, routing_key: impl Into<String>) -> Self {
        self.routing_key = Some(routing_key.into());
        self
    }

    /// To an exchange, which must exist.
    #[must_use]
    pub fn exchange(name: impl Into<String>, routing_key: impl Into<String>) -> Self {
        Self { queue: None, exchange: Some(name.into()), routing_key: Some(routing_key.into()) }
    }
}

/// Whether a name fits a pattern in which `*` stands for any text and `?` for any character (`fnmatch`).
pub(crate) fn glob_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last `*` if what follows does not fit: one character later.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut retry {
                None => return false,
                Some((after_star, start)) => {
                    *start += 1;
                    (p, n) = (*after_star, *start);
                }
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_declared_as_celery_declares_it() {
        let topology = QueueDefinition::new("payments").or_defaults(QueueType::Classic, None).topology();
        assert_eq!(topology.exchanges[0].name, "payments");
        assert_eq!(topology.exchanges[0].kind, ExchangeKind::Direct);
        assert!(topology.exchanges[0].durable && topology.queues[0].durable);
        assert!(topology.queues[0].arguments.is_empty());
        assert_eq!(topology.bindings[0].routing_key, "payments");
        assert_eq!(QueueDefinition::new("payments").address(), (String::new(), "payments".to_owned()));
    }

    #[test]
    fn quorum_queues_have_their_type_and_never_a_priority() {
        let topology = QueueDefinition::new("q").or_defaults(QueueType::Quorum, Some(10)).topology();
        let arguments: Vec<_> = topology.queues[0].arguments.iter().collect();
        assert_eq!(arguments, [("x-queue-type", &Value::from("quorum"))]);
        let classic = QueueDefinition::new("q").or_defaults(QueueType::Classic, Some(10)).topology();
        assert_eq!(classic.queues[0].arguments.get("x-max-priority"), Some(&Value::Int(10)));
    }

    #[test]
    fn a_queue_behind_a_topic_exchange_is_addressed_through_it() {
        let queue = QueueDefinition::new("audit").exchange("logs", ExchangeKind::Topic, "audit.#");
        assert_eq!(queue.address(), ("logs".to_owned(), "audit.#".to_owned()));
    }

    #[test]
    fn patterns_match_as_fnmatch_does() {
        for (pattern, name, fits) in [
            ("billing.*", "billing.charge", true),
            ("billing.*", "billing", false),
            ("*", "", true),
            ("*.charge", "billing.eu.charge", true),
            ("*.charge", "billing.charged", false),
            ("a*b*c", "a--b--b--c", true),
            ("a*b*c", "a--c", false),
            ("ta?k", "task", true),
            ("ta?k", "tak", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(glob_matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
