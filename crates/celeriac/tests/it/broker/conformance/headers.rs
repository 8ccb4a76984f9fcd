//! Header tables keep their types.

use bytes::Bytes;
use celeriac::protocol::{Headers, Value};
use chrono::DateTime;

use super::conformance;
use crate::broker::setup::*;

conformance! { classic, quorum, memory:
    headers_of_every_type_come_back_as_they_were
    a_message_without_headers_has_none
}

async fn headers_of_every_type_come_back_as_they_were(setup: &Setup) {
    let broker = setup.with_queue().await;
    let mut inner = Headers::default();
    inner.insert("deep", Value::List(vec![Value::Null, Value::Table(Headers::default())]));
    let mut publication = to("q", "");
    let headers = &mut publication.message.headers;
    // By name: AMQP tables of lapin are sorted.
    for (name, value) in [
        ("bytes", Value::Bytes(Bytes::from_static(b"\xff\x00\xfe"))),
        ("decimal", Value::Decimal { scale: 2, mantissa: -1_999 }),
        ("empty", Value::Str(String::new())),
        ("eta", Value::Str("2031-05-06T07:08:09.123456+00:00".into())),
        ("false", Value::Bool(false)),
        ("float", Value::Float(-0.1)),
        ("highest", Value::Int(i64::MAX)),
        ("int", Value::Int(-1)),
        ("int32", Value::Int(i64::from(i32::MIN))),
        ("int33", Value::Int(i64::from(i32::MIN) - 1)),
        ("list", Value::List(vec![Value::Int(30), Value::Null, Value::Float(2.5), Value::Str("x".into())])),
        ("lowest", Value::Int(i64::MIN)),
        ("null", Value::Null),
        ("table", Value::Table(inner)),
        ("text", Value::Str("платёж 💳".into())),
        ("time", Value::Timestamp(DateTime::from_timestamp(1_900_000_000, 0).unwrap())),
        ("true", Value::Bool(true)),
    ] {
        headers.push(name, value);
    }
    broker.publish(publication.clone()).await.unwrap();
    let mut subscription = consume(&*broker, "q", 1).await;
    let delivery = next(&mut subscription.deliveries).await;
    assert_eq!(delivery.message.headers, publication.message.headers);
}

async fn a_message_without_headers_has_none(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["x"]).await;
    let mut subscription = consume(&*broker, "q", 1).await;
    assert!(next(&mut subscription.deliveries).await.message.headers.is_empty());
}
