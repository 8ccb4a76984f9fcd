//! A worker with a state that its tasks share. Ctrl-C ends it warm: what runs is finished first.
//!
//! `cargo run -p celeriac --example worker`, with `BROKER_URL` and `RESULT_BACKEND` if they are not on this machine.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use celeriac::{App, Context, Failure, Task, TaskError, TaskResult, Worker};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.greet")]
struct Greet {
    name: String,
}

async fn greet(task: Greet, cx: Context<Shop>) -> TaskResult<String> {
    let count = cx.state().greeted.fetch_add(1, Ordering::Relaxed) + 1;
    Ok(format!("Hello, {}! You are number {count}.", task.name))
}

/// Runs again if the worker dies, and is tried up to five more times, after about 1, 2, 4, … seconds.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.deliver", acks_late, max_retries = 5, retry_backoff = "1s", time_limit = "30s")]
struct Deliver {
    order: u64,
}

async fn deliver(task: Deliver, cx: Context<Shop>) -> TaskResult<()> {
    let attempt = cx.request().retries + 1;
    println!("order {}: attempt {attempt}", task.order);
    if attempt < 3 {
        return Err(TaskError::retry(Failure::new("NobodyHome", [task.order])));
    }
    Ok(())
}

#[derive(Clone, Default)]
struct Shop {
    greeted: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = env::var("BROKER_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    let backend = env::var("RESULT_BACKEND").unwrap_or_else(|_| "redis://localhost".to_owned());
    let app = App::builder().broker(broker).backend(backend).build().await?;

    let stop = CancellationToken::new();
    let on_ctrl_c = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_ctrl_c.cancel();
        }
    });
    let worker = Worker::builder(app.clone()).state(Shop::default()).task(greet).task(deliver);
    let worker = worker.concurrency(16).events(true).build()?;
    println!("{} takes tasks until Ctrl-C", worker.handle().hostname());
    worker.run(stop).await?;
    app.close().await;
    Ok(())
}
