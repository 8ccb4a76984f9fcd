//! No more requests in flight than allowed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cloudpayments::{Client, Error, NotProcessed};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};

use crate::gateway::{Gateway, Reply, config};

const LONG: Duration = Duration::from_secs(20);
const FOUND: &str = r#"{"Success":false,"Message":"Not found"}"#;

#[tokio::test]
async fn never_more_than_the_limit_are_in_flight() {
    const LIMIT: usize = 3;
    const CALLS: usize = 20;

    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let answers = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&answers);
    let in_flight = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let most_seen = Arc::clone(&most);
    let gateway = Gateway::start(move |_| {
        let (arrived, permits) = (arrived.clone(), Arc::clone(&permits));
        let in_flight = Arc::clone(&in_flight);
        most_seen.fetch_max(in_flight.fetch_add(1, SeqCst) + 1, SeqCst);
        async move {
            arrived.send(()).unwrap();
            permits.acquire().await.unwrap().forget();
            in_flight.fetch_sub(1, SeqCst);
            Reply::Answer(200, FOUND.to_owned())
        }
    })
    .await;

    let mut config = config(gateway.url());
    config.max_in_flight = LIMIT;
    let client = Client::new(config).unwrap();
    let mut calls = JoinSet::new();
    for call in 0..CALLS {
        let client = client.clone();
        calls.spawn(async move { client.find(&call.to_string()).await });
    }

    for _ in 0..LIMIT {
        timeout(LONG, arrivals.recv()).await.unwrap();
    }
    for _ in LIMIT..CALLS {
        // One answer lets exactly one more in.
        answers.add_permits(1);
        timeout(LONG, arrivals.recv()).await.unwrap();
    }
    answers.add_permits(LIMIT);
    while let Some(call) = timeout(LONG, calls.join_next()).await.unwrap() {
        assert!(call.unwrap().unwrap().is_none());
    }
    assert_eq!(gateway.requests().len(), CALLS);
    assert_eq!(most.load(SeqCst), LIMIT);
}

#[tokio::test]
async fn a_call_that_finds_no_free_slot_in_time_is_not_sent_and_safe_to_retry() {
    let gateway = Gateway::replying(|| Reply::Hang(Vec::new())).await;
    let mut config = config(gateway.url());
    config.max_in_flight = 1;
    config.timeout = Duration::from_millis(500);
    let client = Client::new(config).unwrap();

    // The second gets the slot when the first times out; the third waits no longer than that.
    let (first, second, third) = tokio::join!(client.find("1"), client.find("2"), client.find("3"));
    for outcome in [first, second] {
        assert!(matches!(outcome, Err(Error::OutcomeUnknown { .. })), "{outcome:?}");
    }
    let busy = matches!(third, Err(Error::SafeToRetry { why: NotProcessed::Busy, .. }));
    assert!(busy, "{third:?}");
    assert_eq!(gateway.requests().len(), 2);
}

#[tokio::test]
async fn a_call_given_up_frees_its_slot() {
    let gateway = Gateway::start(|request| async move {
        match request.json()["InvoiceId"].as_str() {
            Some("1") => Reply::Hang(Vec::new()),
            _ => Reply::Answer(200, FOUND.to_owned()),
        }
    })
    .await;
    let mut config = config(gateway.url());
    config.max_in_flight = 1;
    let client = Client::new(config).unwrap();

    let given_up = timeout(Duration::from_millis(200), client.find("1")).await;
    assert!(given_up.is_err());
    assert!(timeout(LONG, client.find("2")).await.unwrap().unwrap().is_none());
}
