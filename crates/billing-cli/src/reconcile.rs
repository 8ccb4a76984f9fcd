//! `billing reconcile`: the gateway's list beside our payments. The comparison itself is a worker's, for only workers talk to
//! the gateway; this orders it, waits, and prints what came of it.

use std::io::{self, Write};
use std::time::Duration;

use billing::db::{Conn, Db};
use billing::reconciliation::{DifferenceState, MAX_DAYS, Range, RunKind, today};
use billing::store::reconciliation::{self as store, Difference, Filter, Run};
use billing::tasks::Reconcile;
use billing::{Currency, Kopecks, ReconciliationId};
use chrono::{Days, NaiveDate};
use clap::Args;

use crate::exit::{self, Exit};

#[derive(Args, Debug)]
pub struct ReconcileConfig {
    /// The first day, as in 2026-11-01, from midnight to midnight in Moscow; without days, shows which were compared
    #[arg(requires = "to")]
    pub from: Option<NaiveDate>,
    /// The last day
    pub to: Option<NaiveDate>,
    /// Only orders the comparison, and does not wait for its end
    #[arg(long, env = "RECONCILE_NO_WAIT")]
    pub no_wait: bool,
    /// Who orders it
    #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
    pub by: String,
    #[command(flatten)]
    pub services: billing::ServicesConfig,
}

/// How often it is looked whether the run has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The days that are shown.
const SHOWN_DAYS: u64 = 31;

/// So many differences are read at once.
const PAGE: i64 = 500;

pub(crate) async fn run(config: ReconcileConfig) -> Result<u8, Exit> {
    let (Some(from), Some(to)) = (config.from, config.to) else {
        let db = config.services.connect_database().await.map_err(crate::roles::services_error)?;
        return show_days(&db).await;
    };
    let range = range(from, to)?;
    let services = config.services.connect().await.map_err(crate::roles::services_error)?;
    let run = {
        let mut conn = services.db.conn().await?;
        store::ask(&mut conn, RunKind::Asked, range, &config.by, services.db.now()).await?
    };
    let sent = services.app.send(Reconcile { reconciliation_id: run.id }).await;
    services.app.close().await;
    if let Err(error) = sent {
        tracing::warn!(%error, "the comparison is left to the timetable");
    }
    if config.no_wait {
        writeln!(io::stdout(), "ordered: {}", run.id)?;
        return Ok(exit::OK);
    }
    report(run.id, &services.db).await
}

fn range(from: NaiveDate, to: NaiveDate) -> Result<Range, Exit> {
    if to < from {
        return Err(Exit::configuration(anyhow::anyhow!("TO: {to} is before {from}")));
    }
    if (to - from).num_days() >= MAX_DAYS {
        return Err(Exit::configuration(anyhow::anyhow!("TO: at most {MAX_DAYS} days are compared at once")));
    }
    Ok(Range::of_days(from, to))
}

/// Waits for the end of a run and prints what it found. The status says whether something is open.
pub(crate) async fn report(id: ReconciliationId, db: &Db) -> Result<u8, Exit> {
    let run = ended(id, db).await?;
    let mut out = io::stdout();
    let rest = if run.is_stable == Some(false) { "; the list did not come to rest" } else { "" };
    writeln!(
        out,
        "{} operations of the gateway and {} payments compared: {} differences, {} put right{rest}",
        run.transactions, run.payments, run.found, run.settled
    )?;
    let mut conn = db.conn().await?;
    let open = show_differences(&mut conn, id).await?;
    Ok(if open > 0 { exit::FAILED } else { exit::OK })
}

async fn ended(id: ReconciliationId, db: &Db) -> Result<Run, Exit> {
    let mut told = None;
    loop {
        let run = store::get(&mut *db.conn().await?, id).await?;
        let run = run.ok_or_else(|| anyhow::anyhow!("the run {id} is gone"))?;
        if run.ended_at.is_some() {
            return Ok(run);
        }
        if run.trouble.is_some() && run.trouble != told {
            tracing::warn!(why = run.trouble, "it waits");
            told = run.trouble;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Returns how many are open.
async fn show_differences(conn: &mut Conn, run: ReconciliationId) -> Result<usize, Exit> {
    let mut out = io::stdout();
    let (mut open, mut before) = (0, None);
    loop {
        let page = store::list(conn, Filter { run: Some(run), before, ..Filter::default() }, PAGE).await?;
        for found in &page {
            open += usize::from(found.state == DifferenceState::Open);
            writeln!(out, "{}", line(found))?;
        }
        before = page.last().map(|last| (last.at, last.id));
        if page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            return Ok(open);
        }
    }
}

fn line(found: &Difference) -> String {
    let side = |amount: Option<Kopecks>, currency: Option<&str>, state: Option<&str>| {
        let money = amount.map(|amount| match currency.and_then(|code| code.parse::<Currency>().ok()) {
            Some(currency) => amount.in_currency(currency).to_string(),
            None => amount.get().to_string(),
        });
        [money.as_deref(), state].into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let ours = side(found.our_amount, found.our_currency.as_deref(), found.our_state.as_deref());
    let theirs = side(found.their_amount, found.their_currency.as_deref(), found.their_status.as_deref());
    let nothing = |text: String| if text.is_empty() { "nothing".to_owned() } else { text };
    let at = found.at.format("%Y-%m-%d %H:%M:%SZ");
    let decided = match (&found.decided_by, &found.reason) {
        (Some(by), Some(reason)) => format!(" ({by}: {reason})"),
        _ => String::new(),
    };
    format!(
        "{}  {at}  {:<19} {}  gateway: {}, ours: {}  {}{decided}",
        found.id,
        found.kind.as_str(),
        found.subject,
        nothing(theirs),
        nothing(ours),
        found.state
    )
}

async fn show_days(db: &Db) -> Result<u8, Exit> {
    let today = today(db.now());
    let mut conn = db.conn().await?;
    let days = store::days(&mut conn, today - Days::new(SHOWN_DAYS), today - Days::new(1)).await?;
    let mut out = io::stdout();
    for day in days {
        match day.ended_at {
            Some(at) => writeln!(out, "{}  compared {}  open: {}", day.day, at.format("%Y-%m-%d %H:%M:%SZ"), day.open)?,
            None => writeln!(out, "{}  not run", day.day)?,
        }
    }
    Ok(exit::OK)
}
