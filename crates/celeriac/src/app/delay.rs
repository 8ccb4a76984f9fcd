//! Delays kept by the broker: Celery's native delayed delivery (`kombu/transport/native_delayed_delivery.py`).
//!
//! A ladder of queues stands for the bits of a number of seconds. A message waits in the queue of each bit that is set,
//! 2ⁿ seconds each, and goes round the others, so none waits behind one with a longer delay. At the bottom the exchange
//! `celery_delayed_delivery` sends it where it was to go. All of it is declared exactly as Celery does, so that Python
//! programs and ours use the same ladder.
//!
//! Celery delays for topic exchanges only, under the routing key `<28 digits>.<routing key>`. Queues behind a direct
//! exchange, which is what most are, are served here as well: bound to the bottom of the ladder under
//! `<28 digits>.<queue>.celeriac`, a key that no message of Celery's own has.

use chrono::{DateTime, Utc};

use super::queue::{QueueDefinition, QueueType};
use crate::broker::{Binding, BindingDestination, Exchange, ExchangeKind, Queue, Topology};
use crate::protocol::{Due, Headers};

/// How many bits a delay has: 2²⁸ seconds are eight years and a half.
const BITS: usize = 28;
/// The longest delay, in seconds. What is to start later comes then, and waits with its worker.
const MAX_SECONDS: u32 = (1 << BITS) - 1;
/// The bottom of the ladder.
const DELIVERY: &str = "celery_delayed_delivery";
/// Ends the keys of messages to queues behind direct exchanges.
const DIRECT: &str = "celeriac";
/// The longest routing key that AMQP has.
const MAX_KEY: usize = 255;

