//! From a message to a task, taking what real senders send.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};

use super::{DecodeError, DecodeErrorKind as Kind, MAX_BODY, TaskMessage};
use crate::protocol::json::{elements, entries};
use crate::protocol::time::parse_time;
use crate::protocol::{Compression, Embed, Headers, Json, Message, Properties, RawJson, Tagged, Value};

type Decode<T> = Result<T, Kind>;

impl TaskMessage {
    /// Reads a message. Strings are moved out of its headers and the arguments share the memory of its body.
    ///
    /// # Errors
    /// It is no readable task: reject it without requeue.
    pub fn decode(message: Message) -> Result<Self, DecodeError> {
        Self::decode_within(message, MAX_BODY)
    }

    /// [`decode`](Self::decode) with another bound for the body than [`MAX_BODY`](super::MAX_BODY), in bytes.
    ///
    /// # Errors
    /// It is no readable task: reject it without requeue.
    pub fn decode_within(message: Message, max_body: usize) -> Result<Self, DecodeError> {
        let Message { properties, headers, body } = message;
        let mut task = Self::new(String::new(), String::new(), RawJson::EMPTY_LIST, RawJson::EMPTY_OBJECT);
        task.properties = properties;
        task.root_id = None;
        task.ignore_result = None;
        let decoded = task.read_headers(headers).and_then(|is_protocol_2| {
            let body = unpack(&task.properties, task.compression, body, max_body)?;
            if is_protocol_2 { task.read_body(&body) } else { task.read_protocol_1(&body) }
        });
        match decoded {
            Ok(()) => Ok(task),
            Err(kind) => Err(DecodeError { task: name(task.task), id: name(task.id), kind }),
        }
    }

    /// Sorts the headers into their fields; answers whether they name a task.
    fn read_headers(&mut self, headers: Headers) -> Decode<bool> {
        let mut named = false;
        let mut problem = None;
        for (name, value) in headers {
            if name == "task" {
                named = true;
            }
            // Read on after a bad header: the error should tell which task it is about.
            if let Err(reason) = self.read_header(&name, value) {
                problem.get_or_insert(Kind::Header { name, reason });
            }
        }
        match problem {
            Some(problem) => Err(problem),
            None if named && self.id.is_empty() => Err(Kind::Header { name: "id".to_owned(), reason: "missing" }),
            None => Ok(named),
        }
    }

