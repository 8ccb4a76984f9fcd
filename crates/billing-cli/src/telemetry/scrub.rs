//! What may leave this process in a report: what is on these lists, and nothing else. Texts go without what looks like an
//! address of a person or the number of a card.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sentry::Breadcrumb;
use sentry::protocol::{Context, Event, Exception, Value};

/// What reports can be searched by.
pub(super) const TAGS: [&str; 14] = [
    "account_id",
    "client",
    "entry",
    "exc_type",
    "method",
    "monitor",
    "payment_id",
    "queue",
    "refund_id",
    "request_id",
    "retries",
    "task",
    "task_id",
    "trace_id",
];

/// What a report says besides, of the fields of an error.
const FIELDS: [&str; 24] = [
    "again_in",
    "alert",
    "bill_id",
    "circuit",
    "deliveries",
    "entry",
    "error",
    "failures",
    "id",
    "invoice_no",
    "kind",
    "notification",
    "path",
    "problem",
    "queue",
    "reason",
    "refund",
    "setting",
    "state",
    "status",
    "tick",
    "transaction_id",
    "why",
    "worker",
];

/// What is said of the machine and of the place in our code.
const CONTEXTS: [&str; 4] = ["os", "rust", "trace", "Rust Tracing Location"];
const TOLD: &str = "Rust Tracing Fields";

/// A run of so many digits may be the number of a card.
const CARD: usize = 13;

/// The report as it may leave.
pub(super) fn scrubbed(event: Event<'static>) -> Event<'static> {
    let is_tag = |name: &String, _: &mut String| TAGS.contains(&name.as_str());
    let mut tags = event.tags;
    tags.retain(is_tag);
    Event {
        event_id: event.event_id,
        level: event.level,
        fingerprint: event.fingerprint,
        message: event.message.as_deref().map(clean),
        logger: event.logger,
        platform: event.platform,
        timestamp: event.timestamp,
        server_name: event.server_name,
        release: event.release,
        environment: event.environment,
        dist: event.dist,
        exception: event.exception.into_iter().map(exception).collect::<Vec<_>>().into(),
        breadcrumbs: event.breadcrumbs.into_iter().map(breadcrumb).collect::<Vec<_>>().into(),
        contexts: event.contexts.into_iter().filter_map(context).collect(),
        debug_meta: event.debug_meta,
        stacktrace: event.stacktrace,
        threads: event.threads,
        sdk: event.sdk,
        tags,
        ..Event::default()
    }
}

fn exception(exception: Exception) -> Exception {
    Exception { value: exception.value.as_deref().map(clean), ..exception }
}

/// What happened before.
fn breadcrumb(mut crumb: Breadcrumb) -> Breadcrumb {
    crumb.message = crumb.message.as_deref().map(clean);
    crumb.data = told(crumb.data);
    crumb
}

fn context((name, context): (String, Context)) -> Option<(String, Context)> {
    match context {
        Context::Other(fields) if name == TOLD => Some((name, Context::Other(told(fields)))),
        context => CONTEXTS.contains(&name.as_str()).then_some((name, context)),
    }
}

fn told(fields: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let is_told = |name: &str| FIELDS.contains(&name) || TAGS.contains(&name);
    let fields = fields.into_iter().filter(|(name, _)| is_told(name));
    fields
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.clone(), |text| clean(text).into())))
        .collect()
}

/// The text without addresses of the network and long numbers.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(is_of_an_address) {
        let (before, from) = rest.split_at(begin);
        let end = from.find(|c| !is_of_an_address(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        cleaned.push_str(before);
        let core = word.trim_matches(['.', ':']);
        if is_personal(core) {
            cleaned.push_str(&word.replace(core, "…"));
        } else {
            cleaned.push_str(word);
        }
        rest = after;
    }
    cleaned.push_str(rest);
    cleaned
}

fn is_of_an_address(c: char) -> bool {
    c.is_ascii_hexdigit() || c == '.' || c == ':'
}

fn is_personal(word: &str) -> bool {
    let host = word.rsplit_once(':').map_or(word, |(host, _)| host);
    let is_address = |text: &str| text.len() > 2 && text.parse::<IpAddr>().is_ok();
    let is_card = word.len() >= CARD && word.bytes().all(|byte| byte.is_ascii_digit());
    is_address(word) || is_address(host) || is_card
}

/// A text by which reports of one kind are known: what changes from one to the next, such as numbers and ids, is left out.
pub(super) fn kind_of(text: &str) -> String {
    let words = text.split_whitespace();
    words.map(|word| if word.contains(|c: char| c.is_ascii_digit()) { "…" } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_and_no_card_is_left_in_a_text() {
        for (text, left) in [
            ("from 203.0.113.7: refused", "from …: refused"),
            ("203.0.113.7:4432 and 2001:db8::1, no more", "… and …, no more"),
            ("card 4242424242424242 of 7", "card … of 7"),
            ("at 12:30:05, 3 of 12.5, db.internal:5432", "at 12:30:05, 3 of 12.5, db.internal:5432"),
            ("payment 0198b7a1-6a3e-7c3e-9a51-2f0c1f8e6d11", "payment 0198b7a1-6a3e-7c3e-9a51-2f0c1f8e6d11"),
        ] {
            assert_eq!(clean(text), left);
        }
    }

    #[test]
    fn what_is_on_no_list_does_not_leave() {
        let mut event = Event { message: Some("it fails for 203.0.113.7".to_owned()), ..Event::default() };
        event.user = Some(sentry::User { ip_address: Some(sentry::protocol::IpAddress::Auto), ..Default::default() });
        event.extra.insert("body".to_owned(), "secret".into());
        event.tags.insert("payment_id".to_owned(), "7".to_owned());
        event.tags.insert("cryptogram".to_owned(), "secret".to_owned());
        let fields = [("error".to_owned(), Value::from("no")), ("token".to_owned(), "secret".into())];
        event.contexts.insert(TOLD.to_owned(), Context::Other(fields.into_iter().collect()));
        let left = scrubbed(event);
        let text = serde_json::to_string(&left).unwrap();
        assert!(!text.contains("secret") && !text.contains("203.0.113.7") && left.user.is_none(), "{text}");
        assert!(text.contains("payment_id") && text.contains("it fails for"), "{text}");
    }

    #[test]
    fn reports_of_one_kind_are_known_whatever_ids_they_have() {
        assert_eq!(kind_of("payment 0198b7a1-6a3e is no longer sending"), kind_of("payment 77 is no longer sending"));
        assert_ne!(kind_of("message parked"), kind_of("message rejected"));
    }
}
