//! Publishing: what a confirm means, and what an error means.

use std::sync::Arc;

use celeriac::broker::{BrokerError, ExchangeKind, Publication, Topology};
use celeriac::protocol::{DeliveryMode, Properties};

use super::conformance;
use crate::broker::setup::*;

conformance! { classic, quorum, memory:
    a_message_arrives_as_it_was_sent
    a_body_of_any_size_arrives
    one_publisher_keeps_the_order
    a_mandatory_message_for_nobody_is_unroutable
    without_mandatory_a_message_for_nobody_is_dropped
    a_missing_exchange_is_unroutable_and_disturbs_nobody
    a_batch_is_answered_in_order
    a_batch_keeps_its_order
    returns_are_told_to_those_they_concern
    a_hundred_publish_at_once
    an_unconfirmed_message_arrives_and_one_for_nobody_is_no_error
    a_closed_broker_says_so
}

async fn a_message_arrives_as_it_was_sent(setup: &Setup) {
    let broker = setup.with_queue().await;
    let mut publication = to("q", "[[], {}, {}]");
    publication.message.properties = Properties {
        content_type: Some("application/json".into()),
        content_encoding: Some("utf-8".into()),
        delivery_mode: DeliveryMode::Persistent,
        priority: Some(3),
        correlation_id: Some("0b0f5a55".into()),
        reply_to: Some("oid".into()),
        expiration: Some(600_000),
        message_id: Some("m".into()),
        timestamp: Some(1_700_000_000),
        kind: Some("kind".into()),
        user_id: None,
        app_id: Some("app".into()),
    };
    publication.message.headers.insert("task", "billing.charge_payment");
    broker.publish(publication.clone()).await.unwrap();

    let mut subscription = consume(&*broker, "q", 1).await;
    let delivery = next(&mut subscription.deliveries).await;
    assert_eq!(delivery.message, publication.message);
    assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("", "q"));
    assert!(!delivery.redelivered);
}

async fn a_body_of_any_size_arrives(setup: &Setup) {
    let broker = setup.with_queue().await;
    let mut subscription = consume(&*broker, "q", 0).await;
    // Around one and two frames of 128 KiB, and many.
    for size in [0, 1, 131_063, 131_064, 131_065, 262_129, 3_000_000] {
        let sent = "x".repeat(size);
        publish(&*broker, "q", [&sent]).await;
        let delivery = next(&mut subscription.deliveries).await;
        assert!(body(&delivery) == sent, "{size} bytes became {}", delivery.message.body.len());
    }
}

async fn one_publisher_keeps_the_order(setup: &Setup) {
    let broker = setup.with_queue().await;
    let sent: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    publish(&*broker, "q", &sent).await;
    let mut subscription = consume(&*broker, "q", 0).await;
    assert_eq!(bodies(&take(&mut subscription.deliveries, 50).await), sent);
}

async fn a_mandatory_message_for_nobody_is_unroutable(setup: &Setup) {
    let broker = setup.connect().await;
    match broker.publish(to("nobody", "x")).await.unwrap_err() {
        BrokerError::Unroutable { exchange, routing_key } => {
            assert_eq!((exchange.as_str(), routing_key.as_str()), ("", "nobody"));
        }
        error => panic!("{error}"),
    }
}

async fn without_mandatory_a_message_for_nobody_is_dropped(setup: &Setup) {
    let broker = setup.connect().await;
    broker.publish(Publication { mandatory: false, ..to("nobody", "x") }).await.unwrap();
}

async fn a_missing_exchange_is_unroutable_and_disturbs_nobody(setup: &Setup) {
    let broker = setup.with_queue().await;
    let publications = (0..40).map(|number| {
        if number % 10 == 3 {
            Publication { mandatory: number == 3, ..through("missing", "q", number.to_string()) }
        } else {
            to("q", number.to_string())
        }
    });
    let answers = broker.publish_batch(publications.collect()).await;
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(()) => assert_ne!(number % 10, 3),
            Err(BrokerError::Unroutable { exchange, .. }) => {
                assert_eq!((exchange.as_str(), number % 10), ("missing", 3));
            }
            Err(error) => panic!("{number}: {error}"),
        }
    }
    publish(&*broker, "q", ["end"]).await;
    let mut subscription = consume(&*broker, "q", 0).await;
    let mut seen = bodies(&drain_until(&mut subscription, "end").await);
    // Those that were on their way when the broker closed the channel may come twice.
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 36);
}

