//! Our messages to lapin's types and back, with the field types that py-amqp writes (`amqp/serialization.py`).
//!
//! lapin takes its tables by value and gives them out by reference only, so each direction copies every string once;
//! bodies move.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::DateTime;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, ShortString};

use crate::protocol::{DeliveryMode, Headers, Message, Properties, Value};

/// Room in a content header frame for everything but the header table: frame, class, size, flags and the other
/// properties, which are at most nine short strings and fifteen bytes.
const ROOM_FOR_PROPERTIES: usize = 9 * 256 + 64;

/// A name of an exchange, a queue, a routing key, or a short property.
///
/// # Errors
/// AMQP allows 255 bytes; the text says which name is longer.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|_| format!("{what} has {} bytes, AMQP allows 255", text.len()))
}

/// Properties and headers as lapin sends them. They must fit in one frame of `frame_max` bytes (0: any size).
///
/// # Errors
/// What cannot be put on the wire, in words.
pub(super) fn encode_properties(message: &Message, frame_max: usize) -> Result<BasicProperties, String> {
    let properties = &message.properties;
    let size = table_size(&message.headers);
    if frame_max > 0 && size + ROOM_FOR_PROPERTIES > frame_max {
        return Err(format!("the headers have {size} bytes, the broker takes {}", frame_max - ROOM_FOR_PROPERTIES));
    }
    let mut encoded = BasicProperties::default().with_headers(encode_table(&message.headers)?).with_delivery_mode(
        match properties.delivery_mode {
            DeliveryMode::Transient => 1,
            DeliveryMode::Persistent => 2,
        },
    );
    if let Some(text) = &properties.content_type {
        encoded = encoded.with_content_type(short("content_type", text)?);
    }
    if let Some(text) = &properties.content_encoding {
        encoded = encoded.with_content_encoding(short("content_encoding", text)?);
    }
    if let Some(priority) = properties.priority {
        encoded = encoded.with_priority(priority);
    }
    if let Some(text) = &properties.correlation_id {
        encoded = encoded.with_correlation_id(short("correlation_id", text)?);
    }
    if let Some(text) = &properties.reply_to {
        encoded = encoded.with_reply_to(short("reply_to", text)?);
    }
    if let Some(milliseconds) = properties.expiration {
        encoded = encoded.with_expiration(milliseconds.to_string().into());
    }
    if let Some(text) = &properties.message_id {
        encoded = encoded.with_message_id(short("message_id", text)?);
    }
    if let Some(seconds) = properties.timestamp {
        encoded = encoded.with_timestamp(seconds);
    }
    if let Some(text) = &properties.kind {
        encoded = encoded.with_type(short("type", text)?);
    }
    if let Some(text) = &properties.user_id {
        encoded = encoded.with_user_id(short("user_id", text)?);
    }
    if let Some(text) = &properties.app_id {
        encoded = encoded.with_app_id(short("app_id", text)?);
    }
    Ok(encoded)
}

/// A header table as lapin sends it.
///
/// # Errors
/// What cannot be put on the wire, in words.
pub(super) fn encode_table(headers: &Headers) -> Result<FieldTable, String> {
    let entries = headers.iter().map(|(name, value)| {
        let encoded = encode_value(value).map_err(|why| format!("header {name:?}: {why}"))?;
        Ok((short("the name of a header", name)?, encoded))
    });
    Ok(FieldTable::from(entries.collect::<Result<BTreeMap<_, _>, String>>()?))
}

fn encode_value(value: &Value) -> Result<AMQPValue, String> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Int(number) => i32::try_from(*number).map_or(AMQPValue::LongLongInt(*number), AMQPValue::LongInt),
        // Erlang has no such floats: RabbitMQ would close the connection with INTERNAL_ERROR.
        Value::Float(number) if !number.is_finite() => return Err(format!("{number} is no number RabbitMQ knows")),
        Value::Float(number) => AMQPValue::Double(*number),
        Value::Str(text) => AMQPValue::LongString(text.as_bytes().into()),
        Value::Bytes(bytes) => AMQPValue::LongString(bytes.as_ref().into()),
        // The mantissa is signed for py-amqp and everyone else; lapin carries the same bits unsigned.
        Value::Decimal { scale, mantissa } => match i32::try_from(*mantissa) {
            Ok(mantissa) => AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: mantissa.cast_unsigned() }),
            Err(_) => return Err(format!("a decimal of {mantissa} does not fit AMQP's 32 bits; send it as a string")),
        },
        Value::Timestamp(time) => match u64::try_from(time.timestamp()) {
            Ok(seconds) => AMQPValue::Timestamp(seconds),
            Err(_) => return Err("a timestamp before 1970".to_owned()),
        },
        Value::List(items) => {
            AMQPValue::FieldArray(items.iter().map(encode_value).collect::<Result<Vec<_>, _>>()?.into())
        }
        Value::Table(table) => AMQPValue::FieldTable(encode_table(table)?),
    })
}

/// Bytes of the table on the wire, without its own length field.
fn table_size(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| 1 + name.len() + value_size(value)).sum()
}

/// Bytes of the value on the wire, with its type.
fn value_size(value: &Value) -> usize {
    1 + match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) | Value::Timestamp(_) => 8,
        Value::Decimal { .. } => 5,
        Value::Str(text) => 4 + text.len(),
        Value::Bytes(bytes) => 4 + bytes.len(),
        Value::List(items) => 4 + items.iter().map(value_size).sum::<usize>(),
        Value::Table(table) => 4 + table_size(table),
    }
}

