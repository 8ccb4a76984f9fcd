//! rusty-celery: it has neither events nor results.

#![expect(non_local_definitions, reason = "its attribute macro is older than the lint")]

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use celery::prelude::*;
use tokio::time::Instant;

use super::{report, tell_sent};
use crate::servers::Servers;

static EXECUTED: AtomicU64 = AtomicU64::new(0);

#[celery::task(name = "bench.add", acks_late = true)]
async fn add(x: u64, y: u64) -> TaskResult<u64> {
    EXECUTED.fetch_add(1, Ordering::Relaxed);
    Ok(x + y)
}

pub async fn send(servers: &Servers, queue: &str, count: u64) -> Result<()> {
    let app = celery::app!(
        broker = AMQPBroker { servers.amqp.clone() },
        tasks = [add],
        task_routes = ["*" => queue],
    )
    .await?;
    let began = Instant::now();
    for x in 0..count {
        app.send_task(add::new(x, 1)).await?;
    }
    tell_sent(count, began);
    app.close().await?;
    Ok(())
}

pub async fn work(servers: &Servers, queue: &str) -> Result<()> {
    let app = celery::app!(
        broker = AMQPBroker { servers.amqp.clone() },
        tasks = [add],
        task_routes = ["*" => queue],
        prefetch_count = 512,
    )
    .await?;
    let queues = [queue];
    tokio::select! {
        ended = app.consume_from(&queues) => ended?,
        () = report(|| (EXECUTED.load(Ordering::Relaxed), 0)) => {}
    }
    app.close().await?;
    Ok(())
}
