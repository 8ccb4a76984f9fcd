//! celeriac itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use celeriac::{App, Context, SendOptions, Task, TaskResult, Worker};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{report, tell_sent};
use crate::job::{Kind, unix_micros};
use crate::servers::Servers;

/// Bodies that run at once. With the usual prefetch multiplier of 4 the broker hands out 512 messages ahead.
const CONCURRENCY: usize = 128;
/// How many call `send_many` at once, as lapin is given so many channels.
const STREAMS: u64 = 4;
/// How many tasks one call of `send_many` takes.
const CHUNK: u64 = 2_000;

#[derive(Task, Serialize, Deserialize)]
#[task(name = "bench.add", acks_late)]
struct Add {
    x: u64,
    y: u64,
}

async fn add(task: Add, _: Context) -> TaskResult<u64> {
    Ok(task.x + task.y)
}

/// Nobody wants to know the sum.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "bench.add_quietly", acks_late, ignore_result)]
struct AddQuietly {
    x: u64,
    y: u64,
}

async fn add_quietly(task: AddQuietly, _: Context) -> TaskResult<u64> {
    Ok(task.x + task.y)
}

/// Answers how many microseconds after it was sent it began.
#[derive(Task, Serialize, Deserialize)]
#[task(name = "bench.late", acks_late)]
struct Late {
    at: i64,
}

async fn late(task: Late, _: Context) -> TaskResult<i64> {
    Ok(unix_micros() - task.at)
}

pub async fn app(servers: &Servers, kind: Kind, queue: &str) -> Result<App> {
    let app = App::builder()
        .broker(&servers.amqp)
        .backend(&servers.redis)
        .queue_type(kind.queue_type())
        .default_queue(queue)
        .build()
        .await?;
    app.declare_queue(queue).await?;
    Ok(app)
}

pub async fn work(servers: &Servers, kind: Kind, queue: &str, events: bool) -> Result<()> {
    let app = app(servers, kind, queue).await?;
    let worker = Worker::builder(app.clone())
        .task(add)
        .task(add_quietly)
        .task(late)
        .concurrency(CONCURRENCY)
        .hostname(format!("celeriac{}@bench", std::process::id()))
        .events(events)
        .build()?;
    let handle = worker.handle();
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));
    report(|| (handle.processed(), handle.unacknowledged() as u64)).await;
    stop.cancel();
    running.await??;
    app.close().await;
    Ok(())
}

pub async fn send_many(servers: &Servers, kind: Kind, queue: &str, count: u64, results: bool) -> Result<()> {
    let app = app(servers, kind, queue).await?;
    let began = Instant::now();
    let mut streams = JoinSet::new();
    for n in 0..STREAMS {
        let share = count / STREAMS + u64::from(n < count % STREAMS);
        streams.spawn(send_share(app.clone(), share, results));
    }
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    tell_sent(count, began);
    app.close().await;
    Ok(())
}

async fn send_share(app: App, count: u64, results: bool) -> Result<(), celeriac::SendError> {
    let mut sent = 0;
    while sent < count {
        let chunk = sent..count.min(sent + CHUNK);
        sent = chunk.end;
        let answers = if results {
            app.send_many(chunk.map(|x| (Add { x, y: 1 }, SendOptions::new()))).await
        } else {
            app.send_many(chunk.map(|x| (AddQuietly { x, y: 1 }, SendOptions::new()))).await
        };
        answers.into_iter().try_for_each(|answer| answer.map(drop))?;
    }
    Ok(())
}

pub async fn send_from_callers(
    servers: &Servers,
    kind: Kind,
    queue: &str,
    count: u64,
    results: bool,
    callers: u64,
) -> Result<()> {
    let app = app(servers, kind, queue).await?;
    let began = Instant::now();
    let mut calling = JoinSet::new();
    for n in 0..callers {
        let app = app.clone();
        let share = count / callers + u64::from(n < count % callers);
        calling.spawn(async move {
            for x in 0..share {
                if results {
                    app.send(Add { x, y: 1 }).await?;
                } else {
                    app.send(AddQuietly { x, y: 1 }).await?;
                }
            }
            Ok::<_, celeriac::SendError>(())
        });
    }
    while let Some(ended) = calling.join_next().await {
        ended??;
    }
    tell_sent(count, began);
    app.close().await;
    Ok(())
}

/// Sends at an even rate, whether or not earlier ones are confirmed.
pub async fn pace(servers: &Servers, kind: Kind, queue: &str, count: u64, rate: u64) -> Result<()> {
    let app = Arc::new(app(servers, kind, queue).await?);
    let began = Instant::now();
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sending = JoinSet::new();
    let mut sent = 0;
    while sent < count {
        tick.tick().await;
        let elapsed = u64::try_from(began.elapsed().as_micros())?;
        let due = count.min(elapsed * rate / 1_000_000);
        for _ in sent..due {
            let app = Arc::clone(&app);
            sending.spawn(async move { app.send(Late { at: unix_micros() }).await });
        }
        sent = sent.max(due);
        while let Some(answer) = sending.try_join_next() {
            answer??;
        }
    }
    while let Some(answer) = sending.join_next().await {
        answer??;
    }
    tell_sent(count, began);
    app.close().await;
    Ok(())
}
