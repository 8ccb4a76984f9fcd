//! One measurement each: fills a queue, lets workers empty it, checks that nothing is missing, tells figures.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep};

use crate::child::{Child, Progress};
use crate::job::{Job, Kind, Sender, Worker, unix_micros};
use crate::process::{cpu_seconds, resident_megabytes};
use crate::servers::Servers;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(1);

/// How fast a queue was emptied, and what it cost.
#[derive(Clone, Copy, Debug)]
pub struct Execution {
    /// Tasks a second.
    pub rate: f64,
    /// Processor time per task in microseconds: the workers', the broker's, the result backend's.
    pub worker_micros: f64,
    pub broker_micros: f64,
    pub backend_micros: f64,
    /// Megabytes of each worker (with its children) at the end.
    pub resident: f64,
}

/// How late tasks began at a steady rate, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    /// Tasks a second.
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    /// Megabytes of the worker (with its children), at most.
    pub resident: f64,
}

pub struct Contest {
    pub servers: Servers,
    /// Keeps the channel open.
    _broker: Connection,
    channel: Channel,
    redis: MultiplexedConnection,
    queues: u32,
}

impl Contest {
    pub async fn new(servers: Servers) -> Result<Self> {
        let broker = Connection::connect(&servers.amqp, ConnectionProperties::default()).await?;
        let channel = broker.create_channel().await?;
        let redis = servers.redis().await?;
        Ok(Self { servers, _broker: broker, channel, redis, queues: 0 })
    }

    /// Sends `count` tasks to a new queue. Answers the queue and how many a second that were.
    pub async fn fill(&mut self, sender: Sender, kind: Kind, count: u64, results: bool) -> Result<(String, f64)> {
        let queue = self.new_queue(kind).await?;
        let job = Job::Send { sender, kind, queue: queue.clone(), count, results };
        let mut child = Child::sender(&self.servers, &job)?;
        let (sent, micros) = child.sent(PATIENCE).await?;
        child.end().await?;
        self.wait_for_messages(&queue, count).await?;
        Ok((queue, sent as f64 / micros as f64 * 1e6))
    }

    /// Lets `processes` workers execute the `count` tasks of a queue, and deletes it.
    pub async fn empty(
        &mut self,
        worker: Worker,
        kind: Kind,
        queue: String,
        count: u64,
        processes: usize,
        results: bool,
    ) -> Result<Execution> {
        let _: () = redis::cmd("FLUSHDB").query_async(&mut self.redis).await?;
        let spawn = |_| Child::worker(&self.servers, worker, kind, &queue);
        let mut workers = (0..processes).map(spawn).collect::<Result<Vec<_>>>()?;
        // What it takes to start is measured by itself.
        let begun = self.progress(&mut workers, worker, (count / 20).max(1)).await?;
        let pids: Vec<Vec<u32>> = workers.iter().map(Child::pids).collect();
        let Servers { broker_pid, redis_pid, .. } = self.servers;
        let cost = || {
            let of_workers: f64 = pids.iter().map(|pids| cpu_seconds(pids)).sum();
            [of_workers, cpu_seconds(&[broker_pid]), cpu_seconds(&[redis_pid])]
        };
        let before = cost();
        let ended = self.settled(&mut workers, worker, count).await?;
        let after = cost();
        let resident = pids.iter().map(|pids| resident_megabytes(pids)).sum::<Result<f64>>()? / processes as f64;
        for child in workers {
            child.end().await?;
        }
        self.check(&queue, count, ended.executed, results).await?;
        let measured = (count - begun.executed) as f64;
        let micros = |n: usize| (after[n] - before[n]) * 1e6 / measured;
        Ok(Execution {
            rate: measured / (ended.at - begun.at) as f64 * 1e6,
            worker_micros: micros(0),
            broker_micros: micros(1),
            backend_micros: micros(2),
            resident,
        })
    }

    /// How many tasks a second go through celeriac when it sends, one by one from 64 callers, and executes at the same time.
    pub async fn through(&mut self, kind: Kind, count: u64) -> Result<f64> {
        let queue = self.new_queue(kind).await?;
        let _: () = redis::cmd("FLUSHDB").query_async(&mut self.redis).await?;
        let worker = Worker::Celeriac { events: true };
        let mut workers = vec![Child::worker(&self.servers, worker, kind, &queue)?];
        self.wait_for_consumer(&queue).await?;
        let job = Job::Send { sender: Sender::CeleriacCallers, kind, queue: queue.clone(), count, results: true };
        let mut sender = Child::sender(&self.servers, &job)?;
        let begun = self.progress(&mut workers, worker, 1).await?;
        let ended = self.settled(&mut workers, worker, count).await?;
        sender.sent(PATIENCE).await?;
        sender.end().await?;
        for child in workers {
            child.end().await?;
        }
        self.check(&queue, count, ended.executed, true).await?;
        Ok((count - begun.executed) as f64 / (ended.at - begun.at) as f64 * 1e6)
    }