    fn read_header(&mut self, name: &str, value: Value) -> Result<(), &'static str> {
        match name {
            "task" => self.task = text(value)?.filter(|task| !task.is_empty()).ok_or("a name expected")?,
            "id" => self.id = text(value)?.filter(|id| !id.is_empty()).ok_or("an id expected")?,
            "shadow" => self.shadow = text(value)?,
            "eta" => self.eta = time(value)?,
            "expires" => self.expires = time(value)?,
            "group" => self.group = text(value)?,
            "group_index" => self.group_index = integer(&value)?,
            "retries" => self.retries = count(&value)?,
            "timelimit" => (self.time_limit, self.soft_time_limit) = limits(&value)?,
            "root_id" => self.root_id = text(value)?,
            "parent_id" => self.parent_id = text(value)?,
            // Only shown: whatever cannot be shown is left out.
            "argsrepr" => self.argsrepr = text(value).unwrap_or_default(),
            "kwargsrepr" => self.kwargsrepr = text(value).unwrap_or_default(),
            "origin" => self.origin = text(value).unwrap_or_default(),
            "lang" => {}
            "ignore_result" => self.ignore_result = flag(&value),
            "replaced_task_nesting" => self.replaced_task_nesting = count(&value)?,
            "stamped_headers" => self.stamped_headers = texts(value)?,
            "stamps" => self.stamps = table(value)?,
            "compression" => self.compression = compression(value)?,
            _ => self.headers.push(name, value),
        }
        Ok(())
    }

    /// `[args, kwargs, embed]`
    fn read_body(&mut self, body: &RawJson) -> Decode<()> {
        const SHAPE: Kind = Kind::Shape { expected: "[args, kwargs, embed]" };
        let mut parts = elements(body).ok_or(SHAPE)?.into_iter();
        self.args = list(parts.next().ok_or(SHAPE)?)?;
        self.kwargs = object(parts.next().ok_or(SHAPE)?)?;
        if let Some(embed) = parts.next() {
            self.embed = Embed::read(&embed)?;
        }
        if parts.next().is_some() { Err(SHAPE) } else { Ok(()) }
    }

    /// Everything is in the body (`celery/worker/strategy.py`, `proto1_to_proto2`).
    fn read_protocol_1(&mut self, body: &RawJson) -> Decode<()> {
        let fields = entries(body).ok_or(Kind::NotATask)?;
        if !fields.iter().any(|(name, _)| name == "task") {
            return Err(Kind::NotATask);
        }
        let mut taskset = None;
        for (name, value) in fields {
            let header = |reason| Kind::Header { name: name.to_string(), reason };
            match &*name {
                "args" => self.args = list(value)?,
                "kwargs" => self.kwargs = object(value)?,
                "taskset" => taskset = text(Value::from_json(&value.to_tree())).map_err(header)?,
                "callbacks" | "errbacks" | "chord" => self.embed.read_key(&name, &value.to_tree())?,
                "task" | "id" | "group" | "group_index" | "retries" | "eta" | "expires" | "timelimit" => {
                    self.read_header(&name, Value::from_json(&value.to_tree())).map_err(header)?;
                }
                _ => {}
            }
        }
        if taskset.is_some() {
            self.group = taskset;
        }
        if self.id.is_empty() { Err(Kind::Header { name: "id".to_owned(), reason: "missing" }) } else { Ok(()) }
    }
}

fn name(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn unpack(
    properties: &Properties,
    compression: Option<Compression>,
    body: bytes::Bytes,
    limit: usize,
) -> Decode<RawJson> {
    let too_large = || Kind::TooLarge { limit };
    match properties.content_type.as_deref() {
        None | Some("application/json" | "json") => {}
        Some(other) => return Err(Kind::ContentType { content_type: other.to_owned() }),
    }
    match properties.content_encoding.as_deref() {
        None => {}
        Some(encoding)
            if ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|known| encoding.eq_ignore_ascii_case(known)) => {}
        Some(other) => return Err(Kind::ContentEncoding { encoding: other.to_owned() }),
    }
    if body.len() > limit {
        return Err(too_large());
    }
    let body = match compression {
        None => body,
        Some(compression) => compression
            .decompress(&body, limit)
            .map_err(|error| Kind::Corrupt { reason: error.to_string() })?
            .ok_or_else(too_large)?,
    };
    Ok(RawJson::parse(body)?)
}

fn list(value: RawJson) -> Decode<RawJson> {
    match value.as_bytes() {
        [b'[', ..] => Ok(value),
        b"null" => Ok(RawJson::EMPTY_LIST),
        _ => Err(Kind::Shape { expected: "a list of positional arguments" }),
    }
}

fn object(value: RawJson) -> Decode<RawJson> {
    match value.as_bytes() {
        [b'{', ..] => Ok(value),
        b"null" => Ok(RawJson::EMPTY_OBJECT),
        _ => Err(Kind::Shape { expected: "an object of keyword arguments" }),
    }
}

fn text(value: Value) -> Result<Option<String>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::Str(text) => Ok(Some(text)),
        // Other senders write ids as numbers.
        Value::Int(number) => Ok(Some(number.to_string())),
        Value::Bytes(_) => Err("not UTF-8"),
        _ => Err("a string expected"),
    }
}

fn integer(value: &Value) -> Result<Option<i64>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::Int(number) => Ok(Some(*number)),
        _ => Err("an integer expected"),
    }
}

