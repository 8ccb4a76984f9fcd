//! A real cluster, of which a node stands still: nothing is closed, and nothing comes from it any more.

use std::time::Duration;

use celeriac::{App, QueueType};
use testkit::{OwnServer, eventually};
use tokio::time::Instant;

use super::setup::{SOON, Setup};
use super::tasks::Add;

/// Ten, and what a busy machine takes.
const GOES_ON: Duration = Duration::from_secs(15);

/// RabbitMQ believes that a node is there until it has been silent for a minute (`net_ticktime`): what it had handed to a
/// worker by way of that node stays with it so long. A queue that the node leads has another leader within seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_go_on_within_ten_seconds_when_a_node_stands_still_that_a_worker_is_connected_to_or_that_leads_the_queue()
{
    let (nodes, redis) = tokio::join!(testkit::own_rabbitmq_cluster(), testkit::redis());
    let [one, two, leader] = &nodes;
    let app = |url: &str| App::builder().broker(url).backend(redis.url()).queue_type(QueueType::Quorum);
    // Its leader is the node that it is declared on.
    app(leader.url()).build().await.unwrap().declare_queue("celery").await.unwrap();

    let mut setup = Setup::memory().await;
    setup.broker = [one, two].map(OwnServer::url).join(";");
    setup.backend = redis.url().to_owned();
    setup.queue_type = QueueType::Quorum;
    let worker = setup.serve(|worker| worker).await;
    let app_of_worker = &worker.app;
    let send = async || app_of_worker.result::<i64>(app_of_worker.send(Add { x: 1, y: 1 }).await.unwrap().id());
    assert_eq!(send().await.get(SOON).await.unwrap(), 2);
    // Its connections begin at any of the two, and meet at the one that is left.
    for node in [one, two, leader] {
        node.pause();
        let stopped = Instant::now();
        let mut sent = Vec::new();
        loop {
            let next = send().await;
            let ended = next.get(Duration::from_secs(1)).await.is_ok();
            sent.push(next);
            if ended || stopped.elapsed() > GOES_ON {
                break;
            }
        }
        let elapsed = stopped.elapsed();
        node.resume();
        assert!(elapsed < GOES_ON, "{elapsed:?}");
        // It must be there when the other one stops.
        eventually(SOON, async || app(node.url()).build().await.map(drop)).await;
        for result in sent {
            assert_eq!(result.get(SOON).await.unwrap(), 2, "what the node had is not lost");
        }
    }
    worker.stop().await;
}
