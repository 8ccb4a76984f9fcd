//! `postgresql://`: results in the tables of Celery's SQLAlchemy backend (`celery/backends/database`).

mod address;
mod channel;
mod deliveries;
mod link;
mod listener;
mod pickle;
mod row;
mod schema;
mod server;
mod session;
mod watchers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub(crate) use self::address::is_postgres;
pub(crate) use self::link::{Link, Prepared};
use self::listener::Listener;
use self::row::Row;
pub(crate) use self::schema::Tables;
pub(crate) use self::server::Server;
use self::session::{CLEANUP_CHUNK, Session, Write};
use super::parts::parts;
use super::{
    BackendError, BackendOptions, ChordPart, ChordProgress, DeliveryCounts, ResultBackend, ResultSubscription,
    StoredResult,
};
use crate::clock;

/// `postgresql://` (Celery: `db+postgresql://`): results in the tables of Celery's SQLAlchemy backend, readable and
/// writable by Python, and as durable as the database.
///
/// * `result` and the other columns of bytes hold JSON, as Celery 5.7 with `result_serializer = "json"` writes them. The
///   pickles of older versions are read (values that JSON can say, without executing anything), never written: clients
///   before 5.7 cannot read our results here.
/// * The tables, and columns that an older Celery lacks, are made when they are missing; with all of them there, no right
///   to make tables is needed. Another schema is chosen as in libpq: `?options=-csearch_path%3Dname`.
/// * Whoever waits is woken by NOTIFY. Python does not notify: its results are seen within a second, by one look a second
///   at all that is waited for.
/// * Two connections: one asks and stores, one listens, from the first time somebody waits. A lost connection is made
///   again; what is asked meanwhile waits for it, up to [`BackendOptions::timeout`].
/// * They need sessions of their own. A pooler in transaction mode that mixes prepared statements up (PgBouncer before
///   1.21) is refused; behind one that does not, nobody is woken, and results are seen within a second.
/// * `group_id` and `parent_id` have no columns and are not kept. Groups are stored as Celery stores them. Chords are
///   not counted here: who publishes one sends `celery.chord_unlock` too, which looks for its parts, as in Celery.
/// * Attempts of tasks are counted in a table of our own, `celeriac_deliveries`, which a worker with a delivery limit makes
///   when it is missing.
/// * An expired result is not answered and may be overwritten; it is deleted by [`cleanup`](ResultBackend::cleanup), which
///   `celery.backend_cleanup` is for. A result that never became final stays, as in Celery.
/// * TLS is off unless `sslmode=require`, `verify-full` or `verify-ca` asks for it, and then the certificate must be from
///   an authority of the system, or of the file `sslrootcert`, and but for `verify-ca` be for the host; libpq's `require`
///   trusts any server, which protects from nobody who can do more than listen. `sslcert` and `sslkey` are our own.
/// * Several servers: `postgresql://one:5432,two:5432/database`, or `?host=one:5432&host=two:5432`. One that takes writes is
///   looked for, unless `target_session_attrs` says otherwise; each may take `connect_timeout` (3 seconds by default) of
///   the time, so that a silent one does not hide the next.
pub struct PostgresBackend {
    server: Arc<Server>,
    link: Link<Session>,
    listener: Listener,
    /// In seconds.
    expires: Option<f64>,
}

impl PostgresBackend {
    /// Connects.
    ///
    /// # Errors
    /// See [`connect`](super::connect).
    pub(super) async fn connect(url: &str, options: &BackendOptions) -> Result<Self, BackendError> {
        let server = Arc::new(Server::new(url, options.timeout, &schema::RESULTS)?);
        let link = Link::open(Arc::clone(&server)).await?;
        let listener = Listener::new(Arc::clone(&server));
        Ok(Self { server, link, listener, expires: options.expires.as_ref().map(Duration::as_secs_f64) })
    }