fn count(value: &Value) -> Result<u32, &'static str> {
    let number = integer(value)?.unwrap_or(0);
    u32::try_from(number).map_err(|_| "a count expected")
}

/// Python's truth: senders write 0 and 1 for false and true.
fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Int(number) => Some(*number != 0),
        _ => None,
    }
}

fn time(value: Value) -> Result<Option<DateTime<FixedOffset>>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::Timestamp(time) => Ok(Some(time.fixed_offset())),
        Value::Str(text) if text.is_empty() => Ok(None),
        Value::Str(text) => parse_time(&text).map(Some).ok_or("not a time in ISO 8601"),
        _ => Err("a time in ISO 8601 expected"),
    }
}

/// `[hard, soft]` in seconds; zero is no limit.
fn limits(value: &Value) -> Result<(Option<Duration>, Option<Duration>), &'static str> {
    let limit = |value: Option<&Value>| match value {
        None | Some(Value::Null) => Ok(None),
        Some(number) => seconds(number).map(|limit| (!limit.is_zero()).then_some(limit)),
    };
    match value {
        Value::Null => Ok((None, None)),
        Value::List(limits) if limits.len() <= 2 => Ok((limit(limits.first())?, limit(limits.get(1))?)),
        _ => Err("[hard, soft] expected"),
    }
}

fn seconds(number: &Value) -> Result<Duration, &'static str> {
    let seconds = number.as_f64().ok_or("numbers of seconds expected")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "numbers of seconds expected")
}

fn texts(value: Value) -> Result<Option<Vec<String>>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::List(values) => {
            values.into_iter().map(|value| text(value)?.ok_or("names expected")).collect::<Result<_, _>>().map(Some)
        }
        _ => Err("a list of names expected"),
    }
}

fn table(value: Value) -> Result<Headers, &'static str> {
    match value {
        Value::Null => Ok(Headers::default()),
        Value::Table(table) => Ok(table),
        _ => Err("a table expected"),
    }
}

fn compression(value: Value) -> Result<Option<Compression>, &'static str> {
    match text(value)? {
        None => Ok(None),
        Some(name) if name.is_empty() => Ok(None),
        Some(name) => Compression::from_name(&name).map(Some).ok_or("unknown compression"),
    }
}

impl Value {
    /// The header value that stands for a JSON value.
    pub(crate) fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Int(number) => i64::try_from(*number).map_or_else(|_| Self::Str(number.to_string()), Self::Int),
            Json::Number(text) => text.parse().map_or_else(|_| Self::Str(text.clone()), Self::Float),
            Json::Str(text) => Self::Str(text.clone()),
            Json::List(elements) => Self::List(elements.iter().map(Self::from_json).collect()),
            Json::Object(entries) => {
                Self::Table(entries.iter().map(|(name, value)| (name.clone(), Self::from_json(value))).collect())
            }
            Json::Tagged(tagged) => Self::from_tagged(tagged),
        }
    }

    /// As py-amqp writes the Python value. What AMQP has no type for is text: Celery would not send it at all.
    fn from_tagged(tagged: &Tagged) -> Self {
        let typed = match tagged {
            // A time without an offset is taken for UTC.
            Tagged::DateTime(text) => parse_time(text).map(|time| Self::Timestamp(time.to_utc())),
            Tagged::Decimal(text) => decimal(text),
            Tagged::Bytes(bytes) => Some(Self::Bytes(bytes.clone().into())),
            Tagged::Date(_) | Tagged::Time(_) | Tagged::Uuid(_) | Tagged::Unknown { .. } => None,
        };
        typed.unwrap_or_else(|| Self::Str(tagged.to_string()))
    }
}

/// `-12.50` as `D`, which has 32 bits for the digits.
fn decimal(text: &str) -> Option<Value> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mantissa: i32 = format!("{whole}{fraction}").parse().ok()?;
    Some(Value::Decimal { scale: fraction.len().try_into().ok()?, mantissa: mantissa.into() })
}
