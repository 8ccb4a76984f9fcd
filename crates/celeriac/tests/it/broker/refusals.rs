//! What cannot work is said at once, with the address and without the password.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use celeriac::broker::{
    Binding, BindingDestination, BrokerError, ConnectOptions, ConsumeOptions, Exchange, ExchangeKind, Publication,
    Topology, connect,
};
use celeriac::protocol::Value;
use testkit::{FaultProxy, Permissions};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::Instant;
use url::Url;

use super::setup::*;

fn with(url: &str, change: impl FnOnce(&mut Url)) -> String {
    let mut url = Url::parse(url).unwrap();
    change(&mut url);
    url.into()
}

async fn refusal(url: &str) -> String {
    let began = Instant::now();
    let error = connect(url, ConnectOptions::default()).await.err().expect("it must be refused");
    assert!(began.elapsed() < Duration::from_secs(10), "it was said after {:?}", began.elapsed());
    assert!(matches!(error, BrokerError::Refused { .. }), "{error:?}");
    let text = error.to_string();
    assert!(!text.contains("s3cret") && !text.contains(":guest@"), "{text}");
    text
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once() {
    let setup = Setup::classic().await;
    let url = with(&setup.url, |url| url.set_password(Some("s3cret")).unwrap());
    let text = refusal(&url).await;
    assert!(text.contains("amqp://guest@127.0.0.1:") && text.contains("ACCESS_REFUSED"), "{text}");
    assert!(text.contains("check the user, the password"), "{text}");
}

#[tokio::test]
async fn a_missing_virtual_host_is_refused_at_once() {
    let setup = Setup::classic().await;
    let url = with(&setup.url, |url| url.set_path("/nowhere"));
    let text = refusal(&url).await;
    assert!(text.contains("vhost nowhere not found") && text.contains("check the virtual host"), "{text}");
}

#[tokio::test]
async fn an_unknown_scheme_is_refused_with_those_that_exist() {
    let text = refusal("redis://u:s3cret@localhost").await;
    assert_eq!(text, "redis://u@localhost: no broker for redis://; use amqp://, amqps:// or memory://");
}

#[tokio::test]
async fn an_unreachable_broker_is_given_up_after_the_connect_timeout() {
    let options = ConnectOptions { connect_timeout: Duration::from_millis(500), ..ConnectOptions::default() };
    let port = testkit::free_port();
    let error = connect(&format!("amqp://u:s3cret@127.0.0.1:{port}"), options).await.err().unwrap();
    let BrokerError::Timeout { address, waited, reason } = &error else { panic!("{error:?}") };
    assert_eq!(address, &format!("amqp://u@127.0.0.1:{port}//"));
    assert_eq!(*waited, Duration::from_millis(500));
    assert!(reason.contains("Connection refused"), "{reason}");
    assert!(!error.to_string().contains("s3cret"));
}

#[tokio::test]
async fn the_first_server_that_answers_is_taken() {
    let setup = Setup::classic().await;
    let alternates = format!("amqp://127.0.0.1:{};{}", testkit::free_port(), setup.url);
    let broker = connect(&alternates, ConnectOptions::default()).await.unwrap();
    declare(&*broker, setup.queue("q")).await;
    publish(&*broker, "q", ["x"]).await;
    assert!(broker.address().contains(';'));
}

#[tokio::test]
async fn a_broker_that_never_answers_is_given_up_after_the_connect_timeout() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.url).await;
    proxy.pause();
    let options = ConnectOptions {
        connect_timeout: Duration::from_secs(1),
        attempt_timeout: Duration::from_millis(200),
        ..ConnectOptions::default()
    };
    let error = connect(&proxy.url(&setup.url), options).await.err().unwrap();
    assert!(
        matches!(&error, BrokerError::Timeout { reason, .. } if reason.contains("no answer within 200ms")),
        "{error}"
    );
}

/// A load balancer without a broker behind it: it takes connections and says nothing.
#[tokio::test]
async fn attempts_that_were_given_up_leave_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    tokio::spawn({
        let (accepted, ended) = (accepted.clone(), ended.clone());
        async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                accepted.fetch_add(1, SeqCst);
                let ended = ended.clone();
                tokio::spawn(async move {
                    while socket.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {}
                    ended.fetch_add(1, SeqCst);
                });
            }
        }
    });
    let options = ConnectOptions {
        connect_timeout: Duration::from_secs(1),
        attempt_timeout: Duration::from_millis(100),
        ..ConnectOptions::default()
    };
    let error = connect(&format!("amqp://{address}"), options).await.err().unwrap();
    assert!(matches!(error, BrokerError::Timeout { .. }), "{error}");
    assert!(accepted.load(SeqCst) >= 4, "both connections were tried again");
    testkit::eventually(SOON, async || accepted.load(SeqCst) == ended.load(SeqCst)).await;
}

