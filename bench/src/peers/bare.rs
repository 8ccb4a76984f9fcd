//! The bare loop: what a worker on lapin and redis could do at best if it gave nothing up. It decodes the body, stores
//! results with SETEX and PUBLISH in one pipeline, publishes all three events of a task batched as `task.multi`, and
//! acknowledges with `multiple` after the results are stored. It knows no task, no limit, no error and no reconnect.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::sync::mpsc;

use super::report;
use crate::job::unix_micros;
use crate::servers::Servers;

const PREFETCH: u16 = 512;
const BATCH: usize = 200;

struct Done {
    id: String,
    meta: String,
    acker: Acker,
}

pub async fn work(servers: &Servers, queue: &str) -> Result<()> {
    let connection = Connection::connect(&servers.amqp, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let events = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    events.exchange_declare("celeryev".into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(queue.into(), "bare".into(), options, FieldTable::default()).await?;

    let executed = Arc::new(AtomicU64::new(0));
    let (done, ready) = mpsc::channel(1000);
    let settling = tokio::spawn(settle(ready, servers.redis().await?, events, Arc::clone(&executed)));
    let executing = async {
        while let Some(delivery) = consumer.next().await {
            let delivery = delivery?;
            let body: serde_json::Value = serde_json::from_slice(&delivery.data)?;
            let result = execute(&body).context("the arguments of a task")?;
            let id = delivery.properties.correlation_id().as_ref().context("an id")?.to_string();
            let meta = json!({
                "status": "SUCCESS", "result": result, "traceback": null, "children": [],
                "date_done": "2026-11-22T00:00:00.000000+00:00", "task_id": id,
            });
            done.send(Done { id, meta: meta.to_string(), acker: delivery.acker }).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::select! {
        ended = executing => ended?,
        settled = settling => settled??,
        () = report(|| (executed.load(Ordering::Relaxed), 0)) => {}
    }
    // What was executed is acknowledged: how the connection ends is of no importance.
    let _ = connection.close(200, "OK".into()).await;
    Ok(())
}

/// Adds two numbers, or tells how many microseconds after it was sent a task began.
fn execute(body: &serde_json::Value) -> Option<i64> {
    match body[1]["at"].as_i64() {
        Some(at) => Some(unix_micros() - at),
        None => Some(body[0][0].as_i64()? + body[0][1].as_i64()?),
    }
}

async fn settle(
    mut ready: mpsc::Receiver<Done>,
    mut redis: MultiplexedConnection,
    events: Channel,
    executed: Arc<AtomicU64>,
) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    while ready.recv_many(&mut batch, BATCH).await > 0 {
        let mut pipe = redis::pipe();
        let mut announced = Vec::with_capacity(batch.len() * 3);
        for Done { id, meta, .. } in &batch {
            let key = format!("celery-task-meta-{id}");
            pipe.cmd("SETEX").arg(&key).arg(86_400).arg(meta).ignore();
            pipe.cmd("PUBLISH").arg(&key).arg(meta).ignore();
            for event in ["task-received", "task-started", "task-succeeded"] {
                announced.push(json!({
                    "type": event, "uuid": id, "hostname": "celery@bare", "timestamp": 1.0, "clock": 1, "pid": 1,
                    "utcoffset": 0, "result": "1", "runtime": 0.1, "name": "bench.add", "args": "(1, 2)", "kwargs": "{}",
                }));
            }
        }
        pipe.query_async::<()>(&mut redis).await?;
        let body = serde_json::to_vec(&announced)?;
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        events.basic_publish("celeryev".into(), "task.multi".into(), options, &body, properties).await?;
        if let Some(last) = batch.last() {
            last.acker.ack(BasicAckOptions { multiple: true }).await?;
        }
        executed.fetch_add(batch.len() as u64, Ordering::Relaxed);
        batch.clear();
    }
    Ok(())
}
