//! When task events are published: together, but none later than its task waits for something.

use std::sync::Arc;

use celeriac::broker::{self, ConnectOptions};
use serde_json::Value;

use super::on_every_broker;
use super::recording::RecordingBroker;
use super::setup::{SOON, Serving, Setup};
use super::tasks::{Nothing, Wait};

on_every_broker!(the_events_of_a_task_that_never_waits_are_one_message, a_task_that_waits_is_announced_at_once);

async fn serve(setup: &Setup) -> (Serving, Arc<RecordingBroker>) {
    let broker = broker::connect(&setup.broker, ConnectOptions::default()).await.unwrap();
    let broker = Arc::new(RecordingBroker::new(broker));
    let app = setup.builder().broker_instance(broker.clone());
    (setup.serve_app(app, |worker| worker.events(true)).await, broker)
}

/// The types of the task events of each message.
fn messages(broker: &RecordingBroker) -> Vec<Vec<String>> {
    let published = broker.published.lock();
    let of_tasks = published.iter().filter(|publication| publication.routing_key == "task.multi");
    let types = |events: Vec<Value>| events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    of_tasks.map(|publication| types(serde_json::from_slice(&publication.message.body).unwrap())).collect()
}

async fn told(broker: &RecordingBroker, expected: &[&[&str]]) {
    testkit::eventually(SOON, async || {
        let messages = messages(broker);
        if messages == expected { Ok(()) } else { Err(messages) }
    })
    .await;
}

async fn the_events_of_a_task_that_never_waits_are_one_message(setup: Setup) {
    let (serving, broker) = serve(&setup).await;
    serving.app.send(Nothing).await.unwrap().get(SOON).await.unwrap();
    told(&broker, &[&["task-received", "task-started", "task-succeeded"]]).await;
    serving.stop().await;
}

async fn a_task_that_waits_is_announced_at_once(setup: Setup) {
    let (serving, broker) = serve(&setup).await;
    let result = serving.app.send(Wait).await.unwrap();
    told(&broker, &[&["task-received", "task-started"]]).await;
    serving.log.gate.add_permits(1);
    result.get(SOON).await.unwrap();
    told(&broker, &[&["task-received", "task-started"], &["task-succeeded"]]).await;
    serving.stop().await;
}
