//! The message of one signature whose options are complete (`app.send_task`).

use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta};

use super::CanvasError;
use super::node::{Options, option, text_option, to_list};
use super::plan::{Publish, Publisher, Route};
use crate::protocol::json::{Tagged, elements};
use crate::protocol::{
    Compression, DeliveryMode, Embed, Json, Properties, RawJson, Signature, TaskMessage, Value, parse_time,
};
use crate::task::TaskOptions;

pub(super) fn build(signature: Signature, publisher: &mut Publisher<'_>) -> Result<Publish, CanvasError> {
    let Signature { task, args, kwargs, options, .. } = signature;
    let known_task = (publisher.known)(&task);
    let known = known_task.map(|task| task.options);
    let refused = |name, reason| CanvasError::Option { task: task.clone(), name, reason };
    let id = text_option(&options, "task_id").unwrap_or_else(|| (publisher.new_id)());
    let (args, kwargs) = (text(&Json::List(args))?, text(&Json::Object(kwargs))?);
    let mut message = TaskMessage::new(task.clone(), id.clone(), args, kwargs);

    let parent = publisher.parent.as_ref();
    message.root_id =
        text_option(&options, "root_id").or_else(|| parent.map(|parent| parent.root_id.clone())).or(Some(id));
    message.parent_id = text_option(&options, "parent_id").or_else(|| parent.map(|parent| parent.id.clone()));
    message.group = text_option(&options, "group_id");
    message.group_index = integer(&options, "group_index");
    message.shadow = text_option(&options, "shadow");
    message.retries = integer(&options, "retries").and_then(|retries| retries.try_into().ok()).unwrap_or(0);
    message.replaced_task_nesting =
        integer(&options, "replaced_task_nesting").and_then(|nesting| nesting.try_into().ok()).unwrap_or(0);
    message.time_limit = limit(&options, "time_limit").or_else(|| known.and_then(|known| known.time_limit));
    message.soft_time_limit =
        limit(&options, "soft_time_limit").or_else(|| known.and_then(|known| known.soft_time_limit));
    message.ignore_result = match option(&options, "ignore_result") {
        Some(Json::Bool(ignore)) => Some(*ignore),
        _ => known.map(|known| known.ignore_result),
    };
    message.origin = text_option(&options, "origin");
    // Empty text hides, too.
    let shown = |name| option(&options, name).and_then(Json::as_str).map(str::to_owned);
    (message.argsrepr, message.kwargsrepr) = (shown("argsrepr"), shown("kwargsrepr"));
    if let Some(task) = known_task {
        message.redact(task.fields, task.redacted);
    }
    let reply_to = text_option(&options, "reply_to").unwrap_or_else(|| publisher.reply_to.to_owned());
    message.properties.reply_to = Some(reply_to);
    message.properties.priority = match option(&options, "priority") {
        None => Some(known.and_then(|known| known.priority).unwrap_or(0)),
        Some(Json::Int(priority)) => {
            Some(u8::try_from(*priority).map_err(|_| refused("priority", "0 to 255 expected"))?)
        }
        Some(_) => return Err(refused("priority", "0 to 255 expected")),
    };
    message.eta = match seconds(&options, "countdown") {
        Some(countdown) if countdown != 0.0 => {
            let countdown = delta(countdown).ok_or_else(|| refused("countdown", "out of range"))?;
            let eta =
                publisher.now.checked_add_signed(countdown).ok_or_else(|| refused("countdown", "out of range"))?;
            message.countdown = countdown.to_std().ok();
            Some(eta.fixed_offset())
        }
        _ => match option(&options, "eta") {
            None => None,
            Some(eta) => Some(time(eta).ok_or_else(|| refused("eta", "a time in ISO 8601 expected"))?),
        },
    };
    properties(&options, &mut message.properties).map_err(|(name, reason)| refused(name, reason))?;
    let expires = match (option(&options, "expires"), seconds(&options, "expires")) {
        (None, _) => known
            .and_then(|known| known.expires)
            .and_then(|expires| TimeDelta::from_std(expires).ok())
            .map(|expires| publisher.now + expires),
        (Some(_), Some(seconds)) => delta(seconds)
            .and_then(|expires| publisher.now.checked_add_signed(expires))
            .map(Some)
            .ok_or_else(|| refused("expires", "out of range"))?,
        (Some(at), None) => {
            Some(time(at).ok_or_else(|| refused("expires", "a time in ISO 8601 or seconds expected"))?.to_utc())
        }
    };
    if let Some(expires) = expires {
        message.expire_at(expires, publisher.now);
    }
    if let Some(name) = text_option(&options, "compression") {
        message.compression = Some(Compression::from_name(&name).ok_or_else(|| refused("compression", "not known"))?);
    }
    if let Some(Json::Object(headers)) = option(&options, "headers") {
        message.headers = headers.iter().map(|(name, value)| (name.clone(), Value::from_json(value))).collect();
    }
    stamps(&options, &mut message);
    message.embed = embed(&options)?;
    text(&message.embed.to_json())?;

    Ok(Publish { message, route: route(&options, known) })
}

