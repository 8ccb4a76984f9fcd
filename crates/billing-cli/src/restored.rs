//! `billing restored`: the database was restored from a backup, or a failover has lost commits.

use std::io::{self, Write};

use billing::store::restores::{self, RestoreError};
use billing::tasks::Reconcile;
use chrono::{DateTime, Utc};
use clap::Args;

use crate::exit::{self, Exit};
use crate::reconcile;

#[derive(Args, Debug)]
pub struct RestoredConfig {
    /// The moment of which the restored rows are, as in 2026-11-30T03:00:00+03:00; rather earlier than later
    #[arg(long, env = "RESTORED_SINCE", value_name = "TIME")]
    pub since: DateTime<Utc>,
    /// Does not wait until charging goes on
    #[arg(long, env = "RESTORED_NO_WAIT")]
    pub no_wait: bool,
    /// Who tells it
    #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
    pub by: String,
    #[command(flatten)]
    pub services: billing::ServicesConfig,
}

pub(crate) async fn run(config: RestoredConfig) -> Result<u8, Exit> {
    // First of all nothing is charged any more; whether a broker can be reached is another matter.
    let db = config.services.clone().connect_database().await.map_err(crate::roles::services_error)?;
    let restore = {
        let mut conn = db.conn().await?;
        restores::tell(&mut conn, config.since, &config.by, db.now()).await.map_err(refused)?
    };
    writeln!(
        io::stdout(),
        "nothing is charged or given back until the gateway's list since {} is reconciled; invoice numbers go on at {}; \
         resume tokens given before are void",
        restore.since.to_rfc3339(),
        restore.invoice_from
    )?;
    match config.services.connect_app().await {
        Ok(app) => {
            let sent = app.send(Reconcile { reconciliation_id: restore.reconciliation_id }).await;
            app.close().await;
            if let Err(error) = sent {
                tracing::warn!(%error, "the reconciliation is left to the timetable");
            }
        }
        Err(error) => tracing::warn!(%error, "the reconciliation is left to the timetable"),
    }
    if config.no_wait {
        return Ok(exit::OK);
    }
    let status = reconcile::report(restore.reconciliation_id, &db).await?;
    writeln!(io::stdout(), "charging goes on")?;
    Ok(status)
}

fn refused(error: RestoreError) -> Exit {
    match error {
        RestoreError::Future(_) | RestoreError::TooLongAgo(_) => Exit::configuration(error),
        RestoreError::AlreadyTold(_) => Exit { status: exit::FAILED, error: error.into() },
        RestoreError::Store(error) => error.into(),
    }
}
