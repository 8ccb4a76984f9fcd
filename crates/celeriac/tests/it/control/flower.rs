//! Flower shows our worker and its tasks, and its buttons act.

use std::process::Command;
use std::time::Duration;

use celeriac::SendOptions;
use celeriac::protocol::State;
use serde_json::Value;
use testkit::{Process, Vhost};

use super::celery::{directory, program, run};
use super::remote::{Remote, serve};
use crate::worker::setup::{SOON, Serving};
use crate::worker::tasks::{Add, FailUnacknowledged, Wait};

const STARTS_WITHIN: Duration = Duration::from_secs(90);

/// Flower in front of a virtual host.
struct Flower<'a> {
    vhost: &'a Vhost,
    address: String,
    _process: Process,
}

/// What a page is answered with.
struct Page {
    status: u64,
    body: String,
}

impl<'a> Flower<'a> {
    async fn start(vhost: &'a Vhost) -> Self {
        let port = testkit::free_port();
        let mut command = Command::new(program("celery"));
        command.args([
            "-A",
            "proj",
            "flower",
            "--address=127.0.0.1",
            "--auto_refresh=False",
            "--inspect_timeout=10000",
        ]);
        command.arg(format!("--port={port}")).arg(format!("--broker_api={}/api/", vhost.management_url()));
        command.current_dir(directory()).env("BROKER_URL", vhost.amqp_url()).env("FLOWER_UNAUTHENTICATED_API", "true");
        let mut process = Process::spawn("flower", command);
        process.wait_for_line("Connected to amqp://", STARTS_WITHIN).await;
        Self { vhost, address: format!("http://127.0.0.1:{port}"), _process: process }
    }

    /// Sends requests such as `GET /workers`, one after the other.
    async fn ask(&self, lines: &[&str]) -> Vec<Page> {
        let arguments: Vec<_> = ["fetch.py", &self.address].into_iter().chain(lines.iter().copied()).collect();
        let (status, printed, complaints) = run(self.vhost, testkit::python(), &arguments).await;
        assert_eq!(status, 0, "{complaints}");
        let pages: Vec<Value> = serde_json::from_str(&printed).unwrap();
        let page = |page: &Value| Page {
            status: page["status"].as_u64().unwrap(),
            body: page["body"].as_str().unwrap().to_owned(),
        };
        pages.iter().map(page).collect()
    }

    async fn get(&self, path: &str) -> Page {
        self.ask(&[&format!("GET {path}")]).await.remove(0)
    }

    /// A button: what Flower says when it was pressed.
    async fn press(&self, path: &str) -> String {
        let page = self.ask(&[&format!("POST {path}")]).await.remove(0);
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        page.body
    }

    /// Waits until the body of a page has all these texts.
    async fn shows(&self, path: &str, texts: &[&str]) {
        let shown = async || {
            let page = self.get(path).await;
            assert_eq!(page.status, 200, "{path}");
            match texts.iter().find(|text| !page.body.contains(**text)) {
                None => Ok(()),
                Some(missing) => Err(format!("{path} does not show {missing:?}")),
            }
        };
        testkit::eventually(Duration::from_secs(60), shown).await;
    }
}