/// What `apply_async` passes on to the message itself (`kombu/messaging.py`, `Producer.publish`).
fn properties(options: &Options, properties: &mut Properties) -> Result<(), (&'static str, &'static str)> {
    let text = |name: &'static str| match option(options, name) {
        None => Ok(None),
        Some(Json::Str(text)) if text.len() <= MAX_PROPERTY => Ok(Some(text.clone())),
        Some(Json::Tagged(Tagged::Uuid(uuid))) => Ok(Some(uuid.to_string())),
        Some(_) => Err((name, "a text of at most 255 bytes expected")),
    };
    if let Some(correlation_id) = text("correlation_id")? {
        properties.correlation_id = Some(correlation_id);
    }
    properties.message_id = text("message_id")?;
    properties.app_id = text("app_id")?;
    properties.kind = text("type")?;
    properties.user_id = text("user_id")?;
    properties.delivery_mode = match option(options, "delivery_mode") {
        None | Some(Json::Int(2)) => DeliveryMode::Persistent,
        Some(Json::Int(1)) => DeliveryMode::Transient,
        Some(Json::Str(mode)) if mode == "persistent" => DeliveryMode::Persistent,
        Some(Json::Str(mode)) if mode == "transient" => DeliveryMode::Transient,
        Some(_) => return Err(("delivery_mode", "1 (transient) or 2 (persistent) expected")),
    };
    properties.timestamp = match option(options, "timestamp") {
        None => None,
        Some(Json::Int(seconds)) => u64::try_from(*seconds).map(Some).map_err(|_| ("timestamp", TIMESTAMP))?,
        Some(json) => {
            let seconds = time(json).and_then(|time| u64::try_from(time.timestamp()).ok());
            Some(seconds.ok_or(("timestamp", TIMESTAMP))?)
        }
    };
    if option(options, "expiration").is_some() {
        let milliseconds = seconds(options, "expiration").map(|seconds| (seconds * 1000.0).trunc());
        let in_range = milliseconds.filter(|milliseconds| (0.0..=MAX_EXPIRATION).contains(milliseconds));
        properties.expiration = Some(in_range.ok_or(("expiration", "seconds from 0 to 50 days expected"))? as u64);
    }
    Ok(())
}

/// The longest text that AMQP carries in a property.
const MAX_PROPERTY: usize = 255;
/// The longest life of a message that `RabbitMQ` takes, in milliseconds.
const MAX_EXPIRATION: f64 = 4_294_967_295.0;
const TIMESTAMP: &str = "a time in ISO 8601 or seconds since 1970 expected";

/// Where a signature says that it goes, or what is known about its task.
pub(super) fn route(options: &Options, known: Option<TaskOptions>) -> Route {
    Route {
        queue: text_option(options, "queue").or_else(|| known.and_then(|known| known.queue).map(str::to_owned)),
        exchange: text_option(options, "exchange"),
        routing_key: text_option(options, "routing_key"),
    }
}

fn embed(options: &Options) -> Result<Embed, CanvasError> {
    let signatures = |name: &str| -> Result<Option<Vec<Signature>>, CanvasError> {
        match option(options, name) {
            None => Ok(None),
            Some(list) => {
                let signatures = to_list(Some(list.clone())).iter().map(Signature::from_json).collect::<Result<_, _>>();
                Ok(Some(signatures?))
            }
        }
    };
    Ok(Embed {
        callbacks: signatures("link")?,
        errbacks: signatures("link_error")?,
        chain: signatures("chain")?,
        chord: option(options, "chord").map(Signature::from_json).transpose()?.map(Box::new),
    })
}

fn stamps(options: &Options, message: &mut TaskMessage) {
    if option(options, "stamped_headers").is_none() {
        return;
    }
    let names = to_list(option(options, "stamped_headers").cloned());
    let names: Vec<_> = names.iter().filter_map(Json::as_str).map(str::to_owned).collect();
    for name in &names {
        let value =
            options.iter().find(|(key, _)| key == name).map_or(Value::Null, |(_, value)| Value::from_json(value));
        message.stamps.insert(name.clone(), value);
    }
    message.stamped_headers = Some(names);
}

fn integer(options: &Options, name: &str) -> Option<i64> {
    match option(options, name) {
        Some(Json::Int(number)) => (*number).try_into().ok(),
        _ => None,
    }
}

fn seconds(options: &Options, name: &str) -> Option<f64> {
    option(options, name)?.as_f64()
}

fn limit(options: &Options, name: &str) -> Option<Duration> {
    let limit = Duration::try_from_secs_f64(seconds(options, name)?).ok()?;
    (!limit.is_zero()).then_some(limit)
}

fn delta(seconds: f64) -> Option<TimeDelta> {
    let microseconds = seconds * 1e6;
    (microseconds.abs() < 9e18).then(|| TimeDelta::microseconds(microseconds as i64))
}

fn time(json: &Json) -> Option<DateTime<FixedOffset>> {
    match json {
        Json::Str(text) | Json::Tagged(Tagged::DateTime(text)) => parse_time(text),
        _ => None,
    }
}

/// The value as text, one level deeper than it is: that is how it stands in a message, and a reader must be able to follow.
fn text(json: &Json) -> Result<RawJson, CanvasError> {
    let mut text = vec![b'['];
    json.write(&mut text);
    text.push(b']');
    let nested = RawJson::parse(text)?;
    Ok(elements(&nested).and_then(|mut elements| elements.pop()).unwrap_or(RawJson::NULL))
}
