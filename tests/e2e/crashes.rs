//! Nobody is charged twice and no payment is lost, whatever crashes when.

use std::time::Duration;

use billing_api::proto::PaymentStatus;
use testkit::{Process, Signal};
use tokio::task::JoinSet;

use crate::cinema::Cinema;
use crate::system::System;

const PAYMENTS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn with_workers_killed_the_broker_restarted_and_redis_emptied_every_bill_is_charged_once() {
    let mut rabbitmq = testkit::own_rabbitmq().await;
    let redis = testkit::redis().await;
    let system = System::start(rabbitmq.url(), redis.url(), "100ms").await;
    let (mut first, mut second) = tokio::join!(system.worker("first"), system.worker("second"));
    let cinema = Cinema::connect(system.api, system.sandbox).await;

    let mut paying = JoinSet::new();
    for number in 0..PAYMENTS {
        let cinema = cinema.clone();
        paying.spawn(async move {
            let account_id = cinema.sign_up().await;
            if number % 20 == 0 {
                // Longer than the workers wait: charged, and the answer is lost.
                cinema.slow_answer(&account_id, Duration::from_secs(3)).await;
            }
            cinema.pay(&account_id).await.payment_id
        });
    }

    charged(&cinema, PAYMENTS / 10).await;
    replace(&system, &mut first, "first").await;
    charged(&cinema, PAYMENTS / 4).await;
    rabbitmq.restart().await;
    charged(&cinema, PAYMENTS / 2).await;
    empty(redis.url()).await;
    replace(&system, &mut second, "second").await;

    let payments = paying.join_all().await;
    assert_eq!(payments.len(), PAYMENTS);
    for payment_id in &payments {
        let payment = cinema.outcome(payment_id, PATIENCE).await;
        assert_eq!(payment.status(), PaymentStatus::Succeeded, "{payment_id}");
    }
    let successes = cinema.successes_by_bill().await;
    assert_eq!(successes.len(), PAYMENTS, "bills charged");
    let twice: Vec<_> = successes.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "charged more than once: {twice:?}");
}

/// Waits until the gateway has charged so many bills: the system is in the middle of its work.
async fn charged(cinema: &Cinema, bills: usize) {
    testkit::eventually(PATIENCE, async || cinema.successes_by_bill().await.len() >= bills).await;
}

/// `kill -9`, and another worker takes its place.
async fn replace(system: &System, worker: &mut Process, name: &str) {
    worker.signal(Signal::Kill);
    *worker = system.worker(name).await;
}

async fn empty(redis_url: &str) {
    let client = redis::Client::open(redis_url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHDB").query_async::<()>(&mut connection).await.unwrap();
}
