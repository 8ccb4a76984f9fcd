//! How exchanges choose queues (AMQP 0-9-1, section 3.1.3).

use std::collections::{BTreeSet, HashMap};

use crate::broker::{Binding, BindingDestination, Exchange, ExchangeKind};

/// Exchanges that every broker has.
const PREDECLARED: [(&str, ExchangeKind); 3] =
    [("amq.direct", ExchangeKind::Direct), ("amq.fanout", ExchangeKind::Fanout), ("amq.topic", ExchangeKind::Topic)];

struct Entry {
    exchange: Exchange,
    bindings: Vec<(String, BindingDestination)>,
}

/// All exchanges but the default one, which is implied: it routes to the queue of that name.
pub(super) struct Exchanges(HashMap<String, Entry>);

impl Default for Exchanges {
    fn default() -> Self {
        let exchanges = PREDECLARED.map(|(name, kind)| {
            let exchange = Exchange { name: name.to_owned(), kind, durable: true, auto_delete: false };
            (name.to_owned(), Entry { exchange, bindings: Vec::new() })
        });
        Self(exchanges.into())
    }
}

impl Exchanges {
    /// # Errors
    /// In words, if there is another exchange of that name.
    pub(super) fn declare(&mut self, exchange: &Exchange) -> Result<(), String> {
        if exchange.name.is_empty() {
            return Err("the default exchange cannot be declared".to_owned());
        }
        let entry = self
            .0
            .entry(exchange.name.clone())
            .or_insert_with(|| Entry { exchange: exchange.clone(), bindings: Vec::new() });
        if entry.exchange == *exchange {
            return Ok(());
        }
        Err(format!("exchange {:?} exists with other arguments: {:?}", exchange.name, entry.exchange))
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        name.is_empty() || self.0.contains_key(name)
    }

    /// # Errors
    /// In words, if one of the exchanges does not exist. Whether a queue exists is known elsewhere.
    pub(super) fn bind(&mut self, binding: &Binding) -> Result<(), String> {
        if let BindingDestination::Exchange(name) = &binding.destination
            && !self.0.contains_key(name)
        {
            return Err(format!("no exchange {name:?}; declare it first"));
        }
        let Some(entry) = self.0.get_mut(&binding.exchange) else {
            return Err(format!("no exchange {:?} to bind to; declare it first", binding.exchange));
        };
        let bound = (binding.routing_key.clone(), binding.destination.clone());
        if !entry.bindings.contains(&bound) {
            entry.bindings.push(bound);
        }
        Ok(())
    }

    pub(super) fn unbind(&mut self, binding: &Binding) {
        self.drop_bindings(&|exchange, routing_key, destination| {
            exchange == binding.exchange && routing_key == binding.routing_key && *destination == binding.destination
        });
    }

    pub(super) fn unbind_queue(&mut self, queue: &str) {
        self.drop_bindings(
            &|_, _, destination| matches!(destination, BindingDestination::Queue(name) if name == queue),
        );
    }

    /// Drops bindings, and auto-delete exchanges that have lost their last one, and so on.
    fn drop_bindings(&mut self, unwanted: &dyn Fn(&str, &str, &BindingDestination) -> bool) {
        let mut emptied = Vec::new();
        for (name, entry) in &mut self.0 {
            let before = entry.bindings.len();
            entry.bindings.retain(|(key, destination)| !unwanted(name, key, destination));
            if entry.exchange.auto_delete && entry.bindings.is_empty() && before > 0 {
                emptied.push(name.clone());
            }
        }
        for name in &emptied {
            self.0.remove(name);
        }
        if !emptied.is_empty() {
            self.drop_bindings(
                &|_, _, destination| matches!(destination, BindingDestination::Exchange(name) if emptied.contains(name)),
            );
        }
    }

    /// The queues that get a message: each once. `None` if the exchange does not exist.
    pub(super) fn route(&self, exchange: &str, routing_key: &str) -> Option<BTreeSet<String>> {
        if exchange.is_empty() {
            return Some(BTreeSet::from([routing_key.to_owned()]));
        }
        let mut queues = BTreeSet::new();
        let mut seen = BTreeSet::from([exchange]);
        let mut open = vec![self.0.get(exchange)?];
        while let Some(entry) = open.pop() {
            let takes = |pattern: &str| match entry.exchange.kind {
                ExchangeKind::Fanout => true,
                ExchangeKind::Direct => pattern == routing_key,
                ExchangeKind::Topic => topic_matches(pattern, routing_key),
            };
            for (_, destination) in entry.bindings.iter().filter(|(pattern, _)| takes(pattern)) {
                match destination {
                    BindingDestination::Queue(queue) => drop(queues.insert(queue.clone())),
                    BindingDestination::Exchange(name) if seen.insert(name) => open.extend(self.0.get(name)),
                    BindingDestination::Exchange(_) => {}
                }
            }
        }
        Some(queues)
    }
}

