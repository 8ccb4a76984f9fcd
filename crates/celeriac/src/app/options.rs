//! How one task is sent: Celery's `apply_async` options.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};

use super::queue::Route;
use crate::protocol::{Compression, Headers, Signature, TaskMessage, Value};

/// How one task is sent. Without any of these: at once, to the task's own queue, with a new id.
///
/// Most tasks are sent without any, so options that are not set take no room.
///
/// ```no_run
/// # use std::time::Duration;
/// # use celeriac::canvas::Signature;
/// # use celeriac::{App, SendOptions};
/// # async fn example(app: App) -> Result<(), celeriac::SendError> {
/// let options = SendOptions::new()
///     .task_id("mail-4711")
///     .queue("mails")
///     .countdown(Duration::from_secs(60))
///     .expires(Duration::from_secs(3600))
///     .header("tenant", "acme")
///     .link_error(Signature::new("shop.tell_support"));
/// app.send_named("shop.mail", [4711], serde_json::json!({"reminder": true}), options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct SendOptions(Option<Box<Fields>>);

#[derive(Clone, Debug, Default)]
struct Fields {
    task_id: Option<String>,
    route: Route,
    start: Option<Start>,
    expires: Option<Expiry>,
    priority: Option<u8>,
    headers: Headers,
    root_id: Option<String>,
    parent_id: Option<String>,
    group: Option<(String, Option<i64>)>,
    link: Vec<Signature>,
    link_error: Vec<Signature>,
    time_limit: Option<Duration>,
    soft_time_limit: Option<Duration>,
    ignore_result: Option<bool>,
    shadow: Option<String>,
    argsrepr: Option<String>,
    kwargsrepr: Option<String>,
    compression: Option<Compression>,
    stamps: Headers,
}

#[derive(Clone, Debug)]
enum Start {
    In(Duration),
    At(DateTime<FixedOffset>),
}

#[derive(Clone, Debug)]
enum Expiry {
    In(Duration),
    At(DateTime<Utc>),
}

impl SendOptions {
    /// Nothing but defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn fields(&mut self) -> &mut Fields {
        self.0.get_or_insert_default()
    }

    /// Says that the task is to start later.
    pub(crate) fn is_late(&self) -> bool {
        self.0.as_ref().is_some_and(|fields| fields.start.is_some())
    }

    /// The id that the sender has chosen.
    pub(crate) fn chosen_id(&self) -> Option<&str> {
        self.0.as_ref()?.task_id.as_deref()
    }

    /// Where the sender wants it to go.
    pub(crate) fn route(&self) -> &Route {
        const NOWHERE: &Route = &Route { queue: None, exchange: None, routing_key: None };
        self.0.as_ref().map_or(NOWHERE, |fields| &fields.route)
    }

    /// The id of the task; a random UUID otherwise. Sending with an id again is how a lost confirmation is repaired:
    /// the task may then run twice under one id.
    #[must_use]
    pub fn task_id(mut self, id: impl Into<String>) -> Self {
        self.fields().task_id = Some(id.into());
        self
    }

    /// To this queue, which is declared if it does not exist.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.fields().route.queue = Some(queue.into());
        self
    }

    /// To an exchange, which must exist.
    #[must_use]
    pub fn exchange(mut self, exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        let route = &mut self.fields().route;
        route.exchange = Some(exchange.into());
        route.routing_key = Some(routing_key.into());
        self
    }

    /// Not to be started before this much time has passed.
    #[must_use]
    pub fn countdown(mut self, countdown: Duration) -> Self {
        self.fields().start = Some(Start::In(countdown));
        self
    }

    /// Not to be started before this time.
    #[must_use]
    pub fn eta(mut self, eta: impl Into<DateTime<FixedOffset>>) -> Self {
        self.fields().start = Some(Start::At(eta.into()));
        self
    }

    /// Dropped (as REVOKED) if it has not been started within this much time.
    #[must_use]
    pub fn expires(mut self, expires: Duration) -> Self {
        self.fields().expires = Some(Expiry::In(expires));
        self
    }

    /// Dropped (as REVOKED) if it has not been started at this time.
    #[must_use]
    pub fn expires_at(mut self, expires: impl Into<DateTime<Utc>>) -> Self {
        self.fields().expires = Some(Expiry::At(expires.into()));
        self
    }

    /// 0 to 255, higher is more urgent; needs a queue with `x-max-priority`.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.fields().priority = Some(priority);
        self
    }

    /// Adds a header of the sender's own.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields().headers.insert(name, value);
        self
    }

    /// The task that began all this; that of the sending task, or the task itself, otherwise.
    #[must_use]
    pub fn root_id(mut self, root_id: impl Into<String>) -> Self {
        self.fields().root_id = Some(root_id.into());
        self
    }

    /// The task that sends this one; the one whose body sends it otherwise.
    #[must_use]
    pub fn parent_id(mut self, parent_id: impl Into<String>) -> Self {
        self.fields().parent_id = Some(parent_id.into());
        self
    }

    /// Makes it a member of a group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>, index: Option<i64>) -> Self {
        self.fields().group = Some((group.into(), index));
        self
    }

    /// Sends this with the result once the task has succeeded.
    #[must_use]
    pub fn link(mut self, callback: Signature) -> Self {
        self.fields().link.push(callback);
        self
    }

    /// Sends this once the task has failed.
    #[must_use]
    pub fn link_error(mut self, errback: Signature) -> Self {
        self.fields().link_error.push(errback);
        self
    }

    /// Ends the task after this long; instead of the task's own limit.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.fields().time_limit = Some(limit);
        self
    }

    /// Tells the task to end after this long; instead of the task's own limit.
    #[must_use]
    pub fn soft_time_limit(mut self, limit: Duration) -> Self {
        self.fields().soft_time_limit = Some(limit);
        self
    }

    /// Whether to store how it ended; as the task says otherwise.
    #[must_use]
    pub fn ignore_result(mut self, ignore: bool) -> Self {
        self.fields().ignore_result = Some(ignore);
        self
    }

    /// A name to show instead of the task's.
    #[must_use]
    pub fn shadow(mut self, name: impl Into<String>) -> Self {
        self.fields().shadow = Some(name.into());
        self
    }

    /// What operators see in place of the positional arguments: in events, in `inspect`, in results with
    /// `result_extended`, wherever the task and its retries go.
    ///
    /// ```
    /// # use celeriac::SendOptions;
    /// SendOptions::new().argsrepr("('***',)").kwargsrepr("{}");
    /// ```
    #[must_use]
    pub fn argsrepr(mut self, shown: impl Into<String>) -> Self {
        self.fields().argsrepr = Some(shown.into());
        self
    }

    /// The same for the keyword arguments. What a type hides (`#[task(redact)]`) stays hidden if this shows it.
    #[must_use]
    pub fn kwargsrepr(mut self, shown: impl Into<String>) -> Self {
        self.fields().kwargsrepr = Some(shown.into());
        self
    }

    /// Compresses the body. Python reads it whatever its own `task_compression` is.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.fields().compression = Some(compression);
        self
    }

    /// Stamps the task: a header that the whole canvas carries on.
    #[must_use]
    pub fn stamp(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields().stamps.insert(name, value);
        self
    }

    /// Writes the options into a message. Routing is not part of it.
    pub(crate) fn apply(&self, message: &mut TaskMessage, now: DateTime<Utc>) {
        if let Some(fields) = &self.0 {
            fields.apply(message, now);
        }
    }
}

