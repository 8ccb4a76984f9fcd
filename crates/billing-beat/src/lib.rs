//! The timetable: what is started by the clock. Any number of beats may run: one leads, and another follows within 15
//! seconds of its death. Were a task sent twice nevertheless, no harm is done: every task here finds its work in the rows
//! and does it once, however often it is started.

use std::time::Duration;

use anyhow::Context as _;
use billing::tasks::{
    Announce, EndHolds, ExpireThreeDs, KeepHistory, OpenRenewals, RecognizeRevenue, ReconcileDays, RepublishStranded,
    ResolveUnknown, ResumeRefunds, RollUpReports, RunBulks, SettleNotifications, WatchReceipts, WipeTraces,
};
use billing::{Services, duration};
use celeriac::beat::{Beat, BeatBuilder, CatchUp, Crontab, Entry, store};
use clap::Args;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

/// Options of `billing beat`.
#[derive(Debug, Clone, Args)]
#[group(id = "beat")]
pub struct Config {
    /// How often due renewals are opened
    #[arg(long, env = "OPEN_RENEWALS_EVERY", default_value = "60s", value_parser = interval, value_name = "DURATION")]
    pub open_renewals_every: Duration,

    /// How often it is looked for what subscribers are to be told beforehand: a renewal, a card that expires, another price
    #[arg(long, env = "ANNOUNCE_EVERY", default_value = "10m", value_parser = interval, value_name = "DURATION")]
    pub announce_every: Duration,

    /// How often payments whose message was lost are looked for
    #[arg(long, env = "REPUBLISH_STRANDED_EVERY", default_value = "30s", value_parser = interval, value_name = "DURATION")]
    pub republish_stranded_every: Duration,

    /// How often payments in doubt are looked for
    #[arg(long, env = "RESOLVE_UNKNOWN_EVERY", default_value = "15s", value_parser = interval, value_name = "DURATION")]
    pub resolve_unknown_every: Duration,

    /// How often refunds are looked for that nobody turns to: whose message was lost, that are in doubt
    #[arg(long, env = "RESUME_REFUNDS_EVERY", default_value = "30s", value_parser = interval, value_name = "DURATION")]
    pub resume_refunds_every: Duration,

    /// How often receipts are looked for that were not made within an hour, and those that the cash register is to be asked for
    #[arg(long, env = "WATCH_RECEIPTS_EVERY", default_value = "60s", value_parser = interval, value_name = "DURATION")]
    pub watch_receipts_every: Duration,

    /// How often unanswered 3-D Secure pages are looked for
    #[arg(long, env = "EXPIRE_THREE_DS_EVERY", default_value = "60s", value_parser = interval, value_name = "DURATION")]
    pub expire_three_ds_every: Duration,

    /// How often money that is only held is looked for, to be taken or let go
    #[arg(long, env = "END_HOLDS_EVERY", default_value = "60s", value_parser = interval, value_name = "DURATION")]
    pub end_holds_every: Duration,

    /// How often notifications of the gateway are looked for that had no effect when they came
    #[arg(
        long,
        env = "SETTLE_NOTIFICATIONS_EVERY",
        default_value = "15s",
        value_parser = interval,
        value_name = "DURATION"
    )]
    pub settle_notifications_every: Duration,

    /// How often the months to come are made in the tables of what happened, and those kept no longer are dropped
    #[arg(long, env = "KEEP_HISTORY_EVERY", default_value = "1h", value_parser = interval, value_name = "DURATION")]
    pub keep_history_every: Duration,

    /// How often closed accounts are looked for whose personal traces are to be wiped
    #[arg(long, env = "WIPE_TRACES_EVERY", default_value = "1h", value_parser = interval, value_name = "DURATION")]
    pub wipe_traces_every: Duration,

    /// How often actions of the staff on many rows are looked for that nobody goes through, as after the death of a worker
    #[arg(long, env = "RUN_BULKS_EVERY", default_value = "60s", value_parser = interval, value_name = "DURATION")]
    pub run_bulks_every: Duration,

    /// How often it is looked for closed days that were not compared with the gateway's list today, and for comparisons that
    /// were left in the middle; each of the last eight days is compared once a day
    #[arg(long, env = "RECONCILE_EVERY", default_value = "10m", value_parser = interval, value_name = "DURATION")]
    pub reconcile_every: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err("must not be zero".to_owned()),
        Ok(every) => Ok(every),
        Err(error) => Err(error.to_string()),
    }
}

/// Sends the tasks of the timetable at their times until `shutdown`.
///
/// # Errors
/// What ended the beat.
pub async fn run(config: Config, services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    prepare(config, services).await?.run(shutdown).await;
    Ok(())
}

/// A beat that has not begun.
///
/// # Errors
/// `RESULT_BACKEND` cannot keep what beats agree on.
pub async fn prepare(config: Config, services: Services) -> anyhow::Result<Beat> {
    // Redis or PostgreSQL, wherever results are; the memory of the process where it is the whole system.
    let store = store::connect(services.result_backend.expose_secret()).await.context("RESULT_BACKEND")?;
    let beat = Beat::builder(services.app).store(store).time_zone(services.time_zone);
    Ok(entries(&config).into_iter().fold(beat, BeatBuilder::entry).build())
}

/// What is sent, and when. Each task does all that is due when it runs, so a missed tick needs no second one.
#[must_use]
pub fn entries(config: &Config) -> Vec<Entry> {
    vec![
        Entry::every("open-renewals", config.open_renewals_every, OpenRenewals {}).catch_up(CatchUp::Once),
        Entry::every("announce", config.announce_every, Announce {}).catch_up(CatchUp::Once),
        Entry::every("republish-stranded", config.republish_stranded_every, RepublishStranded {}),
        Entry::every("resolve-unknown", config.resolve_unknown_every, ResolveUnknown {}),
        Entry::every("resume-refunds", config.resume_refunds_every, ResumeRefunds {}),
        Entry::every("watch-receipts", config.watch_receipts_every, WatchReceipts {}),
        Entry::every("expire-three-ds", config.expire_three_ds_every, ExpireThreeDs {}),
        Entry::every("end-holds", config.end_holds_every, EndHolds {}),
        Entry::every("settle-notifications", config.settle_notifications_every, SettleNotifications {}),
        Entry::every("keep-history", config.keep_history_every, KeepHistory {}).catch_up(CatchUp::Once),
        Entry::crontab("recognize-revenue", after_midnight(), RecognizeRevenue {}).catch_up(CatchUp::Once),
        Entry::crontab("roll-up-reports", hourly(), RollUpReports {}).catch_up(CatchUp::Once),
        Entry::every("run-bulks", config.run_bulks_every, RunBulks {}),
        Entry::every("wipe-traces", config.wipe_traces_every, WipeTraces {}).catch_up(CatchUp::Once),
        Entry::every("reconcile", config.reconcile_every, ReconcileDays {}).catch_up(CatchUp::Once),
    ]
}

/// Once a day in the billing zone, when the transactions of the day before have ended
/// ([`AFTER_MIDNIGHT`](billing::store::journal::AFTER_MIDNIGHT)).
fn after_midnight() -> Crontab {
    Crontab::new("5", "1", "*", "*", "*").expect("five past one")
}
/// Soon after the revenue of a day is entered, and again should that have been late.
fn hourly() -> Crontab {
    Crontab::new("20", "*", "*", "*", "*").expect("twenty past each hour")
}
