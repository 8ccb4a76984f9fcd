//! What workers and beats say to who looks after them: probes, and the status that they end with.

use std::time::Duration;

use serde_json::Value;
use testkit::{FaultProxy, Process, Signal, eventually};

use crate::system::{System, listening};

const PATIENCE: Duration = Duration::from_secs(60);

/// A role that is asked how it is.
struct Probed {
    process: Process,
    address: String,
    http: reqwest::Client,
}

impl Probed {
    async fn start(role: &str, environment: &[(&str, &str)]) -> Self {
        let mut process = Process::billing(&[role], |command| {
            command.env("HEALTH_LISTEN", "127.0.0.1:0").envs(environment.iter().copied());
        })
        .await;
        let address = listening(&mut process).await.to_string();
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { process, address, http: reqwest::Client::new() }
    }

    async fn ask(&self, probe: &str) -> (u16, Value) {
        let answer = self.http.get(format!("http://{}/{probe}", self.address)).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The details, once the status is this one.
    async fn ready(&self, status: u16) -> Value {
        eventually(PATIENCE, async || match self.ask("readyz").await {
            (told, details) if told == status => Ok(details),
            other => Err(other),
        })
        .await
    }

    /// The status of `billing health`.
    async fn health(&self) -> Option<i32> {
        let url = format!("http://{}/readyz", self.address);
        Process::billing(&["health", &url], |_| ()).await.wait(PATIENCE).await.code()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_beats_say_whether_they_are_ready_and_why_not() {
    let database = testkit::postgres().await;
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let proxy = FaultProxy::start(&vhost.amqp_url()).await;
    let broker = format!("{}?heartbeat=1", proxy.url(&vhost.amqp_url()));
    let environment =
        [("DATABASE_URL", database.url()), ("BROKER_URL", broker.as_str()), ("RESULT_BACKEND", redis.url())];
    let (mut worker, beat) = tokio::join!(Probed::start("worker", &environment), Probed::start("beat", &environment));

    let details = worker.ready(200).await;
    assert_eq!(details["consuming"], serde_json::json!({"billing": true, "payments": true}));
    assert_eq!(details["reasons"], serde_json::json!([]));
    assert_eq!(worker.health().await, Some(0));
    eventually(PATIENCE, async || beat.ready(200).await["leads"] == true).await;

    proxy.pause();
    for role in [&worker, &beat] {
        let details = role.ready(503).await;
        assert!(!details["reasons"].as_array().unwrap().is_empty());
        assert!(!details.to_string().contains("guest"), "{details}");
        assert_eq!(role.ask("livez").await.0, 200, "waiting for a broker is no reason to be killed");
    }
    assert_eq!(worker.health().await, Some(1));
    proxy.resume();
    worker.ready(200).await;
    beat.ready(200).await;

    worker.process.signal(Signal::Quit);
    assert!(worker.process.wait(PATIENCE).await.success(), "{}", worker.process.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_done_its_part_ends_with_75() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    // The beat sends something every second.
    let mut worker = system.worker_with("brief", &[("WORKER_MAX_TASKS", "2")]).await;
    let ended = worker.wait(PATIENCE).await;
    assert_eq!(ended.code(), Some(75), "{}", worker.output());
    assert!(worker.output().contains("2 tasks have ended"), "{}", worker.output());
}