async fn watched(vhost: &Vhost) -> (Serving, Flower<'_>) {
    let flower = Flower::start(vhost).await;
    let serving = serve(vhost, |worker| worker.concurrency(2).events(true)).await;
    Remote::of(&serving.app, &["w@test"]).await;
    (serving, flower)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flower_shows_our_worker_and_its_tasks() {
    let vhost = testkit::rabbitmq().await;
    let (serving, flower) = watched(&vhost).await;
    let app = &serving.app;
    app.send_with(Add { x: 20, y: 22 }, SendOptions::new().task_id("added")).await.unwrap();
    app.send_with(FailUnacknowledged, SendOptions::new().task_id("failed")).await.unwrap();
    app.send_with(Wait, SendOptions::new().task_id("running")).await.unwrap();
    let later = SendOptions::new().task_id("scheduled").countdown(Duration::from_secs(3600));
    app.send_with(Add { x: 1, y: 2 }, later).await.unwrap();
    serving.log.begun_count(3).await;

    flower
        .shows("/workers?json=1", &["\"hostname\": \"w@test\"", "\"status\": true", "\"sw_ident\": \"celeriac\""])
        .await;
    flower.shows("/api/workers?refresh=1&workername=w@test", &["\"registered\"", "t.add", "\"active_queues\""]).await;
    let details = ["w@test", "Celeriac.worker:Pool", "running", "scheduled", "celery", "t.add", "worker_concurrency"];
    flower.shows("/worker/w@test", &details).await;
    flower.shows("/api/tasks", &["\"added\"", "\"SUCCESS\"", "\"result\": \"42\"", "\"FAILURE\"", "\"STARTED\""]).await;
    flower.shows("/task/added", &["t.add", "SUCCESS", "42", "w@test"]).await;
    flower.shows("/task/failed", &["FAILURE", "PaymentDeclined(&#x27;insufficient funds&#x27;, 402)"]).await;
    flower.shows("/broker", &["celery"]).await;
    let pages = flower.ask(&["GET /", "GET /tasks", "GET /workers", "GET /worker/nobody@test"]).await;
    assert_eq!(pages.iter().map(|page| page.status).collect::<Vec<_>>(), [200, 200, 200, 404]);
    serving.log.gate.add_permits(1);
    serving.stop().await;
    flower.shows("/workers?json=1", &["\"hostname\": \"w@test\"", "\"status\": false"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flowers_buttons_act_on_our_worker() {
    let vhost = testkit::rabbitmq().await;
    let (serving, flower) = watched(&vhost).await;
    let app = &serving.app;
    flower.shows("/api/workers?refresh=1", &["t.limited"]).await;
    for (path, message) in [
        ("/api/task/rate-limit/t.add?workername=w@test&ratelimit=5/m", "new rate limit set successfully"),
        ("/api/task/timeout/t.add?workername=w@test&soft=10&hard=20", "time limits set successfully"),
        ("/api/worker/pool/grow/w@test?n=3", "Growing 'w@test' worker's pool by 3"),
        ("/api/worker/pool/shrink/w@test?n=1", "Shrinking 'w@test' worker's pool by 1"),
        ("/api/worker/queue/add-consumer/w@test?queue=extra", "add consumer extra"),
        ("/api/worker/queue/cancel-consumer/w@test?queue=celery", "no longer consuming from celery"),
    ] {
        let said = flower.press(path).await;
        assert!(said.contains(message), "{path}: {said}");
    }
    let remote = Remote::new(app);
    let registered = remote.ask(celeriac::control::Command::registered(["rate_limit", "time_limit"])).await;
    assert!(registered.to_string().contains("t.add [rate_limit=5/m time_limit=20]"), "{registered}");
    let stats = remote.ask(celeriac::control::Command::stats()).await;
    assert_eq!(stats["pool"]["max-concurrency"], 4);

    let result = app.send_with(Wait, SendOptions::new().task_id("running").queue("extra")).await.unwrap();
    serving.log.begun_count(1).await;
    flower.shows("/api/task/info/running", &["\"state\": \"STARTED\""]).await;
    let said = flower.press("/api/task/revoke/running?terminate=true").await;
    assert!(said.contains("Revoked 'running'"), "{said}");
    result.get(SOON).await.unwrap_err();
    assert_eq!(result.state().await.unwrap(), State::Revoked);
    flower.shows("/api/task/info/running", &["\"state\": \"REVOKED\""]).await;

    let said = flower.press("/api/worker/shutdown/w@test").await;
    assert!(said.contains("Shutting down!"), "{said}");
    serving.ended().await;
}