    /// Sends `rate` tasks a second for `seconds` to one worker, and asks each how late it began.
    pub async fn lateness(&mut self, worker: Worker, kind: Kind, rate: f64, seconds: u64) -> Result<Lateness> {
        let queue = self.new_queue(kind).await?;
        let _: () = redis::cmd("FLUSHDB").query_async(&mut self.redis).await?;
        let child = Child::worker(&self.servers, worker, kind, &queue)?;
        self.wait_for_consumer(&queue).await?;
        let rate = rate.max(1.0) as u64;
        // The first second warms up, and does not count.
        Self::pace(&self.servers, kind, &queue, rate, rate).await?;
        self.results(rate).await?;
        let _: () = redis::cmd("FLUSHDB").query_async(&mut self.redis).await?;

        let count = rate * seconds;
        let pids = child.pids();
        let mut resident = 0.0_f64;
        {
            let sending = Self::pace(&self.servers, kind, &queue, count, rate);
            tokio::pin!(sending);
            loop {
                tokio::select! {
                    sent = &mut sending => break sent?,
                    () = sleep(Duration::from_millis(100)) => resident = resident.max(resident_megabytes(&pids)?),
                }
            }
        }
        self.results(count).await?;
        child.end().await?;
        self.check(&queue, count, count, true).await?;
        let mut late = self.answers().await?;
        late.sort_by(f64::total_cmp);
        let at = |share: f64| late[((late.len() - 1) as f64 * share).round() as usize];
        Ok(Lateness { rate: rate as f64, p50: at(0.5), p99: at(0.99), resident })
    }

    /// Milliseconds from the start of the worker's process to the stored result of its first task.
    pub async fn startup(&mut self, worker: Worker) -> Result<f64> {
        let sender = if worker == Worker::RustyCelery { Sender::RustyCelery } else { Sender::CeleriacMany };
        let (queue, _) = self.fill(sender, Kind::Classic, 1, true).await?;
        let _: () = redis::cmd("FLUSHDB").query_async(&mut self.redis).await?;
        let began = unix_micros();
        let mut workers = vec![Child::worker(&self.servers, worker, Kind::Classic, &queue)?];
        let ended = self.progress(&mut workers, worker, 1).await?;
        for child in workers {
            child.end().await?;
        }
        self.check(&queue, 1, ended.executed, worker != Worker::RustyCelery).await?;
        Ok((ended.at - began) as f64 / 1e3)
    }

    async fn pace(servers: &Servers, kind: Kind, queue: &str, count: u64, rate: u64) -> Result<()> {
        let mut child = Child::sender(servers, &Job::Pace { kind, queue: queue.to_owned(), count, rate })?;
        child.sent(PATIENCE).await?;
        child.end().await
    }

    /// Waits until so many tasks have been executed: as the workers tell it, or as their results do.
    async fn progress(&mut self, workers: &mut [Child], worker: Worker, count: u64) -> Result<Progress> {
        if matches!(worker, Worker::Celery(_)) {
            let executed = self.results(count).await?;
            return Ok(Progress { at: unix_micros(), executed, unacknowledged: 0 });
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = workers.iter_mut().map(Child::progress).fold(Progress::default(), Progress::and);
            if told.executed >= count {
                return Ok(told);
            }
            ensure!(Instant::now() < deadline, "only {} of {count} tasks were executed", told.executed);
            sleep(POLL).await;
        }
    }

    /// Waits until all have been executed and acknowledged.
    async fn settled(&mut self, workers: &mut [Child], worker: Worker, count: u64) -> Result<Progress> {
        loop {
            let told = self.progress(workers, worker, count).await?;
            if told.unacknowledged == 0 {
                return Ok(told);
            }
            sleep(POLL).await;
        }
    }

    /// Waits for so many stored results.
    async fn results(&mut self, count: u64) -> Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stored: u64 = redis::cmd("DBSIZE").query_async(&mut self.redis).await?;
            if stored >= count {
                return Ok(stored);
            }
            ensure!(Instant::now() < deadline, "only {stored} of {count} results were stored");
            sleep(POLL).await;
        }
    }

    /// Nothing may be missing and nothing may be left. Each task is executed once: nothing here is delivered again.
    async fn check(&mut self, queue: &str, count: u64, executed: u64, results: bool) -> Result<()> {
        ensure!(executed == count, "{executed} tasks were executed of {count} that were sent");
        let stored: u64 = redis::cmd("DBSIZE").query_async(&mut self.redis).await?;
        let expected = if results { count } else { 0 };
        ensure!(stored == expected, "{stored} results were stored instead of {expected}");
        self.wait_for_messages(queue, 0).await?;
        self.drop_queue(queue).await
    }

    /// The stored values.
    async fn answers(&mut self) -> Result<Vec<f64>> {
        let keys: Vec<String> = self.redis.keys("celery-task-meta-*").await?;
        let mut answers = Vec::with_capacity(keys.len());
        for keys in keys.chunks(1000) {
            let metas: Vec<String> = self.redis.mget(keys).await?;
            for meta in metas {
                let meta: serde_json::Value = serde_json::from_str(&meta)?;
                ensure!(meta["status"] == "SUCCESS", "a task failed: {meta}");
                answers.push(meta["result"].as_f64().context("a task answers a number")?);
            }
        }
        Ok(answers)
    }

    pub async fn drop_queue(&self, queue: &str) -> Result<()> {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }

    async fn new_queue(&mut self, kind: Kind) -> Result<String> {
        self.queues += 1;
        let queue = format!("bench-{}-{}", kind.name(), self.queues);
        // Declared once here as Celery does it, so that every contender finds the same queue.
        crate::peers::celeriac::app(&self.servers, kind, &queue).await?.close().await;
        Ok(queue)
    }

    async fn wait_for_messages(&self, queue: &str, count: u64) -> Result<()> {
        self.wait_for(queue, |messages, _| messages == count, &format!("{count} messages")).await
    }

    async fn wait_for_consumer(&self, queue: &str) -> Result<()> {
        self.wait_for(queue, |_, consumers| consumers > 0, "a consumer").await
    }

    async fn wait_for(&self, queue: &str, fits: impl Fn(u64, u32) -> bool, what: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let state = self.channel.queue_declare(queue.into(), look, FieldTable::default()).await?;
            if fits(state.message_count().into(), state.consumer_count()) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{queue} should have {what}, has {} messages", state.message_count());
            sleep(Duration::from_millis(20)).await;
        }
    }
}
