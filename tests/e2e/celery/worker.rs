//! Two workers with the same tasks and the same things to do, one of Celery's and one of ours.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use celeriac::control::{Client, Command as Remote};
use celeriac::protocol::RawJson;
use celeriac::worker::Call;
use celeriac::{App, Context, Failure, SendOptions, Task, TaskError, TaskOptions, TaskResult, Worker, WorkerError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::{Process, RedisDb, Vhost};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const STARTS_WITHIN: Duration = Duration::from_secs(90);

/// One of the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Twin {
    pub(super) node: &'static str,
    pub(super) queue: &'static str,
}

pub(super) const PYTHON: Twin = Twin { node: "w@python", queue: "q-python" };
pub(super) const OURS: Twin = Twin { node: "w@ours", queue: "q-ours" };

impl Twin {
    /// A command line for this worker.
    pub(super) fn fill(self, line: &str) -> String {
        let ids = ["running", "reserved", "scheduled"];
        let line = ids.iter().fold(line.to_owned(), |line, name| line.replace(&format!("ID/{name}"), &self.id(name)));
        line.replace("NODE", self.node).replace("QUEUE", self.queue)
    }

    /// The id of the task of this name; they are UUIDs, so that they look alike.
    pub(super) fn id(self, name: &str) -> String {
        let number = ["running", "reserved", "scheduled"].iter().position(|known| *known == name).unwrap();
        format!("{number:08x}-0000-4000-8000-{:012x}", usize::from(self == OURS))
    }
}

pub(super) struct Twins {
    python: Process,
    ours: Option<JoinHandle<Result<(), WorkerError>>>,
    app: App,
    vhost: Vhost,
    redis: RedisDb,
}

impl Twins {
    pub(super) async fn start() -> Self {
        let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
        let app = App::builder().broker(vhost.amqp_url()).backend(redis.url()).build().await.unwrap();
        let mut command = Command::new(testkit::python().with_file_name("celery"));
        command.args(["-A", "twin", "worker", "-n", PYTHON.node, "-Q", PYTHON.queue, "-c", "1", "-l", "INFO"]);
        command.current_dir(super::directory()).envs(environment(&vhost, &redis));
        let mut python = Process::spawn("celery worker", command);
        python.wait_for_line(" ready.", STARTS_WITHIN).await;
        Self { python, ours: None, app, vhost, redis }
    }

    pub(super) async fn start_ours(&mut self) {
        let worker = Worker::builder(self.app.clone()).hostname(OURS.node).queues([OURS.queue]).concurrency(1);
        let worker = worker.task(add).task(wait).task(limited).task(retry).task(reject);
        let worker = worker.task_named("t.fail", TaskOptions::DEFAULT, fail);
        let worker = worker.task_named("t.rich", TaskOptions::DEFAULT, rich).build().unwrap();
        self.ours = Some(tokio::spawn(worker.run(CancellationToken::new())));
        let both = async || self.ask(Remote::ping()).await.len() == 2;
        testkit::eventually(STARTS_WITHIN, both).await;
    }

    /// Whether tasks are announced.
    pub(super) async fn set_events(&self, events: bool) {
        let command = if events { Remote::enable_events() } else { Remote::disable_events() };
        assert_eq!(self.ask(command).await.len(), 2);
    }

    pub(super) fn environment(&self) -> Vec<(String, String)> {
        environment(&self.vhost, &self.redis)
    }

    async fn ask(&self, command: Remote) -> Vec<Value> {
        let client = Client::new(Arc::clone(self.app.broker()));
        let command = command.to([PYTHON.node, OURS.node]);
        let replies = client.call(command, Duration::from_secs(1)).await.unwrap().collect().await;
        replies.iter().map(|reply| serde_json::from_str(reply.value.as_str()).unwrap()).collect()
    }

    /// Each has a task that runs, one that waits for it to end, and one that waits for its time.
    pub(super) async fn make_busy(&self) {
        for twin in [PYTHON, OURS] {
            let options = |name| SendOptions::new().task_id(twin.id(name)).queue(twin.queue);
            let send = async |name: &str, args: Value, options: SendOptions| {
                self.app.send_named(name, args, json!({}), options).await.unwrap();
            };
            send("t.wait", json!([]), options("running")).await;
            send("t.add", json!([1, 2]), options("reserved")).await;
            send("t.add", json!([3, 4]), options("scheduled").countdown(Duration::from_secs(3600))).await;
        }
        for command in [Remote::active(false), Remote::reserved(), Remote::scheduled()] {
            let is_there = async || {
                let replies = self.ask(command.clone()).await;
                replies.len() == 2 && replies.iter().all(|held| held.as_array().unwrap().len() == 1)
            };
            testkit::eventually(STARTS_WITHIN, is_there).await;
        }
    }

    /// Sees to it that exactly so many messages wait in a queue that nobody consumes.
    pub(super) async fn park(&self, count: usize) {
        let broker = self.app.broker();
        if broker.queue_depth("parked").await.unwrap().is_some() {
            broker.purge("parked").await.unwrap();
        }
        for _ in 0..count {
            self.app.send_with(Limited, SendOptions::new().queue("parked")).await.unwrap();
        }
    }

    /// Both have been told to shut down.
    pub(super) async fn ended(&mut self) {
        assert!(self.python.wait(STARTS_WITHIN).await.success(), "{}", self.python.output());
        let ours = self.ours.take().expect("it was started");
        tokio::time::timeout(STARTS_WITHIN, ours).await.unwrap().unwrap().unwrap();
    }
}

fn environment(vhost: &Vhost, redis: &RedisDb) -> Vec<(String, String)> {
    let management = url::Url::parse(&vhost.management_url()).unwrap();
    let port = management.port().unwrap().to_string();
    [
        ("BROKER_URL", vhost.amqp_url()),
        ("RESULT_BACKEND", redis.url().to_owned()),
        ("BROKER_API", vhost.management_url()),
        ("MANAGEMENT_PORT", port),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.add", acks_late)]
struct Add {
    x: i64,
    y: i64,
}

async fn add(task: Add, _: Context) -> TaskResult<i64> {
    Ok(task.x + task.y)
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.wait", acks_late)]
struct Wait;

async fn wait(_: Wait, _: Context) -> TaskResult<()> {
    std::future::pending().await
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.limited", rate_limit = "10/m")]
pub(super) struct Limited;

async fn limited(_: Limited, _: Context) -> TaskResult<()> {
    Ok(())
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.retry")]
struct Retry;

async fn retry(_: Retry, cx: Context) -> TaskResult<&'static str> {
    if cx.request().retries == 0 {
        let cause = Failure::new("Declined", ["not yet"]).with_module("twin");
        return Err(TaskError::retry_in(Duration::ZERO, cause));
    }
    Ok("done")
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.reject", acks_late)]
struct Reject;

async fn reject(_: Reject, _: Context) -> TaskResult<()> {
    Err(TaskError::reject(false, "no thanks"))
}

/// Fails with its arguments.
async fn fail(call: Call, _: Context) -> TaskResult<RawJson> {
    let arguments: Vec<Value> = serde_json::from_str(call.args.as_str())?;
    Err(TaskError::fail(Failure::new("Declined", arguments).with_module("twin")))
}

/// Is asked of Celery's worker alone.
async fn rich(_: Call, _: Context) -> TaskResult<RawJson> {
    Ok(RawJson::NULL)
}
