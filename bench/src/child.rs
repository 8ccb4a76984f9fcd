//! Child processes: this program again, or Python.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::job::{Job, Kind, Line, Sender, Worker};
use crate::process;
use crate::servers::Servers;

/// Where `celery_app.py` is.
const HERE: &str = env!("CARGO_MANIFEST_DIR");
const END: Duration = Duration::from_secs(30);

pub struct Child {
    process: tokio::process::Child,
    pid: u32,
    lines: mpsc::UnboundedReceiver<Line>,
    last: Progress,
    is_celery: bool,
}

/// How far workers are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Microseconds of the Unix epoch.
    pub at: i64,
    pub executed: u64,
    pub unacknowledged: u64,
}

impl Progress {
    /// Of two workers together.
    pub fn and(self, other: Self) -> Self {
        Self {
            at: self.at.max(other.at),
            executed: self.executed + other.executed,
            unacknowledged: self.unacknowledged + other.unacknowledged,
        }
    }
}

impl Child {
    pub fn sender(servers: &Servers, job: &Job) -> Result<Self> {
        if let Job::Send { sender: Sender::Celery, kind, queue, count, .. } = job {
            let mut python = python(servers, *kind, queue);
            python.arg("celery_app.py").arg("send").arg(count.to_string());
            return Self::spawn(python, true);
        }
        Self::spawn(again(job)?, false)
    }

    pub fn worker(servers: &Servers, worker: Worker, kind: Kind, queue: &str) -> Result<Self> {
        if let Worker::Celery(pool) = worker {
            let mut python = python(servers, kind, queue);
            python.args(["-m", "celery", "-A", "celery_app", "worker", "-E", "-l", "ERROR"]).args(pool.arguments());
            return Self::spawn(python, true);
        }
        Self::spawn(again(&Job::Work { worker, kind, queue: queue.to_owned() })?, false)
    }

    fn spawn(mut command: Command, is_celery: bool) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("{command:?}"))?;
        let (told, lines) = mpsc::unbounded_channel();
        tokio::spawn(listen(process.stdout.take().context("a pipe")?, told));
        let pid = process.id().context("it runs")?;
        Ok(Self { process, pid, lines, last: Progress::default(), is_celery })
    }

    /// The process and its children.
    pub fn pids(&self) -> Vec<u32> {
        process::tree(self.pid)
    }

    /// How far the worker is, as it has told last.
    pub fn progress(&mut self) -> Progress {
        while let Ok(line) = self.lines.try_recv() {
            if let Line::Progress { at, executed, unacknowledged } = line {
                self.last = Progress { at, executed, unacknowledged };
            }
        }
        self.last
    }

    /// Waits until a sender has sent all: how many, and how many microseconds that took.
    pub async fn sent(&mut self, patience: Duration) -> Result<(u64, u64)> {
        match timeout(patience, self.lines.recv()).await.context("nothing was sent in time")? {
            Some(Line::Sent { count, micros }) => Ok((count, micros)),
            other => bail!("the sender told {other:?}"),
        }
    }

    /// Ends it in order.
    pub async fn end(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        if self.is_celery {
            // Celery's warm shutdown. A sender may have ended already.
            let _ = Command::new("sh").args(["-c", &format!("kill -TERM {} 2>&-", self.pid)]).status().await;
        }
        let status = timeout(END, self.process.wait()).await.context("it does not end")??;
        ensure!(status.success() || self.is_celery, "a child process failed: {status}");
        Ok(())
    }
}

async fn listen(stdout: ChildStdout, told: mpsc::UnboundedSender<Line>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // Celery greets on the same stream.
        if let Ok(line) = serde_json::from_str(&line) {
            let _ = told.send(line);
        }
    }
}

fn again(job: &Job) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("peer").arg(serde_json::to_string(job)?);
    Ok(command)
}

pub fn python(servers: &Servers, kind: Kind, queue: &str) -> Command {
    let mut command = Command::new(&servers.python);
    command
        .current_dir(HERE)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Celery asks twice before it runs as root, as it does in containers.
        .env("C_FORCE_ROOT", "1")
        .env("BENCH_BROKER", &servers.amqp)
        .env("BENCH_BACKEND", &servers.redis)
        .env("BENCH_QUEUE", queue)
        .env("BENCH_QUEUE_TYPE", kind.name())
        .stderr(Stdio::null());
    command
}
