//! Compares the clock of the database with that of this machine.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use diesel::dsl::sql;
use diesel::result::Error as QueryError;
use diesel::sql_types::Timestamptz;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::{self, Difference};

/// How often the clocks are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// Clocks that are further apart are worth a warning,
const WARN_FROM: TimeDelta = TimeDelta::seconds(5);
/// so often.
const WARN_EVERY: Duration = Duration::from_secs(60 * 60);

pub(super) async fn measure(conn: &mut AsyncPgConnection, clock: &Difference) -> Result<(), QueryError> {
    let before = clock::now();
    let there = diesel::select(sql::<Timestamptz>("clock_timestamp()")).get_result(conn).await?;
    clock.measured(before, there, clock::now());
    Ok(())
}

async fn follow(pool: Pool<AsyncPgConnection>, clock: Arc<Difference>) {
    let mut ticks = tokio::time::interval(COMPARE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned: Option<Instant> = None;
    loop {
        ticks.tick().await;
        // A database that cannot be reached is told of by who needs it.
        let Ok(mut conn) = pool.get().await else { continue };
        if let Err(error) = measure(&mut conn, &clock).await {
            tracing::debug!(%error, "the clocks were not compared");
            continue;
        }
        drop(conn);
        let difference = clock.get();
        if difference.abs() < WARN_FROM {
            if warned.take().is_some() {
                tracing::info!("the clock of this machine and the database's agree again");
            }
        } else if warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            warned = Some(Instant::now());
            let wrong = if difference > TimeDelta::zero() { "behind" } else { "ahead of" };
            tracing::warn!(
                seconds = difference.num_seconds().abs(),
                "the clock of this machine is {wrong} the database's: billing goes by the database's, but tasks may be \
                 held or dropped by this one. Set both right (NTP)"
            );
        }
    }
}

/// What follows the database's clock; ends with the last [`Db`].
pub(super) struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Following {
    pub(super) fn start(pool: Pool<AsyncPgConnection>, clock: Arc<Difference>) -> Self {
        Self(tokio::spawn(follow(pool, clock)))
    }
}
