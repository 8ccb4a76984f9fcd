//! Says every two seconds that the worker lives (`celery/worker/heartbeat.py`).

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pool::Pool;
use super::shared::Shared;
use crate::metrics::{self, Load};
use crate::protocol::Json;
use crate::protocol::event::{EventBody, WorkerStatus};

const EVERY: Duration = Duration::from_secs(2);

/// Announces the worker, its life, and once cancelled its end.
pub(super) async fn announce(shared: &Shared, stop: CancellationToken) {
    while let Some(Err(error)) = stop.run_until_cancelled(shared.events.declare()).await {
        tracing::warn!(%error, "no events");
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
    shared.events.publish(EventBody::WorkerOnline(status(shared))).await;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is now, and was said already.
    ticks.tick().await;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        shared.events.publish(EventBody::WorkerHeartbeat(status(shared))).await;
        if shared.meters.is_some() {
            metrics::worker_is(&load(shared));
        }
    }
    shared.events.publish(EventBody::WorkerOffline(status(shared))).await;
}

/// The heartbeat that remote control asks for: it tells no numbers, and another frequency, a whole number, as Celery's.
pub(crate) fn heartbeat_on_demand() -> EventBody<'static> {
    let fields = [
        ("freq", Json::Int(5)),
        ("sw_ident", "celeriac".into()),
        ("sw_ver", env!("CARGO_PKG_VERSION").into()),
        ("sw_sys", "Linux".into()),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
    EventBody::Other { kind: "worker-heartbeat".into(), fields }
}

fn status(shared: &Shared) -> WorkerStatus<'static> {
    WorkerStatus {
        freq: EVERY.as_secs_f64(),
        active: Some(shared.state.active()),
        processed: Some(shared.state.processed()),
        loadavg: Some(load_average()),
        sw_ident: "celeriac".into(),
        sw_ver: env!("CARGO_PKG_VERSION").into(),
        sw_sys: "Linux".into(),
    }
}

fn load(shared: &Shared) -> Load {
    Load {
        active: shared.state.active(),
        taken: shared.state.taken(),
        slots: shared.pools().map(Pool::size).sum(),
        prefetch: shared.pool.prefetch(),
    }
}

/// The machine's load over 1, 5 and 15 minutes; zeros where the system does not tell.
fn load_average() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(0.0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0.0))
}
