//! Flower in Chromium shows our worker and its tasks, and its buttons act.

use std::process::Command;
use std::time::Duration;

use celeriac::SendOptions;
use celeriac::protocol::State;
use serde_json::json;
use testkit::{Process, Vhost};

use super::celery::{directory, program, run};
use super::remote::{Remote, serve};
use crate::worker::setup::{SOON, Serving};
use crate::worker::tasks::{Add, Autoretry, Echo, FailUnacknowledged, Wait};

const STARTS_WITHIN: Duration = Duration::from_secs(90);

/// Starts Flower in front of a virtual host; answers its address, too.
async fn flower(vhost: &Vhost) -> (Process, String) {
    let port = testkit::free_port();
    let mut command = Command::new(program("celery"));
    command.args(["-A", "proj", "flower", "--address=127.0.0.1", "--inspect_timeout=10000"]);
    command.arg(format!("--port={port}")).arg(format!("--broker_api={}/api/", vhost.management_url()));
    command.current_dir(directory()).env("BROKER_URL", vhost.amqp_url()).env("FLOWER_UNAUTHENTICATED_API", "true");
    let mut process = Process::spawn("flower", command);
    process.wait_for_line("Connected to amqp://", STARTS_WITHIN).await;
    (process, format!("http://127.0.0.1:{port}"))
}

/// What `browse.py` expects to see.
async fn run_tasks(serving: &Serving) {
    let app = &serving.app;
    let with_id = |id: &str| SendOptions::new().task_id(id);
    app.send_with(Add { x: 20, y: 22 }, with_id("added")).await.unwrap();
    app.send_with(FailUnacknowledged, with_id("failed")).await.unwrap();
    app.send_with(Autoretry, with_id("retried")).await.unwrap();
    let value = json!({"<b>bold</b>": ["it's", "снег ☃", null, 1.5]});
    app.send_with(Echo { value }, with_id("echoed")).await.unwrap();
    app.send_with(Wait, with_id("running")).await.unwrap();
    app.send_with(Add { x: 1, y: 2 }, with_id("scheduled").countdown(Duration::from_secs(3600))).await.unwrap();
    serving.log.begun_count(6).await;
    testkit::eventually(SOON, async || serving.handle.scheduled().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flower_in_chromium_shows_our_worker_and_its_tasks_and_its_buttons_act() {
    let vhost = testkit::rabbitmq().await;
    let (_flower, address) = flower(&vhost).await;
    let serving = serve(&vhost, |worker| worker.concurrency(2).events(true)).await;
    Remote::of(&serving.app, &["w@test"]).await;
    run_tasks(&serving).await;

    let (status, printed, complaints) = run(&vhost, testkit::python(), &["browse.py", &address]).await;
    assert_eq!(status, 0, "{printed}\n{complaints}");

    // The last button was the one that shuts down. What the others have done:
    for id in ["running", "scheduled"] {
        assert_eq!(serving.app.result::<()>(id).state().await.unwrap(), State::Revoked, "{id}");
    }
    serving.ended().await;
}
