//! A schedule in the tables of django-celery-beat, which its admin pages edit.

mod change;
mod row;
mod schema;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::session::Session;
use super::{Change, Lease, Progress, Record, ScheduleStore, StoreError, StoredEntries};
use crate::backend::BackendError;
use crate::backend::postgres::{Link, Server};

/// A schedule in the tables of django-celery-beat 2.9 (`django_celery_beat_periodictask` and those around it).
///
/// * What a Python program or its admin pages write there is run, and seen within 5 seconds of the change that
///   `django_celery_beat_periodictasks.last_update` tells of; what changes without that, within 5 minutes, as in Python.
/// * Written back are `last_run_at`, `total_run_count` and, for one-off entries and those that have expired, `enabled`, as
///   Python's scheduler does.
/// * Solar schedules, and rows that cannot be read, are left out with an error in the log; nothing is written to them.
/// * The tables are made when they are missing, as Django's migrations make them (`migrate --fake django_celery_beat`
///   tells Django so later). Two more are ours: `celeriac_beat_lease`, and `celeriac_beat_progress`, in whose column
///   `catch_up` an operator may say `once`, `skip`, `all` or how many for an entry.
/// * Who leads and what was done is written in statements of one transaction each, all with the clock of the server.
/// * Python's own beat must not run on the same tables at the same time: it knows of no lease. It may run before and after:
///   what it has sent meanwhile, as `last_run_at` tells, is not sent again, whatever the catch-up policy.
///
/// The address is that of the result backend `postgresql://`; another schema is `?options=-csearch_path%3Dname`. It takes
/// one connection.
pub struct PostgresScheduleStore {
    link: Link<Session>,
}

impl PostgresScheduleStore {
    /// Connects. No answer is waited for longer than `timeout`.
    ///
    /// # Errors
    /// See [`connect`](super::connect).
    pub async fn connect(url: &str, timeout: Duration) -> Result<Self, BackendError> {
        let server = Arc::new(Server::new(url, timeout, &schema::SCHEDULE)?);
        Ok(Self { link: Link::open(server).await? })
    }
}

#[async_trait]
impl ScheduleStore for PostgresScheduleStore {
    async fn lead(&self, beat: &str, ttl: Duration) -> Result<Option<u64>, StoreError> {
        let term = self.link.run(|session| async move { session.lead(beat, ttl.as_secs_f64()).await }).await?;
        Ok(term.and_then(|term| term.try_into().ok()))
    }

    async fn leader(&self) -> Result<Option<Lease>, StoreError> {
        Ok(self.link.run(|session| async move { session.leader().await }).await?)
    }

    async fn resign(&self, lease: &Lease) -> Result<(), StoreError> {
        Ok(self.link.run(|session| async move { session.resign(lease).await }).await?)
    }

    async fn entries(&self, seen: Option<&str>) -> Result<Option<StoredEntries>, StoreError> {
        let version = self.link.run(|session| async move { session.version().await }).await?;
        if seen == Some(&version) {
            return Ok(None);
        }
        let rows = self.link.run(|session| async move { session.rows().await }).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let name = row.name.clone();
            match row.into_definition() {
                Ok(entry) => entries.push(entry),
                Err(error) => tracing::error!(entry = name, %error, "schedule entry cannot be read; it is left out"),
            }
        }
        Ok(Some(StoredEntries { version, entries }))
    }

    async fn progress(&self) -> Result<HashMap<String, Progress>, StoreError> {
        Ok(self.link.run(|session| async move { session.progress().await }).await?.into_iter().collect())
    }

    async fn change(&self, entry: &str, change: &Change) -> Result<bool, StoreError> {
        Ok(self.link.run(|session| async move { session.change(entry, change).await }).await?)
    }

    async fn record(&self, lease: &Lease, records: &[Record]) -> Result<(), StoreError> {
        let is_held = self.link.run(|session| async move { session.record(lease, records).await }).await?;
        if is_held { Ok(()) } else { Err(StoreError::NotLeading) }
    }
}
