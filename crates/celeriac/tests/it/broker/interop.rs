//! Python's kombu at the other end: what it writes we read, and what we write it reads, type by type.

use std::path::Path;

use bytes::Bytes;
use celeriac::protocol::{DeliveryMode, Value};
use chrono::DateTime;
use testkit::run_python;

use super::setup::*;

async fn kombu(command: &str, setup: &Setup, queue: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/broker/kombu_peer.py");
    let said = run_python(script, [command, setup.url.as_str(), queue]).await;
    assert_eq!(said.trim(), "ok");
}

#[tokio::test]
async fn kombu_and_we_read_each_other_type_by_type() {
    let setup = Setup::classic().await;
    let broker = setup.connect().await;
    declare(&*broker, setup.queue("from-kombu")).await;
    declare(&*broker, setup.queue("to-kombu")).await;
    kombu("send", &setup, "from-kombu").await;

    let mut subscription = consume(&*broker, "from-kombu", 1).await;
    let delivery = next(&mut subscription.deliveries).await;
    let headers = &delivery.message.headers;
    for (name, expected) in [
        ("lang", Value::from("py")),
        ("shadow", Value::Null),
        ("retries", Value::Int(0)),
        ("timelimit", Value::List(vec![Value::Null, Value::Int(300)])),
        ("half", Value::List(vec![Value::Float(2.5), Value::Int(-1)])),
        ("ignore_result", Value::Bool(true)),
        ("text", Value::from("платёж 💳")),
        ("int33", Value::Int(2_147_483_648)),
        ("int64_min", Value::Int(i64::MIN)),
        ("float", Value::Float(0.1)),
        ("price", Value::Decimal { scale: 2, mantissa: -1999 }),
        ("eta", Value::Timestamp(DateTime::parse_from_rfc3339("2031-05-06T07:08:09Z").unwrap().into())),
        ("raw", Value::Bytes(Bytes::from_static(b"\xff\x00\xfe"))),
    ] {
        assert_eq!(headers.get(name), Some(&expected), "{name}");
    }
    let properties = &delivery.message.properties;
    assert_eq!(properties.delivery_mode, DeliveryMode::Persistent);
    assert_eq!((properties.priority, properties.expiration), (Some(3), Some(600_000)));

    // The same message, as we write it, is to kombu what it had sent.
    let mut publication = to("to-kombu", "");
    publication.message = delivery.message;
    broker.publish(publication).await.unwrap();
    kombu("check", &setup, "to-kombu").await;
}