/// A message as it came: nothing in it is an error here.
pub(super) fn decode_message(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    Message {
        properties: Properties {
            content_type: text(properties.content_type()),
            content_encoding: text(properties.content_encoding()),
            delivery_mode: match properties.delivery_mode() {
                Some(2) => DeliveryMode::Persistent,
                _ => DeliveryMode::Transient,
            },
            priority: *properties.priority(),
            correlation_id: text(properties.correlation_id()),
            reply_to: text(properties.reply_to()),
            expiration: properties.expiration().as_ref().and_then(|text| text.as_str().parse().ok()),
            message_id: text(properties.message_id()),
            timestamp: *properties.timestamp(),
            kind: text(properties.kind()),
            user_id: text(properties.user_id()),
            app_id: text(properties.app_id()),
        },
        headers: properties.headers().as_ref().map(decode_table).unwrap_or_default(),
        body: Bytes::from(body),
    }
}

fn decode_table(table: &FieldTable) -> Headers {
    let mut headers = Headers::with_capacity(table.inner().len());
    for (name, value) in table.inner() {
        headers.push(name.as_str(), decode_value(value));
    }
    headers
}

fn decode_value(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Void => Value::Null,
        AMQPValue::Boolean(flag) => Value::Bool(*flag),
        AMQPValue::ShortShortInt(number) => Value::Int(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Value::Int(i64::from(*number)),
        AMQPValue::ShortInt(number) => Value::Int(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Value::Int(i64::from(*number)),
        AMQPValue::LongInt(number) => Value::Int(i64::from(*number)),
        AMQPValue::LongUInt(number) => Value::Int(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Value::Int(*number),
        AMQPValue::Float(number) => Value::Float(f64::from(*number)),
        AMQPValue::Double(number) => Value::Float(*number),
        AMQPValue::DecimalValue(decimal) => {
            Value::Decimal { scale: decimal.scale, mantissa: i64::from(decimal.value.cast_signed()) }
        }
        AMQPValue::ShortString(text) => Value::Str(text.to_string()),
        AMQPValue::LongString(text) => decode_text(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => decode_text(bytes.as_slice()),
        AMQPValue::FieldArray(items) => Value::List(items.as_slice().iter().map(decode_value).collect()),
        // A time too far for chrono keeps its seconds.
        AMQPValue::Timestamp(seconds) => i64::try_from(*seconds)
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .map_or_else(|| Value::Int(i64::try_from(*seconds).unwrap_or(i64::MAX)), Value::Timestamp),
        AMQPValue::FieldTable(table) => Value::Table(decode_table(table)),
    }
}

fn decode_text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Str(text.to_owned()),
        Err(_) => Value::Bytes(Bytes::copy_from_slice(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(value: impl Into<Value>) -> String {
        encode_value(&value.into()).unwrap().get_type().to_string()
    }

    #[test]
    fn values_get_the_types_that_py_amqp_gives_them() {
        assert_eq!(tag(1_i64), "LongInt");
        assert_eq!(tag(i64::from(i32::MIN)), "LongInt");
        assert_eq!(tag(i64::from(i32::MAX) + 1), "LongLongInt");
        assert_eq!(tag(i64::MIN), "LongLongInt");
        assert_eq!(tag(true), "Boolean");
        assert_eq!(tag(0.5), "Double");
        assert_eq!(tag("text"), "LongString");
        assert_eq!(tag(Value::Bytes(Bytes::from_static(&[0xff]))), "LongString");
        assert_eq!(tag(Value::Null), "Void");
        assert_eq!(tag(vec!["a"]), "FieldArray");
        assert_eq!(tag(Value::Table(Headers::default())), "FieldTable");
    }

    #[test]
    fn what_amqp_cannot_carry_is_said_and_not_sent() {
        let mut headers = Headers::default();
        headers.insert("price", Value::Decimal { scale: 2, mantissa: i64::from(i32::MAX) + 1 });
        assert!(encode_table(&headers).unwrap_err().contains("\"price\""));
        let mut headers = Headers::default();
        headers.insert("rate", vec![f64::INFINITY]);
        assert!(encode_table(&headers).unwrap_err().contains("\"rate\""));
        let mut headers = Headers::default();
        headers.insert("n".repeat(256), 1_i64);
        assert!(encode_table(&headers).unwrap_err().contains("256 bytes"));
        assert!(short("routing key", &"k".repeat(256)).unwrap_err().starts_with("routing key has 256 bytes"));
    }

    #[test]
    fn headers_larger_than_a_frame_are_refused_before_the_broker_drops_the_connection() {
        let mut message = Message::default();
        message.headers.insert("argsrepr", "x".repeat(131_072));
        assert!(encode_properties(&message, 131_072).unwrap_err().starts_with("the headers have 131"));
        assert!(encode_properties(&message, 0).is_ok());
    }

    #[test]
    fn integers_of_other_clients_are_read() {
        for (wire, ours) in [
            (AMQPValue::ShortShortInt(-1), -1),
            (AMQPValue::ShortShortUInt(255), 255),
            (AMQPValue::ShortInt(-2), -2),
            (AMQPValue::ShortUInt(65_535), 65_535),
            (AMQPValue::LongUInt(u32::MAX), i64::from(u32::MAX)),
            (AMQPValue::LongLongInt(i64::MIN), i64::MIN),
        ] {
            assert_eq!(decode_value(&wire), Value::Int(ours));
        }
        assert_eq!(
            decode_value(&AMQPValue::DecimalValue(DecimalValue { scale: 2, value: (-150_i32).cast_unsigned() })),
            Value::Decimal { scale: 2, mantissa: -150 }
        );
        assert_eq!(decode_value(&AMQPValue::Timestamp(u64::MAX)), Value::Int(i64::MAX));
    }
}
