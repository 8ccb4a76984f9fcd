//! A cluster with something of everything.

use std::path::Path;
use std::process::Command as Program;
use std::sync::Arc;
use std::time::Duration;

use celeriac::beat::store;
use celeriac::control::{Client, Command};
use celeriac::{App, Beat, Context, Entry, Failure, SendOptions, Task, TaskError, TaskResult, Worker};
use celeriac_dashboard::{Dashboard, Link};
use listener::{Limits, Listener};
use serde::{Deserialize, Serialize};
use serde_json::json;
use testkit::{Process, RedisDb, Vhost};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) const ACT: &str = "a token to act";
pub(crate) const STARTS_WITHIN: Duration = Duration::from_secs(90);
pub(crate) const SOON: Duration = Duration::from_secs(60);

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.charge", queue = "shop")]
pub(crate) struct Charge {
    pub(crate) order: u32,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.ship", queue = "shop")]
pub(crate) struct Ship {
    order: u32,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.refuse", queue = "shop")]
pub(crate) struct Refuse {}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.try_again", queue = "shop")]
pub(crate) struct TryAgain {}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.wait", queue = "shop")]
pub(crate) struct Wait {}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.tidy", queue = "shop")]
struct Tidy {}

pub(crate) async fn charge(task: Charge, cx: Context) -> TaskResult<String> {
    cx.app().send(Ship { order: task.order }).await?;
    Ok(format!("charged {}", "x".repeat(2_000)))
}

pub(crate) async fn ship(task: Ship, _: Context) -> TaskResult<u32> {
    Ok(task.order)
}

pub(crate) async fn refuse(_: Refuse, _: Context) -> TaskResult<()> {
    Err(TaskError::fail(Failure::new("Declined", ["the bank says no: <b>insufficient funds</b>"])))
}

pub(crate) async fn try_again(_: TryAgain, cx: Context) -> TaskResult<()> {
    if cx.request().retries == 0 {
        return Err(TaskError::retry_in(Duration::from_secs(1), Failure::new("Busy", ["not now"])));
    }
    Ok(())
}

pub(crate) async fn wait(_: Wait, _: Context) -> TaskResult<()> {
    std::future::pending().await
}

async fn tidy(_: Tidy, _: Context) -> TaskResult<()> {
    Ok(())
}

/// Servers, two workers, a beat and a dashboard.
pub(crate) struct Cluster {
    pub(crate) app: App,
    pub(crate) address: String,
    pub(crate) stop: CancellationToken,
    pub(crate) python: Process,
    _vhost: Vhost,
    _redis: RedisDb,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
        let builder = App::builder().broker(vhost.amqp_url()).backend(redis.url()).default_queue("shop");
        let app = builder.sent_events(true).build().await.expect("both servers are there");
        let stop = CancellationToken::new();

        // First who listens: what was announced before is not heard.
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let bound = tcp.local_addr().expect("a port");
        let schedule = store::connect(redis.url()).await.expect("Redis is there");
        store_an_entry(redis.url()).await;
        let tidy_up = || Entry::every("tidy-up", Duration::from_secs(3), Tidy {});
        let pages = Dashboard::builder(app.clone())
            .title("Shop queues")
            .act_token(ACT)
            .queues(["shop", "python"])
            .management(vhost.management_url().parse().expect("a URL"))
            .schedule(Arc::clone(&schedule))
            .entries([tidy_up()])
            .link(|name, kwargs| {
                let order = kwargs.strip_prefix("{'order': ")?.strip_suffix('}')?;
                (name == "shop.charge")
                    .then(|| Link { text: format!("Order {order}"), href: format!("/orders/{order}") })
            })
            .shutdown(stop.clone());
        let pages = pages.into_router(bound).expect("it is a loopback address");
        let serving = stop.clone();
        tokio::spawn(async move { Listener::new(tcp, Limits::DEFAULT).serve(pages, serving).await });

