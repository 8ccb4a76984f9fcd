//! A message as every broker carries it: properties, a header table and a body.

use bytes::Bytes;
use chrono::{DateTime, Utc};

/// One AMQP message, independent of the broker that carries it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// What AMQP itself has names for.
    pub properties: Properties,
    /// What Celery has names for, and the sender's own.
    pub headers: Headers,
    /// As `content_type` and the header `compression` say.
    pub body: Bytes,
}

/// The AMQP basic properties that Celery uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// `application/json`
    pub content_type: Option<String>,
    /// `utf-8`
    pub content_encoding: Option<String>,
    /// Persistent by default.
    pub delivery_mode: DeliveryMode,
    /// 0 to 255; higher is more urgent. Celery always sends it.
    pub priority: Option<u8>,
    /// The task id.
    pub correlation_id: Option<String>,
    /// Where the sender takes replies: a routing key.
    pub reply_to: Option<String>,
    /// Time to live in milliseconds; AMQP carries it as a decimal string.
    pub expiration: Option<u64>,
    /// Not set by Celery.
    pub message_id: Option<String>,
    /// Seconds since 1970. Not set by Celery.
    pub timestamp: Option<u64>,
    /// AMQP's `type`. Not set by Celery.
    pub kind: Option<String>,
    /// Not set by Celery. `RabbitMQ` refuses any but the name of the connection's user.
    pub user_id: Option<String>,
    /// Not set by Celery.
    pub app_id: Option<String>,
}

/// Whether a message on a durable queue survives a restart of the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryMode {
    /// Kept in memory: lost with the broker.
    Transient,
    /// Written to disk before it is confirmed.
    #[default]
    Persistent,
}

/// A header value: every type that an AMQP 0-9-1 field table can hold and that py-amqp writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `V`
    #[default]
    Null,
    /// `t`
    Bool(bool),
    /// `I` on the wire where it fits 32 bits, else `L` as py-amqp writes it.
    Int(i64),
    /// `d`; `f` is read too.
    Float(f64),
    /// `S`
    Str(String),
    /// `S` or `x` whose bytes are not UTF-8.
    Bytes(Bytes),
    /// `D`: the value is `mantissa / 10^scale`.
    Decimal {
        /// How many of the digits stand behind the point.
        scale: u8,
        /// The digits.
        mantissa: i64,
    },
    /// `T`: whole seconds.
    Timestamp(DateTime<Utc>),
    /// `A`
    List(Vec<Value>),
    /// `F`
    Table(Headers),
}

/// A header table: ordered, with unique names.
///
/// Celery's messages have about twenty headers, so a vector beats a map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(Vec<(String, Value)>);

impl Headers {
    /// An empty table with room for so many headers.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// The value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Takes a header out of the table without copying it.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.iter_mut().find(|(key, _)| key == name).map(|(_, value)| std::mem::take(value))
    }

    /// Removes the headers whose names do not satisfy a condition.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// Adds a header or replaces the value of the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let name = name.into();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some(slot) => slot.1 = value.into(),
            None => self.0.push((name, value.into())),
        }
    }

    /// Adds a header that is known not to be there yet.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.push((name.into(), value.into()));
    }

    /// The headers in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many headers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Headers {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(String, Value)> for Headers {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(iter: T) -> Self {
        let mut headers = Self::default();
        for (name, value) in iter {
            headers.insert(name, value);
        }
        headers
    }
}

impl Value {
    /// The text; `None` for all else.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer; `None` for all else.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number, an integer as the nearest double; `None` for all else.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// It is `V`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(i64::from(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(i64::from(number))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}