/// Whether a topic pattern takes a routing key: both are words between dots, `*` is one word, `#` any number of them.
fn topic_matches(pattern: &str, routing_key: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let words: Vec<&str> = routing_key.split('.').collect();
    let (mut at, mut word) = (0, 0);
    // Where to go on when a guess for the last `#` was too short.
    let mut hash: Option<(usize, usize)> = None;
    while word < words.len() {
        match pattern.get(at) {
            Some(&"#") => {
                hash = Some((at, word));
                at += 1;
            }
            Some(&part) if part == "*" || part == words[word] => {
                at += 1;
                word += 1;
            }
            _ => {
                let Some((hash_at, hash_word)) = hash else { return false };
                hash = Some((hash_at, hash_word + 1));
                at = hash_at + 1;
                word = hash_word + 1;
            }
        }
    }
    pattern[at..].iter().all(|part| *part == "#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exchange(name: &str, kind: ExchangeKind) -> Exchange {
        Exchange { name: name.into(), kind, durable: false, auto_delete: false }
    }

    fn binding(exchange: &str, key: &str, destination: BindingDestination) -> Binding {
        Binding { exchange: exchange.into(), destination, routing_key: key.into() }
    }

    fn queue(name: &str) -> BindingDestination {
        BindingDestination::Queue(name.into())
    }

    fn route(exchanges: &Exchanges, exchange: &str, key: &str) -> Vec<String> {
        exchanges.route(exchange, key).unwrap().into_iter().collect()
    }

    #[test]
    fn topics_match_by_words() {
        for (pattern, key, matches) in [
            ("task.sent", "task.sent", true),
            ("task.sent", "task.sents", false),
            ("task.*", "task.sent", true),
            ("task.*", "task", false),
            ("task.*", "task.a.b", false),
            ("task.#", "task", true),
            ("task.#", "task.a.b", true),
            ("#", "", true),
            ("#", "a.b", true),
            ("*", "", true),
            ("#.b", "a.b", true),
            ("#.b", "b", true),
            ("#.b", "a.b.c", false),
            ("#.a.#.b", "x.a.y.a.b", true),
            ("*.1.#", "0.1.x", true),
        ] {
            assert_eq!(topic_matches(pattern, key), matches, "{pattern} {key}");
        }
    }

    /// The definition, word by word.
    fn by_definition(pattern: &[&str], words: &[&str]) -> bool {
        match (pattern.split_first(), words.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), None) => by_definition(rest, words),
            (Some((&"#", rest)), Some((_, others))) => by_definition(rest, words) || by_definition(pattern, others),
            (Some((part, rest)), Some((word, others))) => (*part == "*" || part == word) && by_definition(rest, others),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(pattern in "(a|b|\\*|#)(\\.(a|b|\\*|#)){0,5}", key in "(a|b)(\\.(a|b)){0,6}") {
            let words: Vec<&str> = key.split('.').collect();
            let parts: Vec<&str> = pattern.split('.').collect();
            prop_assert_eq!(topic_matches(&pattern, &key), by_definition(&parts, &words), "{} {}", pattern, key);
        }
    }

    #[test]
    fn a_queue_gets_a_message_once_however_many_ways_lead_to_it() {
        let mut exchanges = Exchanges::default();
        exchanges.declare(&exchange("in", ExchangeKind::Topic)).unwrap();
        exchanges.declare(&exchange("out", ExchangeKind::Fanout)).unwrap();
        for bound in [
            binding("in", "#", queue("q")),
            binding("in", "a.*", queue("q")),
            binding("in", "a.#", BindingDestination::Exchange("out".into())),
            binding("out", "", queue("q")),
            binding("out", "", queue("r")),
            // A circle must end.
            binding("out", "", BindingDestination::Exchange("in".into())),
        ] {
            exchanges.bind(&bound).unwrap();
        }
        assert_eq!(route(&exchanges, "in", "a.b"), ["q", "r"]);
        assert_eq!(route(&exchanges, "in", "b"), ["q"]);
        exchanges.unbind_queue("q");
        assert_eq!(route(&exchanges, "in", "b"), [""; 0]);
    }

    #[test]
    fn an_auto_delete_exchange_goes_with_its_last_binding() {
        let mut exchanges = Exchanges::default();
        for name in ["first", "second"] {
            exchanges.declare(&Exchange { auto_delete: true, ..exchange(name, ExchangeKind::Direct) }).unwrap();
        }
        exchanges.bind(&binding("first", "k", BindingDestination::Exchange("second".into()))).unwrap();
        exchanges.bind(&binding("second", "k", queue("q"))).unwrap();
        assert_eq!(route(&exchanges, "first", "k"), ["q"]);
        exchanges.unbind(&binding("second", "k", queue("q")));
        assert!(!exchanges.exists("second") && !exchanges.exists("first"));
    }

    #[test]
    fn another_kind_under_the_same_name_is_refused() {
        let mut exchanges = Exchanges::default();
        exchanges.declare(&exchange("e", ExchangeKind::Direct)).unwrap();
        exchanges.declare(&exchange("e", ExchangeKind::Direct)).unwrap();
        assert!(exchanges.declare(&exchange("e", ExchangeKind::Topic)).unwrap_err().contains("other arguments"));
        assert!(exchanges.declare(&exchange("", ExchangeKind::Direct)).is_err());
    }
}