impl Fields {
    fn apply(&self, message: &mut TaskMessage, now: DateTime<Utc>) {
        match &self.start {
            Some(Start::In(countdown)) => {
                message.eta = Some(later(now, *countdown).fixed_offset());
                message.countdown = Some(*countdown);
            }
            Some(Start::At(eta)) => message.eta = Some(*eta),
            None => {}
        }
        match &self.expires {
            Some(Expiry::In(expires)) => message.expire_at(later(now, *expires), now),
            Some(Expiry::At(expires)) => message.expire_at(*expires, now),
            None => {}
        }
        if let Some(priority) = self.priority {
            message.properties.priority = Some(priority);
        }
        if let Some((group, index)) = &self.group {
            message.group = Some(group.clone());
            message.group_index = *index;
        }
        if !self.stamps.is_empty() {
            message.stamped_headers = Some(self.stamps.iter().map(|(name, _)| name.to_owned()).collect());
            message.stamps = self.stamps.clone();
        }
        for (name, value) in self.headers.iter() {
            message.headers.insert(name, value.clone());
        }
        let set = |slot: &mut Option<Vec<Signature>>, signatures: &[Signature]| {
            if !signatures.is_empty() {
                *slot = Some(signatures.to_vec());
            }
        };
        set(&mut message.embed.callbacks, &self.link);
        set(&mut message.embed.errbacks, &self.link_error);
        overwrite(&mut message.root_id, &self.root_id);
        overwrite(&mut message.parent_id, &self.parent_id);
        overwrite(&mut message.time_limit, &self.time_limit);
        overwrite(&mut message.soft_time_limit, &self.soft_time_limit);
        overwrite(&mut message.ignore_result, &self.ignore_result);
        overwrite(&mut message.shadow, &self.shadow);
        overwrite(&mut message.argsrepr, &self.argsrepr);
        overwrite(&mut message.kwargsrepr, &self.kwargsrepr);
        overwrite(&mut message.compression, &self.compression);
    }
}

fn overwrite<T: Clone>(slot: &mut Option<T>, option: &Option<T>) {
    if option.is_some() {
        slot.clone_from(option);
    }
}

/// A time after the year 9999, which Python cannot read, is the last second before.
fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let last = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let later = chrono::TimeDelta::from_std(by).ok().and_then(|by| now.checked_add_signed(by));
    later.map_or(last, |later| later.min(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RawJson;

    #[expect(clippy::needless_pass_by_value, reason = "shorter calls")]
    fn applied(options: SendOptions) -> TaskMessage {
        let mut message = TaskMessage::new("t", "id", RawJson::EMPTY_LIST, RawJson::EMPTY_OBJECT);
        options.apply(&mut message, "2026-01-01T00:00:00Z".parse().unwrap());
        message
    }

    #[test]
    fn a_countdown_becomes_an_eta_and_an_eta_keeps_its_offset() {
        let message = applied(SendOptions::new().countdown(Duration::from_millis(1500)));
        assert_eq!(message.eta, Some("2026-01-01T00:00:01.5+00:00".parse().unwrap()));
        let eta: DateTime<FixedOffset> = "2026-01-01T03:00:00+03:00".parse().unwrap();
        assert_eq!(applied(SendOptions::new().eta(eta)).eta.unwrap().offset(), eta.offset());
    }

    #[test]
    fn the_broker_is_told_how_long_the_message_lives() {
        let message = applied(SendOptions::new().expires(Duration::from_secs(120)));
        assert_eq!(message.properties.expiration, Some(120_000));
        let past: DateTime<Utc> = "2025-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(applied(SendOptions::new().expires_at(past)).properties.expiration, Some(0));
    }

    #[test]
    fn an_endless_countdown_ends_where_pythons_calendar_does() {
        for countdown in [Duration::MAX, Duration::from_secs(1 << 40)] {
            let eta = applied(SendOptions::new().countdown(countdown)).eta;
            assert_eq!(eta, Some("9999-12-31T23:59:59+00:00".parse().unwrap()));
        }
    }
}
