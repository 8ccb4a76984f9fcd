//! What takes very many rows, and so long that it is measured once. Its figures are kept in a file, so that they need not be
//! measured again with everything else.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::contest::Contest;
use crate::dashboard::{self, Shown};
use crate::lists::{self, Listed};
use crate::plan::Scale;
use crate::reconciling::{self, Reconciled};
use crate::renewals::{self, Planned};
use crate::webhooks::{self, Flooded};

/// Notifications a second.
const FLOOD: f64 = 2_000.0;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Once {
    pub planned: Option<Measured<Planned>>,
    pub flooded: Option<Measured<Flooded>>,
    pub reconciled: Option<Measured<Reconciled>>,
    pub listed: Option<Measured<Listed>>,
    pub shown: Option<Measured<Shown>>,
}

/// Figures, and the day on which they were measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Measured<T> {
    pub on: NaiveDate,
    #[serde(flatten)]
    pub figures: T,
}

impl<T> From<T> for Measured<T> {
    fn from(figures: T) -> Self {
        Self { on: Utc::now().date_naive(), figures }
    }
}

impl Once {
    /// As it was kept; nothing if nothing was.
    pub fn kept() -> Result<Self> {
        match fs::read_to_string(file()) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{}", file().display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps what is new here; what is not keeps its former figures.
    pub fn keep(self) -> Result<()> {
        let former = Self::kept()?;
        let all = Self {
            planned: self.planned.or(former.planned),
            flooded: self.flooded.or(former.flooded),
            reconciled: self.reconciled.or(former.reconciled),
            listed: self.listed.or(former.listed),
            shown: self.shown.or(former.shown),
        };
        fs::write(file(), serde_json::to_string_pretty(&all)? + "\n").with_context(|| format!("{}", file().display()))
    }

    pub fn is_whole(&self) -> bool {
        self.planned.is_some()
            && self.flooded.is_some()
            && self.reconciled.is_some()
            && self.listed.is_some()
            && self.shown.is_some()
    }

    /// Measures it all. What fails is told, and keeps nothing else from being measured.
    pub async fn measure(contest: &mut Contest, scale: Scale) -> Self {
        let mut once = Self::default();
        let servers = &contest.servers.clone();
        let Scale { accounts, notifications, payments_each, .. } = scale;
        let began = Instant::now();
        let next = |what: &str| eprintln!("once, {what} ({} s so far)", began.elapsed().as_secs());

        next(&format!("{accounts} due accounts"));
        once.planned = told(renewals::plan(servers, accounts).await);
        if let Some(Measured { figures: planned, .. }) = once.planned {
            eprintln!(
                "  planned: {:.0}/s, {:.0} MB, locks for {:.0} ms",
                planned.rate, planned.peak, planned.longest_lock
            );
            eprintln!("  the slowest call of the API: {:.0} ms", planned.slowest_call);
        }
        next(&format!("{notifications} notifications of the gateway"));
        once.flooded = told(webhooks::flood(servers, notifications, FLOOD).await);
        if let Some(Measured { figures: flooded, .. }) = once.flooded {
            eprintln!("  {:.0}/s, p99 {:.1} ms, {:.0} MB", flooded.rate, flooded.p99, flooded.memory_at_the_end);
        }
        next(&format!("a reconciliation of {accounts} transactions"));
        once.reconciled = told(reconciling::compare(servers, accounts).await);
        if let Some(Measured { figures: reconciled, .. }) = once.reconciled {
            eprintln!("  {:.0}/s, {:.0} MB", reconciled.rate, reconciled.peak);
        }
        next(&format!("lists over {accounts} accounts with {payments_each} payments each"));
        once.listed = told(lists::read(servers, accounts, payments_each).await);
        if let Some(Measured { figures: listed, .. }) = once.listed {
            eprintln!("  {:.2} × the SQL, a year in {:.0} ms", listed.to_sql, listed.year);
        }
        next(&format!("a dashboard for {} s", scale.shown));
        once.shown = told(dashboard::show(contest, scale.shown).await);
        if let Some(Measured { figures: shown, .. }) = once.shown {
            let Shown { memory_at_the_end, dropped, p99_beside, .. } = shown;
            eprintln!("  {memory_at_the_end:.0} MB, {dropped} events dropped, p99 {p99_beside:.1} ms");
        }
        once
    }
}

fn told<T>(measured: Result<T>) -> Option<Measured<T>> {
    measured.inspect_err(|error| eprintln!("  it failed: {error:#}")).ok().map(Measured::from)
}

fn file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/once.json"))
}
