//! The broker goes away while something is being parked or requeued.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use celeriac::broker::{self, ConnectOptions};
use testkit::FaultProxy;

use super::super::recording::RecordingBroker;
use super::*;

/// An application that loses its connections each time that one of the first `cuts` messages to `queue` is confirmed: what
/// follows of it can not be acknowledged.
async fn cut_off(setup: &Setup, proxy: &Arc<FaultProxy>, queue: &'static str, cuts: usize) -> celeriac::AppBuilder {
    let broker = broker::connect(&proxy.url(&setup.broker), ConnectOptions::default()).await.unwrap();
    let (proxy, confirmed) = (Arc::clone(proxy), AtomicUsize::new(0));
    let broker = RecordingBroker::new(broker).on_confirmed(move |publication| {
        if publication.routing_key == queue && confirmed.fetch_add(1, Ordering::Relaxed) < cuts {
            proxy.cut();
        }
    });
    setup.builder().broker_instance(Arc::new(broker))
}

fn ids(list: &[ParkedMessage]) -> HashSet<String> {
    list.iter().filter_map(|message| message.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_when_the_connection_is_lost_is_parked_twice_at_worst() {
    for setup in [Setup::classic().await, Setup::quorum().await] {
        let proxy = Arc::new(FaultProxy::start(&setup.broker).await);
        let app = cut_off(&setup, &proxy, "celery.parked", 3).await;
        let worker = setup.serve_app(app, |worker| worker.parking(true)).await;
        let direct = setup.app().await;
        let sent: HashSet<String> = (0..20).map(|number| number.to_string()).collect();
        for id in &sent {
            send_new(&direct, id).await;
        }
        testkit::eventually(SOON, async || {
            let depth = direct.broker().queue_depth("celery.parked").await.unwrap().map_or(0, |depth| depth.messages);
            if depth >= 20 && worker.handle.unacknowledged() == 0 { Ok(()) } else { Err(depth) }
        })
        .await;
        worker.settled("celery").await;
        worker.stop().await;
        waiting(&direct, "celery", 0).await;
        let list = direct.parking("celery").list(1000).await.unwrap();
        assert_eq!(ids(&list), sent, "nothing is lost");
        assert!(list.len() > 20, "the test has cut nothing off");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_requeued_when_the_connection_is_lost_is_in_one_queue_at_least() {
    for setup in [Setup::classic().await, Setup::quorum().await] {
        let worker = serve(&setup, |worker| worker).await;
        let sent: HashSet<String> = (0..5).map(|number| number.to_string()).collect();
        for id in &sent {
            send_new(&worker.app, id).await;
        }
        parked(&worker.app, 5).await;
        worker.stop().await;

        let proxy = Arc::new(FaultProxy::start(&setup.broker).await);
        let app = cut_off(&setup, &proxy, "celery", 1).await.build().await.unwrap();
        app.parking("celery").requeue(&Selection::all().ids(["3"])).await.unwrap();
        app.close().await;
        let direct = setup.app().await;
        let requeued = drain(&direct, "celery", 1).await;
        assert_eq!(requeued[0].message.properties.correlation_id.as_deref(), Some("3"));
        // It was not acknowledged where it was parked.
        assert_eq!(ids(&parked(&direct, 5).await), sent);
    }
}
