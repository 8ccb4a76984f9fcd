//! Whole tasks whose results lie in PostgreSQL, from Python to us and the reverse.

use std::path::{Path, PathBuf};
use std::process::Command;

use celeriac::{App, Context, Failure, GetError, SendOptions, Task, TaskError, TaskResult, Worker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::Process;
use tokio_util::sync::CancellationToken;

use super::super::{SOON, Setup};

#[derive(Task, Serialize, Deserialize)]
#[task(name = "rs.divide", queue = "rs", acks_late)]
struct Divide {
    x: f64,
    y: f64,
}

async fn divide(task: Divide, _: Context) -> TaskResult<Value> {
    if task.y == 0.0 {
        let mut failure = Failure::new("ZeroDivisionError", [json!("division by zero")]);
        failure.exc_module = "builtins".to_owned();
        return Err(TaskError::fail(failure));
    }
    Ok(json!({ "quotient": task.x / task.y }))
}

/// A Python program with the application `divider`.
fn python(program: &str, broker: &str, setup: &Setup) -> Command {
    let directory: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backend");
    let mut command = Command::new(testkit::python().with_file_name(program));
    command.current_dir(directory).env("PYTHONDONTWRITEBYTECODE", "1").env("BROKER", broker);
    command.env("BACKEND", setup.url.replace("postgres://", "db+postgresql://"));
    command
}

async fn app(broker: &str, setup: &Setup) -> App {
    App::builder().broker(broker).backend(&setup.url).build().await.unwrap()
}

#[tokio::test]
async fn a_python_client_gets_what_our_worker_stores() {
    let (vhost, setup) = (testkit::rabbitmq().await, Setup::postgres().await);
    let app = app(&vhost.amqp_url(), &setup).await;
    let worker = Worker::builder(app).task(divide).queues(["rs"]).hostname("w@test").build().unwrap();
    let shutdown = CancellationToken::new();
    let worker = tokio::spawn(worker.run(shutdown.clone()));

    let mut client = python("python", &vhost.amqp_url(), &setup);
    client.arg("divider.py");
    Process::spawn("client", client).wait_for_line("ok", SOON * 2).await;
    shutdown.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn our_client_gets_what_a_python_worker_stores() {
    let (vhost, setup) = (testkit::rabbitmq().await, Setup::postgres().await);
    let mut worker = python("celery", &vhost.amqp_url(), &setup);
    worker.args(["-A", "divider", "worker", "-Q", "py", "-P", "solo", "--without-mingle", "-l", "info"]);
    let mut worker = Process::spawn("worker", worker);
    worker.wait_for_line("ready.", SOON * 2).await;

    let app = app(&vhost.amqp_url(), &setup).await;
    let send = async |x: i32, y: i32| {
        let options = SendOptions::new().queue("py");
        app.send_named("py.divide", [x, y], json!({}), options).await.unwrap().typed::<Value>()
    };
    assert_eq!(send(6, 3).await.get(SOON).await.unwrap(), json!({"quotient": 2.0}));
    match send(1, 0).await.get(SOON).await {
        Err(GetError::Failed(failure)) => {
            assert_eq!((&*failure.exc_type, &*failure.exc_module), ("ZeroDivisionError", "builtins"));
            assert!(failure.traceback.is_some_and(|traceback| traceback.contains("divider.py")));
        }
        other => panic!("{other:?}"),
    }
}

/// As a beat sends it daily, wherever results have to be cleaned up.
#[tokio::test]
async fn a_worker_cleans_up_what_has_expired_and_nothing_else() {
    let (vhost, setup) = (testkit::rabbitmq().await, Setup::postgres().await);
    let app = app(&vhost.amqp_url(), &setup).await;
    let worker = Worker::builder(app.clone()).task(divide).queues(["rs"]).hostname("w@test").build().unwrap();
    let shutdown = CancellationToken::new();
    let worker = tokio::spawn(worker.run(shutdown.clone()));
    let client = super::client(&setup.url).await;
    let rows = "INSERT INTO celery_taskmeta (id, task_id, status, date_done) VALUES
        (-1, 'old', 'SUCCESS', now() - interval '25 hours'), (-2, 'new', 'SUCCESS', now() - interval '23 hours')";
    client.execute(rows, &[]).await.unwrap();

    let options = SendOptions::new().queue("rs");
    let sent = app.send_named("celery.backend_cleanup", json!([]), json!({}), options).await.unwrap();
    sent.typed::<Value>().get(SOON).await.unwrap();
    let left = client.query("SELECT task_id FROM celery_taskmeta WHERE id < 0", &[]).await.unwrap();
    assert_eq!(left.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["new"]);
    shutdown.cancel();
    worker.await.unwrap().unwrap();
}