/// What RabbitMQ would answer by closing the channel, or the connection, of everybody else.
#[tokio::test]
async fn what_cannot_be_put_on_the_wire_is_refused_alone() {
    let setup = Setup::classic().await;
    let broker = setup.with_queue().await;
    let long = "n".repeat(256);
    let with_header = |name: &str, value: Value| {
        let mut publication = to("q", "x");
        publication.message.headers.insert(name, value);
        publication
    };
    let with_id = |id: &str| {
        let mut publication = to("q", "x");
        publication.message.properties.correlation_id = Some(id.to_owned());
        publication
    };
    let bad: Vec<(Publication, &str)> = vec![
        (to(&long, "x"), "routing key has 256 bytes"),
        (through(&long, "q", "x"), "exchange has 256 bytes"),
        (with_id(&long), "correlation_id has 256 bytes"),
        (with_header(&long, Value::Null), "header has 256 bytes"),
        (with_header("rate", Value::Float(f64::NAN)), "\"rate\": NaN"),
        (with_header("argsrepr", Value::Str("x".repeat(200_000))), "the headers have 200"),
    ];
    for (publication, part) in bad {
        let others = [to("q", "before"), publication.clone(), to("q", "after")];
        let answers = broker.publish_batch(others.to_vec()).await;
        let unconfirmed = broker.publish_unconfirmed(publication).await;
        for answer in [&answers[1], &unconfirmed] {
            let Err(BrokerError::Refused { reason, .. }) = answer else { panic!("{answer:?} but not {part}") };
            assert!(reason.contains(part), "{reason}");
        }
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    }
    let declared = broker.declare(&Topology { queues: vec![durable(&long)], ..Topology::default() }).await;
    let consumed = broker.consume(ConsumeOptions { queue: long, ..ConsumeOptions::default() }).await.map(drop);
    for answer in [declared, consumed] {
        assert!(matches!(answer, Err(BrokerError::Refused { .. })), "{answer:?}");
    }
}

/// The broker closes the channel for one message: everybody else's goes through.
#[tokio::test]
async fn a_message_that_the_broker_refuses_is_found_among_many() {
    let setup = Setup::classic().await;
    let broker = setup.with_queue().await;
    let publications = (0..100).map(|number| {
        let mut publication = to("q", number.to_string());
        if number == 37 || number == 38 {
            // Only the user who is logged in may be named.
            publication.message.properties.user_id = Some("somebody".to_owned());
        }
        publication
    });
    let answers = broker.publish_batch(publications.collect()).await;
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Err(BrokerError::Refused { reason, .. }) => {
                assert!((37..=38).contains(&number) && reason.contains("user_id"), "{number}: {reason}");
            }
            answer => assert!(answer.is_ok() && !(37..=38).contains(&number), "{number}: {answer:?}"),
        }
    }
    publish(&*broker, "q", ["end"]).await;
    let mut subscription = consume(&*broker, "q", 0).await;
    let mut seen = bodies(&drain_until(&mut subscription, "end").await);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 98);
}

