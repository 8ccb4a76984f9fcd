//! Rust and Python call each other. Start this, then the Python side:
//!
//! ```python
//! # interop.py; run:  celery -A interop worker -Q python
//! from celery import Celery
//!
//! app = Celery("interop", broker="amqp://localhost", backend="redis://localhost")
//!
//! @app.task(name="interop.upper")
//! def upper(text):
//!     add = app.send_task("interop.add", (len(text), 1), queue="rust")  # runs here, in Rust
//!     print("from Rust:", add.id)
//!     return text.upper()
//! ```
//!
//! `cargo run -p celeriac --example python_interop`, with `BROKER_URL` and `RESULT_BACKEND` if they are not on this
//! machine.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::env;
use std::time::Duration;

use celeriac::{App, Context, SendOptions, Task, TaskResult, Worker};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// Python sends it as `interop.add(2, 3)`, `add(x=2, y=3)` or a mix of both.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "interop.add", queue = "rust")]
struct Add {
    x: i64,
    y: i64,
}

async fn add(task: Add, cx: Context) -> TaskResult<i64> {
    println!("{} + {}, asked by {}", task.x, task.y, cx.request().origin.as_deref().unwrap_or("somebody"));
    Ok(task.x + task.y)
}

/// A task that Python serves. Its fields are the names of the Python function's arguments.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "interop.upper", queue = "python")]
struct Upper {
    text: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = env::var("BROKER_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    let backend = env::var("RESULT_BACKEND").unwrap_or_else(|_| "redis://localhost".to_owned());
    let app = App::builder().broker(broker).backend(backend).build().await?;
    let stop = CancellationToken::new();
    let worker = Worker::builder(app.clone()).task(add).queues(["rust"]).hostname("rust@example").build()?;
    let worker = tokio::spawn(worker.run(stop.clone()));

    let upper = app.send(Upper { text: "hello".to_owned() }).await?.typed::<String>();
    println!("from Python: {}", upper.get(Duration::from_secs(60)).await?);
    // The same without a type, as `app.send_task` does it.
    let upper = app.send_named("interop.upper", ["bye"], serde_json::json!({}), SendOptions::new().queue("python"));
    println!("from Python: {}", upper.await?.typed::<String>().get(Duration::from_secs(60)).await?);

    // Python has sent its own tasks meanwhile; a worker that is told to stop finishes what it has begun.
    stop.cancel();
    worker.await??;
    app.close().await;
    Ok(())
}
