//! Several servers in one address: where one begins, and how soon a silent one is left.

use std::time::Duration;

use celeriac::broker::{ConnectOptions, connect};
use testkit::FaultProxy;
use tokio::time::{Instant, timeout};

use super::setup::{SOON, Setup, body, consume, next, to};

/// One broker behind two names.
struct Two {
    setup: Setup,
    names: [FaultProxy; 2],
}

impl Two {
    async fn start() -> Self {
        let setup = Setup::classic().await;
        setup.with_queue().await.close().await;
        let names = [FaultProxy::start(&setup.url).await, FaultProxy::start(&setup.url).await];
        Self { setup, names }
    }

    fn url(&self) -> String {
        let [one, two] = &self.names;
        format!("{};{}", one.url(&self.setup.url), two.url(&self.setup.url))
    }
}

#[tokio::test]
async fn connections_begin_at_any_of_the_servers() {
    let two = Two::start().await;
    let mut brokers = Vec::new();
    for _ in 0..8 {
        brokers.push(connect(&two.url(), ConnectOptions::default()).await.unwrap());
    }
    // Sixteen connections: that all of them are on one side happens once in 32,768 times.
    for name in &two.names {
        assert!(name.accepted() > 0, "{:?} of 16", two.names.each_ref().map(FaultProxy::accepted));
    }
    for broker in brokers {
        broker.close().await;
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_for_the_next_within_ten_seconds() {
    let two = Two::start().await;
    for name in &two.names {
        let broker = connect(&two.url(), ConnectOptions::default()).await.unwrap();
        let mut subscription = consume(&*broker, "q", 5).await;
        name.pause();
        let silent = Instant::now();
        broker.publish(to("q", "through the silence")).await.unwrap();
        assert_eq!(body(&next(&mut subscription.deliveries).await), "through the silence");
        // Ten, and what a busy machine takes.
        assert!(silent.elapsed() < Duration::from_secs(20), "{:?}", silent.elapsed());
        name.cut();
        name.resume();
        broker.close().await;
    }
}

#[tokio::test]
async fn a_silent_server_does_not_hide_the_next_one_at_the_start() {
    let two = Two::start().await;
    two.names[0].pause();
    for _ in 0..4 {
        let began = Instant::now();
        let broker = timeout(SOON, connect(&two.url(), ConnectOptions::default())).await.expect("in time").unwrap();
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        broker.publish(to("q", "hello")).await.unwrap();
        broker.close().await;
    }
}
