//! What only a real PostgreSQL can show: Celery's tables, and what happens when it goes away.

mod faults;
mod python;
mod reach;
mod tables;
mod tls;
mod workers;

use std::time::Duration;

use celeriac::backend::BackendOptions;
use tokio_postgres::{Client, NoTls};

fn impatient() -> BackendOptions {
    BackendOptions { timeout: Duration::from_millis(800), ..BackendOptions::default() }
}

/// A connection of the test's own.
async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
