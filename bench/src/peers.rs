//! The contenders. Each runs in a process of its own.

pub mod bare;
pub mod celeriac;
pub mod raw;
pub mod rusty;

use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::job::{Job, Line, Sender, Worker};
use crate::servers::Servers;

/// How often a worker tells how far it is.
const TICK: Duration = Duration::from_millis(2);

/// Does what a child process is told.
pub async fn run(job: Job) -> Result<()> {
    let servers = Servers::from_env()?;
    match job {
        Job::Send { sender, kind, queue, count, results } => match sender {
            Sender::RawPipelined => raw::send(&servers, &queue, count, 4, 200).await,
            Sender::RawCallers => raw::send(&servers, &queue, count, 64, 1).await,
            Sender::CeleriacMany => celeriac::send_many(&servers, kind, &queue, count, results).await,
            Sender::CeleriacCallers => celeriac::send_from_callers(&servers, kind, &queue, count, results, 64).await,
            Sender::CeleriacCrowd => celeriac::send_from_callers(&servers, kind, &queue, count, results, 800).await,
            Sender::RustyCelery => rusty::send(&servers, &queue, count).await,
            Sender::Celery => anyhow::bail!("Celery sends from Python"),
        },
        Job::Pace { kind, queue, count, rate } => celeriac::pace(&servers, kind, &queue, count, rate).await,
        Job::Work { worker, kind, queue } => match worker {
            Worker::BareLoop => bare::work(&servers, &queue).await,
            Worker::Celeriac { events } => celeriac::work(&servers, kind, &queue, events).await,
            Worker::RustyCelery => rusty::work(&servers, &queue).await,
            Worker::Celery(_) => anyhow::bail!("Celery works in Python"),
        },
    }
}

/// Tells the parent how far the worker is whenever that has changed, until standard input ends.
async fn report(mut look: impl FnMut() -> (u64, u64)) {
    let mut told = (0, 0);
    let mut ended = tokio::spawn(async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    });
    loop {
        tokio::select! {
            _ = &mut ended => return,
            () = tokio::time::sleep(TICK) => {
                let now = look();
                if now != told {
                    Line::progress(now.0, now.1).tell();
                    told = now;
                }
            }
        }
    }
}

fn tell_sent(count: u64, began: Instant) {
    Line::Sent { count, micros: u64::try_from(began.elapsed().as_micros()).expect("it took less than an age") }.tell();
}
