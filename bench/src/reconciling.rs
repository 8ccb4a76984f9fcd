//! A list of very many operations of the gateway is compared with as many payments: how fast, and in how much memory.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use billing::tasks::{LOOKUPS, Reconcile};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::payments::system::{Database, role};
use crate::renewals::{fill, high_water_megabytes, services_of, stop};
use crate::servers::Servers;

const ENDS_WITHIN: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reconciled {
    pub transactions: usize,
    /// Operations of the gateway a second, compared both ways, the ledger included.
    pub rate: f64,
    /// The most that the worker had resident, in megabytes.
    pub peak: f64,
}

/// Compares a list that was read already: what lies between the pages and the end of a run.
pub async fn compare(servers: &Servers, transactions: usize) -> Result<Reconciled> {
    let database = Database::migrated(servers).await?;
    fill(&database, transactions, "date_trunc('day', now()) - interval '2 days'").await?;
    database
        .execute(
            "insert into gateway_transaction (transaction_id, created_at, operation, status, amount, currency, invoice_id,
                 invoice_no, account_id, payment_id, bill_id, on_our_terminal, listed_at)
             select p.transaction_id, p.first_sent_at, 'payment', 'Completed', p.amount, p.currency, p.invoice_no::text,
                 p.invoice_no, b.account_id::text, p.id, b.id, true, now()
             from payment p join bill b on b.id = p.bill_id;
             insert into reconciliation (id, created_at, kind, asked_by, range_from, range_to, phase, is_stable, leased_until)
             values (gen_random_uuid(), now(), 'asked', 'bench', now() - interval '90 days', now(), 'comparing', true, now())",
        )
        .await?;
    database.execute("vacuum analyze").await?;
    let id = database.text("select id::text from reconciliation").await?;
    let app = services_of(servers, &database).connect().await?.app;
    app.declare_queue(LOOKUPS).await?;
    app.broker().purge(LOOKUPS).await?;
    let settings = [
        ("DATABASE_URL", database.url.as_str()),
        ("BROKER_URL", servers.amqp.as_str()),
        ("RESULT_BACKEND", servers.redis.as_str()),
        ("WORKER_QUEUES", LOOKUPS),
        ("LOG", "error"),
    ];
    let mut worker = role(&settings, &["worker"])?;
    let pid = worker.id().context("it runs")?;
    let (began, mut peak) = (Instant::now(), 0.0_f64);
    app.send(Reconcile { reconciliation_id: id.parse()? }).await?;
    while database.count("select count(*) from reconciliation where ended_at is null").await? > 0 {
        ensure!(began.elapsed() < ENDS_WITHIN, "the run does not end");
        peak = peak.max(high_water_megabytes(pid)?);
        sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    stop(&mut worker).await?;
    let compared = database.count("select transactions from reconciliation").await?;
    let found = database.count("select found from reconciliation").await?;
    ensure!(compared == i64::try_from(transactions)? && found == 0, "{compared} compared, {found} differences");
    database.drop().await?;
    Ok(Reconciled { transactions, rate: transactions as f64 / took.as_secs_f64(), peak })
}