        let beat = Beat::builder(app.clone()).store(schedule).entry(tidy_up()).build();
        tokio::spawn(beat.run(stop.clone()));
        let worker = Worker::builder(app.clone()).hostname("w@rust").queues(["shop"]).events(true).parking(true);
        let worker = worker.task(charge).task(ship).task(refuse).task(try_again).task(wait).task(tidy).concurrency(4);
        tokio::spawn(worker.build().expect("the configuration can be").run(stop.clone()));
        let mut python = python(&vhost, &redis);
        python.wait_for_line(" ready.", STARTS_WITHIN).await;
        let address = format!("http://{bound}");
        Self { app, address, stop, python, _vhost: vhost, _redis: redis }
    }

    /// Sends tasks that end in every way, and waits until the dashboard has heard of it.
    pub(crate) async fn work(&self) {
        let with_id = |id: &str| SendOptions::new().task_id(id);
        for order in 0..60 {
            self.app.send(Charge { order }).await.expect("the broker takes it");
        }
        self.app.send_with(Charge { order: 7 }, with_id("charged")).await.unwrap();
        self.app.send_with(Refuse {}, with_id("refused")).await.unwrap();
        self.app.send_with(TryAgain {}, with_id("retried")).await.unwrap();
        self.app.send_with(Wait {}, with_id("running")).await.unwrap();
        let later = with_id("scheduled").countdown(Duration::from_secs(3_600));
        self.app.send_with(Charge { order: 8 }, later).await.unwrap();
        let python = |id: &str| with_id(id).queue("python");
        self.app.send_named("python.add", [1, 2], json!({}), python("added")).await.unwrap();
        self.app.send_named("python.fail", [0; 0], json!({}), python("failed")).await.unwrap();
        for id in ["unknown-1", "unknown-2", "unknown-3"] {
            self.app.send_named("shop.unknown", ["Ada"], json!({}), with_id(id).queue("shop")).await.unwrap();
        }
        for (id, text) in [
            ("charged", "SUCCESS"),
            ("refused", "FAILURE"),
            ("retried", "SUCCESS"),
            ("running", "STARTED"),
            ("scheduled", "RECEIVED"),
            ("added", "SUCCESS"),
            ("failed", "FAILURE"),
        ] {
            self.shows(&format!("/tasks/{id}"), text).await;
        }
        self.shows("/parked", "> 3<").await;
    }

    /// Once the page has the text.
    pub(crate) async fn shows(&self, path: &str, text: &str) {
        testkit::eventually(SOON, async || {
            let page = self.page(path).await;
            if page.contains(text) { Ok(()) } else { Err(format!("{text} is not on {path}: {page}")) }
        })
        .await;
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = get(&format!("{}{path}", self.address)).await;
        answer.text().await.expect("a page")
    }

    /// What one worker replies.
    pub(crate) async fn ask(&self, command: Command, node: &str) -> serde_json::Value {
        let client = Client::new(Arc::clone(self.app.broker()));
        let reply = client.call(command.to([node]), SOON).await.unwrap().next().await.expect("it answers");
        serde_json::from_slice(reply.value.as_bytes()).expect("JSON")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// As an operator would: an entry that is in no code.
async fn store_an_entry(url: &str) {
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is there");
    let entry = r#"{"task": "shop.tidy", "queue": "shop", "every": 3600}"#;
    let mut change = redis::pipe();
    change.hset("celeriac:{beat}:entries", "stored", entry).incr("celeriac:{beat}:version", 1);
    change.exec_async(&mut connection).await.expect("Redis takes it");
}

/// What stands there, or is told from there.
pub(crate) async fn get(url: &str) -> reqwest::Response {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client").get(url).send().await.expect("it listens")
}

/// A worker of Python, `w@python`, that takes from the queue `python`.
pub(crate) fn python(vhost: &Vhost, redis: &RedisDb) -> Process {
    let mut command = Program::new(testkit::python());
    command.args(["-m", "celery", "-A", "proj", "worker", "-n", "w@python", "-c", "2", "-P", "threads", "-E"]);
    command.args(["-l", "INFO", "-Q", "python"]).current_dir(directory());
    command.env("BROKER_URL", vhost.amqp_url()).env("RESULT_BACKEND", redis.url()).env("PYTHONDONTWRITEBYTECODE", "1");
    Process::spawn("python worker", command)
}

/// Where the scripts are.
pub(crate) fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")
}
