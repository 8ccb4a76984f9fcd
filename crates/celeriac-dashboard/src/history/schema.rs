//! The tables, made and migrated by whoever comes first.

use tokio_postgres::{Client, Error};

/// In order; never changed once it was released.
const MIGRATIONS: [&str; 3] =
    [include_str!("0001_history.sql"), include_str!("0002_paused.sql"), include_str!("0003_error.sql")];

/// One transaction each; the lock keeps dashboards that start at once from doing it twice.
pub(super) async fn migrate(client: &mut Client) -> Result<(), Error> {
    let migration = client.transaction().await?;
    migration.batch_execute("SELECT pg_advisory_xact_lock(4858217053091301)").await?;
    migration
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS celeriac_dashboard;
             CREATE TABLE IF NOT EXISTS celeriac_dashboard.migration (number integer PRIMARY KEY, applied_at timestamptz NOT NULL)",
        )
        .await?;
    let done = migration.query_one("SELECT coalesce(max(number), 0) FROM celeriac_dashboard.migration", &[]).await?;
    let done: i32 = done.get(0);
    for (number, statements) in (1_i32..).zip(MIGRATIONS).filter(|(number, _)| *number > done) {
        migration.batch_execute(statements).await?;
        migration.execute("INSERT INTO celeriac_dashboard.migration VALUES ($1, now())", &[&number]).await?;
    }
    migration.commit().await
}