/// The whole seconds until a time, if there is one at least: for less the ladder is too coarse. What is left the worker
/// waits. A countdown counts from here, as in Celery: the time that passed since it was said does not cost it a second.
pub(super) fn seconds_until(due: Due, now: DateTime<Utc>) -> Option<u32> {
    let left = due.eta.signed_duration_since(now);
    let said = due.countdown.and_then(|countdown| i64::try_from(countdown.as_secs()).ok());
    let seconds = said.filter(|said| (*said - 1..=*said).contains(&left.num_seconds())).unwrap_or(left.num_seconds());
    (seconds >= 1).then(|| u32::try_from(seconds).unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

/// The exchange and the key under which a message to `exchange` with `routing_key` is late by so many seconds; `None` for
/// a way that leads past this queue, or one that no key can tell.
pub(super) fn address(
    queue: &QueueDefinition,
    exchange: &str,
    routing_key: &str,
    seconds: u32,
) -> Option<(String, String)> {
    let key = match queue.kind() {
        ExchangeKind::Direct if is_plain(&queue.name) => {
            let leads_there = (exchange.is_empty() && routing_key == queue.name)
                || (exchange == queue.exchange_name() && routing_key == queue.routing_key_name());
            leads_there.then(|| format!("{}.{DIRECT}", queue.name))
        }
        ExchangeKind::Topic if exchange == queue.exchange_name() => Some(without_delay(routing_key).to_owned()),
        _ => None,
    }?;
    let digits: String = format!("{seconds:0BITS$b}").chars().flat_map(|bit| [bit, '.']).collect();
    let key = digits + &key;
    (key.len() <= MAX_KEY).then(|| (level(BITS - 1), key))
}

/// A key without the digits of a delay that is over.
fn without_delay(routing_key: &str) -> &str {
    let (digits, key) = routing_key.split_at_checked(2 * BITS).unwrap_or_default();
    let is_delay = digits.as_bytes().chunks(2).all(|pair| matches!(pair, [b'0' | b'1', b'.']));
    if digits.is_empty() || !is_delay { routing_key } else { key }
}

/// Whether a message has come down a ladder.
pub(crate) fn was_delayed(exchange: &str) -> bool {
    exchange.contains("celery_delayed_")
}

/// The exchange and the routing key under which a message that was delayed would have come otherwise. The notes of the
/// broker about the way down go: were they sent again, it would take the second delay of a message for a circle and drop
/// it.
pub(crate) fn arrived(queue: &QueueDefinition, routing_key: &str, headers: &mut Headers) -> (String, String) {
    const NOTES: [&str; 3] = ["x-death", "x-first-death-", "x-last-death-"];
    headers.retain(|name| !NOTES.iter().any(|note| name.starts_with(note)));
    match queue.kind() {
        ExchangeKind::Direct => queue.address(),
        _ => (queue.exchange_name().to_owned(), without_delay(routing_key).to_owned()),
    }
}

fn level(bit: usize) -> String {
    format!("celery_delayed_{bit}")
}

fn topic(name: String) -> Exchange {
    Exchange { name, kind: ExchangeKind::Topic, durable: true, auto_delete: false }
}

/// The key of all messages whose delay begins with any bits, then this one, for the level of that bit.
fn bit_key(level: usize, bit: char) -> String {
    format!("{}{bit}.#", "*.".repeat(BITS - 1 - level))
}

/// Everything of the ladder but the way to the queues (`declare_native_delayed_delivery_exchanges_and_queues`).
pub(super) fn ladder(queue_type: QueueType) -> Topology {
    let mut ladder = Topology::default();
    for bit in (0..BITS).rev() {
        let next = if bit == 0 { DELIVERY.to_owned() } else { level(bit - 1) };
        let mut arguments = Headers::default();
        arguments.insert("x-queue-type", if queue_type == QueueType::Quorum { "quorum" } else { "classic" });
        arguments.insert("x-overflow", "reject-publish");
        arguments.insert("x-message-ttl", 1000_i64 << bit);
        arguments.insert("x-dead-letter-exchange", next.as_str());
        if queue_type == QueueType::Quorum {
            arguments.insert("x-dead-letter-strategy", "at-least-once");
        }
        ladder.exchanges.push(topic(level(bit)));
        ladder.queues.push(Queue { name: level(bit), durable: true, exclusive: false, auto_delete: false, arguments });
        ladder.bindings.push(Binding {
            exchange: level(bit),
            destination: BindingDestination::Queue(level(bit)),
            routing_key: bit_key(bit, '1'),
        });
        ladder.bindings.push(Binding {
            exchange: level(bit),
            destination: BindingDestination::Exchange(next),
            routing_key: bit_key(bit, '0'),
        });
    }
    ladder.exchanges.push(topic(DELIVERY.to_owned()));
    ladder
}

/// The way from the bottom of the ladder to a queue (`bind_queue_to_native_delayed_delivery_exchange`), if there is one.
pub(super) fn way_to(queue: &QueueDefinition) -> Option<Topology> {
    let from_delivery = |destination, routing_key| Binding { exchange: DELIVERY.to_owned(), destination, routing_key };
    let to_queue = BindingDestination::Queue(queue.name.clone());
    let bindings = match queue.kind() {
        ExchangeKind::Direct if is_plain(&queue.name) => {
            vec![from_delivery(to_queue, format!("{}{}.{DIRECT}", "*.".repeat(BITS), queue.name))]
        }
        ExchangeKind::Topic => {
            let key = queue.routing_key_name();
            let key = if key.starts_with('#') { key.to_owned() } else { format!("#.{key}") };
            let exchange = BindingDestination::Exchange(queue.exchange_name().to_owned());
            let last =
                Binding { exchange: queue.exchange_name().to_owned(), destination: to_queue, routing_key: key.clone() };
            vec![from_delivery(exchange, key), last]
        }
        _ => return None,
    };
    Some(Topology { exchanges: vec![topic(DELIVERY.to_owned())], queues: Vec::new(), bindings })
}

/// Whether a name means itself as part of a pattern.
fn is_plain(name: &str) -> bool {
    !name.contains(['*', '#'])
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    const ZEROS: &str = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.";

    fn at(text: &str) -> DateTime<FixedOffset> {
        text.parse().unwrap()
    }

    #[test]
    fn only_whole_seconds_are_left_to_the_broker() {
        let now = at("2026-11-22T10:00:00Z").to_utc();
        for (eta, expected) in [
            ("2026-11-22T09:00:00Z", None),
            ("2026-11-22T10:00:00.999Z", None),
            ("2026-11-22T10:00:01Z", Some(1)),
            ("2026-11-22T13:00:05.999+03:00", Some(5)),
            ("2099-01-01T00:00:00Z", Some(MAX_SECONDS)),
        ] {
            assert_eq!(seconds_until(Due { eta: at(eta), countdown: None }, now), expected, "{eta}");
        }
    }

    #[test]
    fn a_countdown_of_so_many_seconds_is_left_to_the_broker_for_so_many() {
        let said = at("2026-11-22T10:00:00Z");
        for (countdown, milliseconds_later, expected) in [
            (1.0, 1, Some(1)),
            (5.0, 1, Some(5)),
            (5.0, 999, Some(5)),
            // The broker could not be reached for so long.
            (5.0, 1001, Some(3)),
            (5.0, 6000, None),
            (1.5, 1, Some(1)),
            (0.5, 1, None),
            (0.0, 0, None),
        ] {
            let countdown = std::time::Duration::from_secs_f64(countdown);
            let due = Due { eta: said + countdown, countdown: Some(countdown) };
            let now = said.to_utc() + chrono::TimeDelta::milliseconds(milliseconds_later);
            assert_eq!(seconds_until(due, now), expected, "{countdown:?} {milliseconds_later}");
        }
    }

    #[test]
    fn the_key_of_a_late_message_has_the_bits_of_its_delay_before_its_own() {
        let celery = QueueDefinition::new("celery").exchange("celery_topic", ExchangeKind::Topic, "celery");
        let late = address(&celery, "celery_topic", "celery", 5).unwrap();
        assert_eq!(late, ("celery_delayed_27".to_owned(), format!("{ZEROS}1.0.1.celery")));
        // A message that is sent on as it came keeps no former delay.
        assert_eq!(address(&celery, "celery_topic", &late.1, 1).unwrap().1, format!("{ZEROS}0.0.1.celery"));
        let direct = QueueDefinition::new("payments");
        assert_eq!(address(&direct, "", "payments", 6).unwrap().1, format!("{ZEROS}1.1.0.payments.celeriac"));
        assert_eq!(address(&direct, "payments", "payments", 6), address(&direct, "", "payments", 6));
    }

    #[test]
    fn a_message_that_takes_another_way_is_not_delayed_by_the_broker() {
        let direct = QueueDefinition::new("payments");
        assert_eq!(address(&direct, "elsewhere", "payments", 5), None);
        assert_eq!(address(&direct, "", "others", 5), None);
        let fanout = QueueDefinition::new("news").exchange("news", ExchangeKind::Fanout, "");
        assert_eq!(address(&fanout, "news", "", 5), None);
        for unfit in ["a.*", "#", &"x".repeat(200)] {
            assert_eq!(address(&QueueDefinition::new(unfit), "", unfit, 5), None, "{unfit}");
        }
    }

    #[test]
    fn what_comes_down_the_ladder_looks_as_if_it_had_come_directly() {
        let mut headers = Headers::default();
        headers.insert("x-death", "notes");
        headers.insert("x-first-death-queue", "celery_delayed_2");
        headers.insert("mine", 1);
        let direct = QueueDefinition::new("payments");
        let came = arrived(&direct, &format!("{ZEROS}1.1.0.payments.celeriac"), &mut headers);
        assert_eq!(came, (String::new(), "payments".to_owned()));
        assert_eq!(headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["mine"]);
        let logs = QueueDefinition::new("logs").exchange("all", ExchangeKind::Topic, "logs.#");
        let came = arrived(&logs, &format!("{ZEROS}1.1.0.logs.eu"), &mut headers);
        assert_eq!(came, ("all".to_owned(), "logs.eu".to_owned()));
    }
}
