//! The state machine under a clock of our own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::core::{ConsumerId, Core, Now};
use crate::broker::{
    Binding, BindingDestination, ConsumeOptions, Delivery, Exchange, ExchangeKind, Publication, Queue, Topology,
};
use crate::protocol::{Headers, Message, Value};

/// A broker and a clock.
struct Bench {
    core: Core,
    now: Now,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "some instant to count from; it does not move by itself")]
    fn new() -> Self {
        Self { core: Core::default(), now: Now { instant: Instant::now(), wall: DateTime::UNIX_EPOCH } }
    }

    fn queue(&mut self, name: &str, arguments: &[(&str, Value)]) {
        let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let queue = Queue { name: name.into(), durable: true, exclusive: false, auto_delete: false, arguments };
        let topology = Topology { queues: vec![queue], ..Topology::default() };
        self.core.declare(1, &topology, self.now).unwrap();
    }

    fn publish(&mut self, queue: &str, body: &str, expiration: Option<u64>) -> bool {
        let mut message = Message { body: body.to_owned().into(), ..Message::default() };
        message.properties.expiration = expiration;
        let publication = Publication { exchange: String::new(), routing_key: queue.into(), mandatory: true, message };
        self.core.publish(publication, self.now)
    }

    fn consume(&mut self, queue: &str, prefetch: u16) -> ConsumerId {
        let options = ConsumeOptions { queue: queue.into(), prefetch, ..ConsumeOptions::default() };
        self.core.consume(1, &options, Arc::new(Notify::new()), self.now).unwrap()
    }

    fn take(&mut self, consumer: ConsumerId) -> Vec<Delivery> {
        self.core.take(consumer, usize::MAX, self.now).unwrap_or_default()
    }

    fn ready(&mut self, queue: &str) -> Option<u64> {
        self.core.depth(1, queue, self.now).unwrap().map(|depth| depth.messages)
    }

    /// Goes from deadline to deadline until nothing is due before `milliseconds` from now.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.now.instant + Duration::from_millis(milliseconds);
        while let Some(deadline) = self.core.deadline().filter(|deadline| *deadline <= end) {
            self.now.instant = deadline.max(self.now.instant);
            self.core.expire(self.now);
            assert_ne!(self.core.deadline(), Some(deadline), "a deadline must not come again");
        }
        self.now.instant = end;
    }
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| std::str::from_utf8(&delivery.message.body).unwrap()).collect()
}

