//! lapin itself: what any sender over it is measured against. Durable messages with the headers of a task, mandatory,
//! with publisher confirms.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::time::Instant;

use super::tell_sent;
use crate::servers::Servers;

/// `count` messages from `channels` channels, each with up to `window` that are not confirmed yet.
pub async fn send(servers: &Servers, queue: &str, count: u64, channels: u64, window: usize) -> Result<()> {
    let connection = Connection::connect(&servers.amqp, ConnectionProperties::default()).await?;
    let mut open = Vec::new();
    for _ in 0..channels {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        open.push(channel);
    }
    // A channel begins to close when its last handle is dropped, and the connection would stumble over that.
    let _open_until_the_end = open.clone();
    let queue: Arc<str> = queue.into();
    let began = Instant::now();
    let senders = open.into_iter().zip(0..).map(|(channel, n)| {
        let share = count / channels + u64::from(n < count % channels);
        tokio::spawn(send_share(channel, Arc::clone(&queue), n * count..n * count + share, window))
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await??;
    }
    tell_sent(count, began);
    // Everything is confirmed: how the connection ends is of no importance.
    let _ = connection.close(200, "OK".into()).await;
    Ok(())
}

async fn send_share(channel: Channel, queue: Arc<str>, share: Range<u64>, window: usize) -> Result<()> {
    let headers = headers();
    let mut waiting = VecDeque::with_capacity(window);
    for i in share {
        let body = format!(r#"[[{i},1],{{}},{{"callbacks":null,"errbacks":null,"chain":null,"chord":null}}]"#);
        let id = format!("31b1f234-9766-47c4-8289-{i:012}");
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_priority(0)
            .with_reply_to("9f2e2f0a-7d52-3c8e-8a55-2f6f0a0f7c11".into())
            .with_correlation_id(id.into())
            .with_headers(headers.clone());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent = channel.basic_publish("".into(), (&*queue).into(), options, body.as_bytes(), properties).await?;
        waiting.push_back(sent);
        if waiting.len() >= window {
            confirmed(waiting.pop_front().context("one waits")?.await?)?;
        }
    }
    for sent in waiting {
        confirmed(sent.await?)?;
    }
    Ok(())
}

fn confirmed(confirmation: Confirmation) -> Result<()> {
    ensure!(matches!(confirmation, Confirmation::Ack(None)), "not taken by the broker: {confirmation:?}");
    Ok(())
}

/// The headers that Celery 5 writes for a task with two numbers.
fn headers() -> FieldTable {
    let id = "31b1f234-9766-47c4-8289-000000000000";
    let text = |text: &str| AMQPValue::LongString(LongString::from(text));
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("lang", text("py")),
        ("task", text("bench.add")),
        ("id", text(id)),
        ("shadow", AMQPValue::Void),
        ("eta", AMQPValue::Void),
        ("expires", AMQPValue::Void),
        ("group", AMQPValue::Void),
        ("group_index", AMQPValue::Void),
        ("retries", AMQPValue::LongInt(0)),
        ("timelimit", AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Void, AMQPValue::Void]))),
        ("root_id", text(id)),
        ("parent_id", AMQPValue::Void),
        ("argsrepr", text("(1, 1)")),
        ("kwargsrepr", text("{}")),
        ("origin", text("gen4711@localhost")),
        ("ignore_result", AMQPValue::Boolean(false)),
        ("replaced_task_nesting", AMQPValue::LongInt(0)),
        ("stamped_headers", AMQPValue::Void),
        ("stamps", AMQPValue::FieldTable(FieldTable::default())),
    ] {
        headers.insert(name.into(), value);
    }
    headers
}
