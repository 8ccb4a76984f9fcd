//! A workflow: additions side by side, their sum, and ten times that. Its worker runs in this program too, but any
//! worker that knows the tasks could take any step, also one in Python.
//!
//! `cargo run -p celeriac --example canvas`, with `BROKER_URL` and `RESULT_BACKEND` if they are not on this machine.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::env;
use std::time::Duration;

use celeriac::canvas::{Canvas, Signature};
use celeriac::{App, Context, Task, TaskResult, Worker};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

#[derive(Task, Serialize, Deserialize)]
#[task(name = "math.add", queue = "math")]
struct Add {
    x: i64,
    y: i64,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "math.sum", queue = "math")]
struct Sum {
    numbers: Vec<i64>,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "math.mul", queue = "math")]
struct Mul {
    x: i64,
    y: i64,
}

async fn add(task: Add, _: Context) -> TaskResult<i64> {
    Ok(task.x + task.y)
}

async fn sum(task: Sum, _: Context) -> TaskResult<i64> {
    Ok(task.numbers.iter().sum())
}

async fn mul(task: Mul, _: Context) -> TaskResult<i64> {
    Ok(task.x * task.y)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = env::var("BROKER_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    let backend = env::var("RESULT_BACKEND").unwrap_or_else(|_| "redis://localhost".to_owned());
    let app = App::builder().broker(broker).backend(backend).build().await?;
    let stop = CancellationToken::new();
    let worker = Worker::builder(app.clone())
        .task(add)
        .task(sum)
        .task(mul)
        .queues(["math"])
        .hostname("canvas@example")
        .build()?;
    let worker = tokio::spawn(worker.run(stop.clone()));

    let additions = [Signature::of(&Add { x: 1, y: 1 })?, Signature::of(&Add { x: 2, y: 2 })?];
    // The result of the step before comes in front of the arguments that are given here.
    let workflow = Canvas::group(additions)
        .then(Signature::new("math.sum").with("queue", "math"))
        .then(Signature::new("math.mul").arg(10).with("queue", "math"));
    let published = app.publish(workflow).await?;
    println!("(1 + 1 + 2 + 2) × 10 = {}", published.get::<i64>(Duration::from_secs(30)).await?);

    stop.cancel();
    worker.await??;
    app.close().await;
    Ok(())
}
