//! pgbench, with the statements of a payment: what PostgreSQL does when nothing else is to be done.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::system::Database;
use crate::servers::Servers;

/// As many sessions as the roles have at most; the best counts.
const SESSIONS: [usize; 3] = [4, 10, 20];

/// Pays for `count` new accounts with each number of sessions. Payments a second, at best.
pub async fn measure(servers: &Servers, database: &Database, count: usize) -> Result<f64> {
    let mut best = 0.0_f64;
    for sessions in SESSIONS {
        database.execute(include_str!("accounts.sql")).await?;
        let each = count / sessions;
        database
            .execute(&format!(
                "insert into bench_account select n, gen_random_uuid() from generate_series(1, {}) n;
            insert into account (id) select id from bench_account;",
                each * sessions
            ))
            .await?;
        database.execute("vacuum analyze").await?;
        best = best.max(run(servers, &database.url, sessions, each).await?);
        let paid = database
            .count("select count(*) from account a join bench_account b on b.id = a.id where a.status = 'Active'");
        ensure!(usize::try_from(paid.await?)? == each * sessions, "pgbench has not paid for all accounts");
    }
    Ok(best)
}

async fn run(servers: &Servers, url: &str, sessions: usize, each: usize) -> Result<f64> {
    let output = Command::new(&servers.pgbench)
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .args([format!("--client={sessions}"), format!("--transactions={each}")])
        .arg(format!("--file={}/src/payments/pay.sql", env!("CARGO_MANIFEST_DIR")))
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .await
        .context("pgbench")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let line = printed.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench tells its rate")?;
    Ok(line.split_whitespace().next().context("a number")?.parse()?)
}