    /// What is to be written of these results: of each task the last, or the first SUCCESS.
    fn writes<'a>(&self, results: &'a [StoredResult]) -> Result<Vec<Write<'a>>, BackendError> {
        let now = clock::now();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut writes: Vec<Write<'a>> = Vec::with_capacity(results.len());
        for result in results {
            let refused = |reason| self.server.refused(format!("result of task {:?}: {reason}", result.task_id));
            let write = Write { row: Row::of(result, now).map_err(refused)?, meta: &result.meta };
            match places.get(result.task_id.as_str()) {
                None => {
                    places.insert(&result.task_id, writes.len());
                    writes.push(write);
                }
                Some(place) if writes[*place].row.status != "SUCCESS" => writes[*place] = write,
                Some(_) => {}
            }
        }
        Ok(writes)
    }
}

#[async_trait]
impl ResultBackend for PostgresBackend {
    async fn store(&self, results: &[StoredResult]) -> Result<(), BackendError> {
        for part in parts(results) {
            let writes = &self.writes(part)?;
            self.link.run(|session| async move { session.store(writes, self.expires).await }).await?;
        }
        Ok(())
    }

    async fn get(&self, task_id: &str) -> Result<Option<String>, BackendError> {
        if !can_be_text(task_id) {
            return Ok(None);
        }
        let row = self.link.run(|session| async move { session.get(task_id, self.expires).await }).await?;
        let meta = row.map(Row::into_meta).transpose();
        let meta = meta.map_err(|reason| self.server.refused(format!("result of task {task_id:?}: {reason}")))?;
        Ok(meta.map(|meta| meta.to_json()))
    }

    async fn subscribe(&self, task_id: &str) -> Result<ResultSubscription, BackendError> {
        if !can_be_text(task_id) {
            return Err(self.server.refused(format!("no task has the id {task_id:?}")));
        }
        self.listener.subscribe(task_id).await
    }

    async fn forget(&self, task_id: &str) -> Result<(), BackendError> {
        if !can_be_text(task_id) {
            return Ok(());
        }
        self.link.run(|session| async move { session.forget(task_id).await }).await
    }

    /// Nothing: `celery.chord_unlock` looks at the results.
    async fn chord_part(&self, _part: &ChordPart, _token: &str) -> Result<ChordProgress, BackendError> {
        Ok(ChordProgress::Open)
    }

    async fn save_group(&self, group_id: &str, group: &str) -> Result<(), BackendError> {
        let refused = |reason| self.server.refused(format!("group {group_id:?}: {reason}"));
        row::exactly(group_id, row::MAX_NAME, "id").map_err(refused)?;
        let tuple = &row::group_to_column(group).ok_or_else(|| refused("it has no result".to_owned()))?;
        self.link.run(|session| async move { session.save_group(group_id, tuple).await }).await
    }

    async fn group(&self, group_id: &str) -> Result<Option<String>, BackendError> {
        if !can_be_text(group_id) {
            return Ok(None);
        }
        let column = self.link.run(|session| async move { session.group(group_id, self.expires).await }).await?;
        let group = column.map(row::group_of_column).transpose();
        group.map_err(|reason| self.server.refused(format!("group {group_id:?}: {reason}")))
    }

    async fn forget_group(&self, group_id: &str) -> Result<(), BackendError> {
        if !can_be_text(group_id) {
            return Ok(());
        }
        self.link.run(|session| async move { session.forget_group(group_id).await }).await
    }

    fn needs_cleanup(&self) -> bool {
        self.expires.is_some()
    }

    fn expires(&self) -> Option<Duration> {
        self.expires.map(Duration::from_secs_f64)
    }

    fn deliveries(&self) -> Option<&dyn DeliveryCounts> {
        Some(self)
    }

    async fn cleanup(&self, older_than: DateTime<Utc>) -> Result<u64, BackendError> {
        self.link.run(|session| async move { session.cleanup_deliveries().await }).await?;
        let mut deleted = 0;
        for table in ["celery_taskmeta", "celery_tasksetmeta"] {
            loop {
                let chunk = self.link.run(|session| async move { session.cleanup(table, older_than).await }).await?;
                deleted += chunk;
                if chunk < CLEANUP_CHUNK {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    fn address(&self) -> &str {
        self.server.address()
    }

    async fn close(&self) {
        self.listener.close();
        self.link.close();
    }
}

/// PostgreSQL has no NUL in texts.
fn can_be_text(id: &str) -> bool {
    !id.contains('\0')
}
