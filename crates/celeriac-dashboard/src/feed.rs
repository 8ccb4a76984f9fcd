//! Listening to the cluster. What is heard goes into memory; workers are never held up by it.

use std::sync::Arc;
use std::time::Duration;

use celeriac::clock::unix_seconds;
use celeriac::control::Command;
use celeriac::events::Receiver;
use celeriac::protocol::event::Event;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{interval, sleep};

use crate::Core;

/// Messages that wait to be taken in, each with one event or a list of them.
const WAITING: usize = 4_096;
/// How long to wait before the broker is asked again for what it has refused.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How often it is looked whether there is a connection.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Listens until the dashboard is shut down.
pub(crate) fn start(core: &Arc<Core>) {
    let (heard, waiting) = mpsc::channel(WAITING);
    tokio::spawn(core.stop.clone().run_until_cancelled_owned(listen(Arc::clone(core), heard)));
    tokio::spawn(core.stop.clone().run_until_cancelled_owned(take_in(Arc::clone(core), waiting)));
    tokio::spawn(core.stop.clone().run_until_cancelled_owned(look_at_connection(Arc::clone(core))));
}

/// Only receives: what comes faster than it can be taken in is counted and dropped here.
async fn listen(core: Arc<Core>, heard: mpsc::Sender<Vec<Event<'static>>>) {
    loop {
        match Receiver::all(core.app.broker()).await {
            Ok(mut receiver) => {
                // Whoever is there already says so at once, instead of with its next heartbeat.
                if let Err(error) = core.control.cast(Command::heartbeat()).await {
                    tracing::debug!(%error, "workers were not asked for a heartbeat");
                }
                while let Some(events) = receiver.events().await {
                    match heard.try_send(events) {
                        Ok(()) => {}
                        Err(TrySendError::Full(events)) => {
                            core.picture.write().drops(events.len() as u64, unix_seconds());
                        }
                        Err(TrySendError::Closed(_)) => return,
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "events cannot be received; trying again"),
        }
        sleep(AGAIN_AFTER).await;
    }
}

async fn take_in(core: Arc<Core>, mut waiting: mpsc::Receiver<Vec<Event<'static>>>) {
    while let Some(events) = waiting.recv().await {
        let now = unix_seconds();
        let mut picture = core.picture.write();
        for event in events {
            picture.hear(event, now);
        }
    }
}

async fn look_at_connection(core: Arc<Core>) {
    let mut ticks = interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let connected = core.app.broker().health().connected;
        core.picture.write().is_connected(connected, unix_seconds());
    }
}
