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
        let each = count / sessions;
        // Accounts with numbers, so that each transaction of a session takes the next one.
        let accounts = format!(
            "insert into account (id) select ('00000000-0000-4000-{sessions:04}-' || lpad(client::text, 4, '0')
                || lpad(n::text, 8, '0'))::uuid
            from generate_series(0, {sessions} - 1) client, generate_series(1, {each}) n"
        );
        database.execute(&accounts).await?;
        database.execute("vacuum analyze").await?;
        best = best.max(run(servers, database, sessions, each).await?);
        let paid = database
            .text(&format!(
                "select count(*)::text from account
                where status = 'Active' and id::text like '00000000-0000-4000-{sessions:04}-%'"
            ))
            .await?;
        ensure!(paid.parse() == Ok(each * sessions), "pgbench has not paid for all accounts");
    }
    Ok(best)
}

async fn run(servers: &Servers, database: &Database, sessions: usize, each: usize) -> Result<f64> {
    let tariff = database.text("select id::text from tariff order by amount limit 1").await?;
    let output = Command::new(&servers.pgbench)
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--define=n=0"])
        .args([format!("--define=sessions={sessions}"), format!("--define=tariff={tariff}")])
        .args([format!("--client={sessions}"), format!("--transactions={each}")])
        .arg(format!("--file={}/src/payments/pay.sql", env!("CARGO_MANIFEST_DIR")))
        .arg(&database.url)
        .stdin(Stdio::null())
        .output()
        .await
        .context("pgbench")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let line = printed.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench tells its rate")?;
    Ok(line.split_whitespace().next().context("a number")?.parse()?)
}
