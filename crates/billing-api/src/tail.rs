//! The end of the event log, followed once for all streams of this process.

use std::sync::Arc;
use std::time::Duration;

use billing::Services;
use billing::bell::Ear;
use billing::event::Position;
use billing::store::StoreError;
use billing::store::events::{self, Log};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How many rows are put in order at once.
const CHUNK: i32 = 2_000;

/// Where the log ends, as far as this process knows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tail {
    services: Services,
    end: Arc<watch::Sender<Position>>,
}

impl Tail {
    pub(crate) fn new(services: Services) -> Self {
        Self { services, end: Arc::new(watch::Sender::new(0)) }
    }

    /// Told whenever the log has grown.
    pub(crate) fn follow(&self) -> watch::Receiver<Position> {
        self.end.subscribe()
    }

    /// Puts in order what is committed, and says where the log begins and ends now.
    pub(crate) async fn catch_up(&self) -> Result<Log, StoreError> {
        let mut conn = self.services.db.conn().await?;
        events::sequence_all(&mut conn, CHUNK).await?;
        let log = events::log(&mut conn).await?;
        self.end.send_if_modified(|known| {
            let grown = log.last_position != *known;
            *known = log.last_position;
            grown
        });
        Ok(log)
    }

    /// Follows the log until `shutdown`, at each ring of the bell and every `reread` besides. Nobody listening costs
    /// nothing.
    pub(crate) async fn run(self, reread: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(reread);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ear = Ear::new(&self.services.app);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = ear.rung() => {}
                _ = ticks.tick() => {}
            }
            if self.end.receiver_count() == 0 {
                continue;
            }
            if let Err(error) = self.catch_up().await {
                tracing::warn!(%error, "the event log cannot be read now; streams wait");
            }
        }
    }
}