async fn a_batch_is_answered_in_order(setup: &Setup) {
    let broker = setup.with_queue().await;
    let publications =
        (0..300).map(|number| to(if number % 3 == 0 { "nobody" } else { "q" }, number.to_string())).collect();
    let answers = broker.publish_batch(publications).await;
    assert_eq!(answers.len(), 300);
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(()) => assert_ne!(number % 3, 0, "{number}"),
            Err(BrokerError::Unroutable { .. }) => assert_eq!(number % 3, 0, "{number}"),
            Err(error) => panic!("{number}: {error}"),
        }
    }
    ready(&*broker, "q", 200).await;
}

async fn a_batch_keeps_its_order(setup: &Setup) {
    let broker = setup.with_queue().await;
    let sent: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let answers = broker.publish_batch(sent.iter().map(|body| to("q", body)).collect()).await;
    assert!(answers.iter().all(Result::is_ok));
    let mut subscription = consume(&*broker, "q", 0).await;
    assert_eq!(bodies(&take(&mut subscription.deliveries, 1000).await), sent);
}

/// Many callers at once, some of whom have nobody to send to: nobody gets the answer of another.
async fn returns_are_told_to_those_they_concern(setup: &Setup) {
    let broker = setup.with_queue().await;
    let callers = (0..400).map(|number| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            let routable = number % 7 != 0;
            let queue = if routable { "q" } else { "nobody" };
            // Same body and no ids: only the address tells them apart.
            let answer = broker.publish(to(queue, "same")).await;
            match answer {
                Ok(()) => assert!(routable, "{number} was for nobody"),
                Err(BrokerError::Unroutable { .. }) => assert!(!routable, "{number} was for q"),
                Err(error) => panic!("{number}: {error}"),
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    ready(&*broker, "q", 400 - 58).await;
}

async fn a_hundred_publish_at_once(setup: &Setup) {
    let broker = setup.with_queue().await;
    let publishers = (0..100).map(|publisher| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { publish(&*broker, "q", (0..20).map(|number| format!("{publisher}/{number}"))).await })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let mut subscription = consume(&*broker, "q", 0).await;
    let seen = bodies(&take(&mut subscription.deliveries, 2000).await);
    for publisher in 0..100 {
        let of_one: Vec<&String> = seen.iter().filter(|body| body.starts_with(&format!("{publisher}/"))).collect();
        let sent: Vec<String> = (0..20).map(|number| format!("{publisher}/{number}")).collect();
        assert_eq!(of_one, sent.iter().collect::<Vec<_>>());
    }
}

async fn an_unconfirmed_message_arrives_and_one_for_nobody_is_no_error(setup: &Setup) {
    let broker = setup.with_queue().await;
    let topology = Topology { exchanges: vec![exchange("e", ExchangeKind::Topic)], ..Topology::default() };
    broker.declare(&topology).await.unwrap();
    for number in 0..20 {
        broker.publish_unconfirmed(to("q", number.to_string())).await.unwrap();
        broker.publish_unconfirmed(through("e", "nobody", "x")).await.unwrap();
    }
    let mut subscription = consume(&*broker, "q", 0).await;
    let sent: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(bodies(&take(&mut subscription.deliveries, 20).await), sent);
}

async fn a_closed_broker_says_so(setup: &Setup) {
    let broker = setup.with_queue().await;
    broker.close().await;
    assert!(matches!(broker.publish(to("q", "x")).await, Err(BrokerError::Closed { .. })));
    assert!(matches!(broker.queue_depth("q").await, Err(BrokerError::Closed { .. })));
    assert!(matches!(&broker.publish_batch(vec![to("q", "x")]).await[..], [Err(BrokerError::Closed { .. })]));
    assert!(!broker.health().connected);
}