fn dead_letter_to(queue: &str) -> [(&'static str, Value); 2] {
    [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", queue.into())]
}

#[test]
fn nothing_to_expire_means_no_deadline() {
    let mut bench = Bench::new();
    bench.queue("q", &[]);
    bench.publish("q", "a", None);
    assert_eq!(bench.core.deadline(), None);
}

#[test]
fn messages_expire_to_the_millisecond_and_not_in_the_hands_of_a_consumer() {
    let mut bench = Bench::new();
    bench.queue("q", &[]);
    bench.publish("q", "long", Some(100));
    bench.publish("q", "short", Some(10));
    bench.pass(9);
    assert_eq!(bench.ready("q"), Some(2));
    bench.pass(1);
    assert_eq!(bench.ready("q"), Some(1), "also behind one that lives longer");
    let consumer = bench.consume("q", 0);
    assert_eq!(bodies(&bench.take(consumer)), ["long"]);
    bench.pass(1_000);
    bench.core.close_consumer(consumer, bench.now);
    assert_eq!(bench.ready("q"), Some(0), "but it has expired when it comes back");
}

#[test]
fn an_expiration_of_zero_is_for_who_waits_already() {
    let mut bench = Bench::new();
    bench.queue("q", &[]);
    let consumer = bench.consume("q", 1);
    bench.publish("q", "now", Some(0));
    bench.publish("q", "too late", Some(0));
    bench.pass(0);
    assert_eq!(bodies(&bench.take(consumer)), ["now"]);
    assert_eq!(bench.ready("q"), Some(0));
}

/// What delays are made of: each level holds a message for its time and passes it on.
#[test]
fn a_ladder_of_queues_delays() {
    let mut bench = Bench::new();
    bench.queue("work", &[]);
    bench.queue("1s", &[&[("x-message-ttl", Value::Int(1_000))], &dead_letter_to("work")[..]].concat());
    bench.queue("2s", &[&[("x-message-ttl", Value::Int(2_000))], &dead_letter_to("1s")[..]].concat());
    bench.publish("2s", "a", None);
    let consumer = bench.consume("work", 0);
    bench.pass(2_999);
    assert!(bench.take(consumer).is_empty());
    bench.pass(1);
    let delivered = bench.take(consumer);
    assert_eq!(bodies(&delivered), ["a"]);
    let Some(Value::List(deaths)) = delivered[0].message.headers.get("x-death") else { panic!("{delivered:?}") };
    assert_eq!(deaths.len(), 2);
}

#[test]
fn a_circle_of_dead_letters_ends() {
    let mut bench = Bench::new();
    bench.queue("a", &[&[("x-message-ttl", Value::Int(0))], &dead_letter_to("b")[..]].concat());
    bench.queue("b", &[&[("x-message-ttl", Value::Int(0))], &dead_letter_to("a")[..]].concat());
    bench.publish("a", "x", None);
    bench.pass(10);
    assert_eq!((bench.ready("a"), bench.ready("b")), (Some(0), Some(0)));
}

#[test]
fn an_unused_queue_ends_and_a_used_one_stays() {
    let mut bench = Bench::new();
    bench.queue("q", &[("x-expires", Value::Int(100))]);
    bench.pass(99);
    bench.queue("q", &[("x-expires", Value::Int(100))]);
    bench.pass(99);
    assert_eq!(bench.ready("q"), Some(0), "declaring it was a use");
    let consumer = bench.consume("q", 0);
    bench.pass(10_000);
    bench.core.close_consumer(consumer, bench.now);
    bench.pass(99);
    assert_eq!(bench.ready("q"), Some(0));
    bench.pass(1);
    assert_eq!(bench.ready("q"), None);
}

#[test]
fn a_slow_reader_without_acks_leaves_the_rest_in_the_queue() {
    let mut bench = Bench::new();
    bench.queue("q", &[]);
    let options = ConsumeOptions { queue: "q".into(), no_ack: true, ..ConsumeOptions::default() };
    let consumer = bench.core.consume(1, &options, Arc::new(Notify::new()), bench.now).unwrap();
    for _ in 0..3_000 {
        bench.publish("q", "x", None);
    }
    assert_eq!(bench.ready("q"), Some(3_000 - 1_024));
    assert_eq!((0..3).map(|_| bench.take(consumer).len()).sum::<usize>(), 3_000);
}

#[test]
fn a_full_consumer_does_not_keep_the_others_waiting() {
    let mut bench = Bench::new();
    bench.queue("q", &[]);
    let (slow, fast) = (bench.consume("q", 1), bench.consume("q", 0));
    for body in ["a", "b", "c", "d"] {
        bench.publish("q", body, None);
    }
    assert_eq!((bench.take(slow).len(), bench.take(fast).len()), (1, 3));
}

#[test]
fn the_end_of_a_connection_ends_what_is_its_own() {
    let mut bench = Bench::new();
    bench.queue("shared", &[]);
    let mine = Queue {
        name: "mine".into(),
        durable: false,
        exclusive: true,
        auto_delete: false,
        arguments: Headers::default(),
    };
    let topology = Topology {
        exchanges: vec![Exchange {
            name: "replies".into(),
            kind: ExchangeKind::Direct,
            durable: false,
            auto_delete: true,
        }],
        queues: vec![mine],
        bindings: vec![Binding {
            exchange: "replies".into(),
            destination: BindingDestination::Queue("mine".into()),
            routing_key: "oid".into(),
        }],
    };
    bench.core.declare(2, &topology, bench.now).unwrap();
    assert!(bench.core.depth(1, "mine", bench.now).unwrap_err().contains("another connection"));
    bench.publish("shared", "x", None);
    let options = ConsumeOptions { queue: "shared".into(), ..ConsumeOptions::default() };
    let consumer = bench.core.consume(2, &options, Arc::new(Notify::new()), bench.now).unwrap();
    assert_eq!(bench.take(consumer).len(), 1);

    bench.core.close_owner(2, bench.now);
    assert_eq!(bench.ready("mine"), None);
    assert!(!bench.core.has_exchange("replies"), "its last binding is gone");
    assert_eq!(bench.ready("shared"), Some(1));
    assert_eq!(bench.core.take(consumer, 1, bench.now).map(|taken| taken.len()), None);
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    Consume(u16),
    Take(usize),
    Ack(usize, bool),
    Reject(usize, bool),
    Prefetch(usize, u16),
    Cancel(usize),
    Close(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Publish),
        1 => (0_u16..4).prop_map(Step::Consume),
        4 => (0_usize..4).prop_map(Step::Take),
        2 => (0_usize..8, any::<bool>()).prop_map(|(which, multiple)| Step::Ack(which, multiple)),
        2 => (0_usize..8, any::<bool>()).prop_map(|(which, requeue)| Step::Reject(which, requeue)),
        1 => (0_usize..4, 0_u16..4).prop_map(|(which, count)| Step::Prefetch(which, count)),
        1 => (0_usize..4).prop_map(Step::Cancel),
        1 => (0_usize..4).prop_map(Step::Close),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    /// Whatever consumers do, every message is in exactly one place: with a consumer, settled, or in the queue.
    #[test]
    fn no_message_is_lost_or_doubled(steps in steps()) {
        let mut bench = Bench::new();
        bench.queue("q", &[]);
        let mut published = 0;
        let mut settled = 0;
        let mut consumers: Vec<ConsumerId> = Vec::new();
        // What was taken and is open: which message, by consumer and tag.
        let mut open: BTreeMap<(ConsumerId, u64), String> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Publish => {
                    prop_assert!(bench.publish("q", &published.to_string(), None));
                    published += 1;
                }
                Step::Consume(prefetch) => consumers.push(bench.consume("q", prefetch)),
                Step::Take(which) => if let Some(consumer) = consumers.get(which).copied() {
                    for delivery in bench.take(consumer) {
                        let body = bodies(std::slice::from_ref(&delivery))[0].to_owned();
                        prop_assert!(!open.values().any(|other| *other == body), "{} is in two places", body);
                        open.insert((consumer, delivery.tag.tag), body);
                    }
                },
                Step::Ack(which, multiple) => if let Some((consumer, tag)) = open.keys().nth(which).copied() {
                    bench.core.ack(consumer, tag, multiple, bench.now);
                    let before = open.len();
                    open.retain(|(other, number), _| {
                        *other != consumer || if multiple { *number > tag } else { *number != tag }
                    });
                    settled += before - open.len();
                },
                Step::Reject(which, requeue) => if let Some((consumer, tag)) = open.keys().nth(which).copied() {
                    bench.core.reject(consumer, tag, requeue, bench.now);
                    open.remove(&(consumer, tag));
                    settled += usize::from(!requeue);
                },
                Step::Prefetch(which, count) => if let Some(consumer) = consumers.get(which).copied() {
                    bench.core.set_prefetch(consumer, count, bench.now);
                },
                Step::Cancel(which) => if let Some(consumer) = consumers.get(which).copied() {
                    bench.core.cancel(consumer, bench.now);
                },
                Step::Close(which) => if which < consumers.len() {
                    let consumer = consumers.remove(which);
                    bench.core.close_consumer(consumer, bench.now);
                    open.retain(|(other, _), _| *other != consumer);
                },
            }
        }
        for consumer in consumers {
            bench.core.close_consumer(consumer, bench.now);
        }
        prop_assert_eq!(bench.ready("q"), Some((published - settled) as u64));
        let consumer = bench.consume("q", 0);
        let mut rest: Vec<String> = bodies(&bench.take(consumer)).into_iter().map(ToOwned::to_owned).collect();
        let in_order = rest.is_sorted_by_key(|body| body.parse::<usize>().unwrap_or(usize::MAX));
        prop_assert!(in_order, "what came back is in its place: {:?}", rest);
        rest.dedup();
        prop_assert_eq!(rest.len(), published - settled);
    }
}