/// A queue of type stream cannot keep decimals in headers: RabbitMQ's channel crashes over one, and takes the connection
/// along (541 INTERNAL_ERROR).
#[tokio::test]
async fn a_message_over_which_the_broker_closes_the_connection_is_found_among_many_and_refused_alone() {
    let setup = Setup::classic().await;
    // RabbitMQ takes seconds for each crash when the machine is busy.
    let options = ConnectOptions { publish_timeout: Duration::from_secs(120), ..ConnectOptions::default() };
    let broker = connect(&setup.url, options).await.unwrap();
    declare(&*broker, setup.queue("q")).await;
    let mut stream = durable("stream");
    stream.arguments.insert("x-queue-type", "stream");
    declare(&*broker, stream).await;
    let fatal = |number: usize| {
        let mut publication = to("stream", number.to_string());
        if number == 37 || number == 38 {
            publication.message.headers.insert("price", Value::Decimal { scale: 2, mantissa: 1_250 });
        }
        publication
    };
    // On other lanes, and on the same ones behind.
    let beside = async {
        for number in 0..50 {
            broker.publish(to("q", number.to_string())).await.unwrap();
        }
    };
    let batches = (0..4).map(|part| broker.publish_batch((part * 25..part * 25 + 25).map(fatal).collect()));
    let (batches, ()) = tokio::join!(futures_util::future::join_all(batches), beside);
    for (number, answer) in batches.iter().flatten().enumerate() {
        match answer {
            Err(BrokerError::Refused { reason, .. }) => {
                assert!((37..=38).contains(&number) && reason.contains("INTERNAL_ERROR"), "{number}: {reason}");
            }
            answer => assert!(answer.is_ok() && !(37..=38).contains(&number), "{number}: {answer:?}"),
        }
    }
    // Nothing is suspected any longer.
    let began = Instant::now();
    broker.publish_batch((0..200).map(|number| to("q", number.to_string())).collect()).await;
    broker.publish(to("q", "end")).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// A full queue may be emptied: the broker's "no" is only final when the caller's time is over.
#[tokio::test]
async fn what_a_full_queue_rejects_is_tried_again_until_the_publish_timeout_and_is_no_lost_connection() {
    let setup = Setup::classic().await;
    let options = ConnectOptions { publish_timeout: Duration::from_secs(2), ..ConnectOptions::default() };
    let broker = connect(&setup.url, options).await.unwrap();
    let mut queue = setup.queue("q");
    queue.arguments.insert("x-max-length", 1_i64);
    queue.arguments.insert("x-overflow", "reject-publish");
    declare(&*broker, queue).await;
    publish(&*broker, "q", ["first"]).await;
    let error = broker.publish(to("q", "too much")).await.unwrap_err();
    assert!(matches!(&error, BrokerError::Rejected { .. }), "{error}");
    assert!(error.to_string().contains("a queue is full"), "{error}");

    let patient = tokio::spawn({
        let broker = broker.clone();
        async move { broker.publish(to("q", "second")).await }
    });
    // It has been rejected by now, or will be.
    let mut subscription = consume(&*broker, "q", 1).await;
    let first = next(&mut subscription.deliveries).await;
    subscription.control.ack(first.tag, false).await.unwrap();
    patient.await.unwrap().unwrap();
    assert_eq!((body(&first), body(&next(&mut subscription.deliveries).await)), ("first".into(), "second".into()));
}

#[tokio::test]
async fn bytes_that_are_no_text_survive() {
    let setup = Setup::classic().await;
    let broker = setup.with_queue().await;
    let mut publication = to("q", "");
    publication.message.body = Bytes::from_static(b"\x80\x81\xff\x00");
    broker.publish(publication.clone()).await.unwrap();
    let mut subscription = consume(&*broker, "q", 1).await;
    assert_eq!(next(&mut subscription.deliveries).await.message.body, publication.message.body);
}

#[tokio::test]
async fn a_user_who_may_configure_nothing_uses_what_others_have_declared() {
    let vhost = testkit::rabbitmq().await;
    let owner = connect(&vhost.amqp_url(), ConnectOptions::default()).await.unwrap();
    let topology = Topology {
        exchanges: vec![Exchange { name: "x".into(), kind: ExchangeKind::Direct, durable: true, auto_delete: false }],
        queues: vec![durable("q")],
        bindings: vec![Binding {
            exchange: "x".into(),
            destination: BindingDestination::Queue("q".into()),
            routing_key: "k".into(),
        }],
    };
    owner.declare(&topology).await.unwrap();
    let url = vhost.amqp_url_of("guest", Permissions { configure: "", ..Permissions::ALL }).await;
    let proxy = FaultProxy::start(&url).await;
    let broker = connect(&proxy.url(&url), ConnectOptions::default()).await.unwrap();
    broker.declare(&topology).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    let mut subscription = consume(&*broker, "q", 10).await;
    assert_eq!(bodies(&take(&mut subscription.deliveries, 1).await), ["1"]);
    // It is found again after a lost connection.
    proxy.cut();
    testkit::eventually(SOON, async || broker.publish(to("q", "2")).await.is_ok()).await;
    while subscription.deliveries.recv().await.unwrap().message.body != "2" {}

    // What nobody has declared is refused, with the reason.
    let missing = Topology { queues: vec![durable("missing")], ..Topology::default() };
    let error = broker.declare(&missing).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BrokerError::Refused { .. }) && text.contains("ACCESS_REFUSED"), "{text}");
    assert!(text.contains("check the user, the password and the permissions"), "{text}");
}
