//! What is asked of the server over one connection.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Statement};
use tokio_util::sync::CancellationToken;

use super::link::Prepared;
use super::row::Row;
use super::{channel, deliveries};

/// `date_done` has no time zone: Celery's driver lets the server convert to that of the session, and so do we.
const COLUMNS: &str = "task_id, status, result, date_done::timestamptz, traceback, children, \
                       name, args, kwargs, worker, retries, queue, stamps";

/// Stores results, each in a row of its own. What is a SUCCESS stays, unless it has expired.
///
/// The number of a row comes from the sequence only where a row is new: it does not run out sooner than Celery's would.
/// A stamp that was stored before stays, as in Celery.
const STORE: &str = "
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[], $5::text[], $6::bytea[], $7::text[],
        $8::bytea[], $9::bytea[], $10::text[], $11::int4[], $12::text[], $13::bytea[], $14::text[], $15::text[])
    AS given (task_id, status, result, date_done, traceback, children, name, args, kwargs, worker, retries, queue, stamps,
        channel, payload)
), updated AS (
    UPDATE celery_taskmeta AS stored
    SET status = given.status, result = given.result, date_done = given.date_done, traceback = given.traceback,
        children = given.children, name = given.name, args = given.args, kwargs = given.kwargs, worker = given.worker,
        retries = given.retries, queue = given.queue, stamps = COALESCE(given.stamps, stored.stamps)
    FROM given
    WHERE stored.task_id = given.task_id
        AND (stored.status IS DISTINCT FROM 'SUCCESS'
            OR stored.date_done::timestamptz <= now() - make_interval(secs => $16))
    RETURNING stored.task_id
), inserted AS (
    INSERT INTO celery_taskmeta AS stored
        (id, task_id, status, result, date_done, traceback, children, name, args, kwargs, worker, retries, queue, stamps)
    SELECT nextval('task_id_sequence'), task_id, status, result, date_done, traceback, children, name, args, kwargs,
        worker, retries, queue, stamps
    FROM given
    WHERE NOT EXISTS (SELECT FROM celery_taskmeta AS stored WHERE stored.task_id = given.task_id)
    ON CONFLICT (task_id) DO UPDATE
    SET status = excluded.status, result = excluded.result, date_done = excluded.date_done,
        traceback = excluded.traceback, children = excluded.children, name = excluded.name, args = excluded.args,
        kwargs = excluded.kwargs, worker = excluded.worker, retries = excluded.retries, queue = excluded.queue,
        stamps = COALESCE(excluded.stamps, stored.stamps)
    WHERE stored.status IS DISTINCT FROM 'SUCCESS'
    RETURNING stored.task_id
)
SELECT pg_notify(channel, (txid_current() % 4294967296)::text || ' ' || payload)
FROM given WHERE task_id IN (SELECT task_id FROM updated UNION ALL SELECT task_id FROM inserted)";

const FORGET: &str = "DELETE FROM celery_taskmeta WHERE task_id = $1";

const SAVE_GROUP: &str = "
INSERT INTO celery_tasksetmeta (id, taskset_id, result, date_done)
VALUES (nextval('taskset_id_sequence'), $1, $2, now())
ON CONFLICT (taskset_id) DO UPDATE SET result = excluded.result, date_done = excluded.date_done";

const GROUP: &str = "
SELECT result FROM celery_tasksetmeta
WHERE taskset_id = $1 AND (date_done::timestamptz <= now() - make_interval(secs => $2)) IS NOT TRUE";

const FORGET_GROUP: &str = "DELETE FROM celery_tasksetmeta WHERE taskset_id = $1";

/// How many expired rows are deleted by one statement, so that none takes long.
pub(super) const CLEANUP_CHUNK: u64 = 1000;

/// One connection with its prepared statements.
pub(super) struct Session {
    client: Client,
    kill: CancellationToken,
    store: Statement,
    get: Statement,
}

/// A row, and the metadata as text to be sent to whoever waits for it.
pub(super) struct Write<'a> {
    pub(super) row: Row,
    pub(super) meta: &'a str,
}

impl Prepared for Session {
    async fn prepare(client: Client, kill: CancellationToken) -> Result<Self, Error> {
        let get = format!(
            "SELECT {COLUMNS} FROM celery_taskmeta WHERE task_id = $1
             AND (date_done::timestamptz <= now() - make_interval(secs => $2)) IS NOT TRUE"
        );
        let store = client.prepare(STORE).await?;
        let get = client.prepare_typed(&get, &[Type::TEXT, Type::FLOAT8]).await?;
        Ok(Self { client, kill, store, get })
    }

    fn is_dead(&self) -> bool {
        self.kill.is_cancelled() || self.client.is_closed()
    }

    fn kill(&self) {
        self.kill.cancel();
    }
}

impl Session {
    /// `expires` in seconds. No two of the writes may be of the same task.
    pub(super) async fn store(&self, writes: &[Write<'_>], expires: Option<f64>) -> Result<(), Error> {
        fn column<'a, T>(writes: &'a [Write<'_>], value: impl Fn(&'a Row) -> T) -> Vec<T> {
            writes.iter().map(|write| value(&write.row)).collect()
        }
        let channels: Vec<_> = writes.iter().map(|write| channel::name(&write.row.task_id)).collect();
        let payloads: Vec<_> = writes.iter().map(|write| channel::payload(write.meta)).collect();
        self.client
            .execute(
                &self.store,
                &[
                    &column(writes, |row| &row.task_id),
                    &column(writes, |row| &row.status),
                    &column(writes, |row| &row.result),
                    &column(writes, |row| &row.date_done),
                    &column(writes, |row| &row.traceback),
                    &column(writes, |row| &row.children),
                    &column(writes, |row| &row.name),
                    &column(writes, |row| &row.args),
                    &column(writes, |row| &row.kwargs),
                    &column(writes, |row| &row.worker),
                    &column(writes, |row| &row.retries),
                    &column(writes, |row| &row.queue),
                    &column(writes, |row| &row.stamps),
                    &channels,
                    &payloads,
                    &expires,
                ],
            )
            .await?;
        Ok(())
    }

    /// The row of a task, unless it has expired.
    pub(super) async fn get(&self, task_id: &str, expires: Option<f64>) -> Result<Option<Row>, Error> {
        let row = self.client.query_opt(&self.get, &[&task_id, &expires]).await?;
        row.map(|row| read(&row)).transpose()
    }

    pub(super) async fn forget(&self, task_id: &str) -> Result<(), Error> {
        self.client.execute_typed(FORGET, &[(&task_id, Type::TEXT)]).await.map(drop)
    }

    pub(super) async fn save_group(&self, group_id: &str, tuple: &[u8]) -> Result<(), Error> {
        self.client.execute_typed(SAVE_GROUP, &[(&group_id, Type::TEXT), (&tuple, Type::BYTEA)]).await.map(drop)
    }

    /// What is stored of a group, unless it has expired.
    pub(super) async fn group(&self, group_id: &str, expires: Option<f64>) -> Result<Option<Vec<u8>>, Error> {
        let row = self.client.query_typed_opt(GROUP, &[(&group_id, Type::TEXT), (&expires, Type::FLOAT8)]).await?;
        row.map_or(Ok(None), |row| row.try_get(0))
    }

    pub(super) async fn forget_group(&self, group_id: &str) -> Result<(), Error> {
        self.client.execute_typed(FORGET_GROUP, &[(&group_id, Type::TEXT)]).await.map(drop)
    }

    /// Makes the table of deliveries, unless it is there.
    pub(super) async fn make_deliveries(&self) -> Result<(), Error> {
        if self.has_deliveries().await? {
            return Ok(());
        }
        self.client.batch_execute(deliveries::CREATE).await
    }

    async fn has_deliveries(&self) -> Result<bool, Error> {
        self.client.query_typed(deliveries::IS_THERE, &[]).await?.first().map_or(Ok(false), |row| row.try_get(0))
    }

    /// Returns how often it was counted, this time included.
    pub(super) async fn count_delivery(&self, task_id: &str) -> Result<i32, Error> {
        self.client.query_typed(deliveries::COUNT, &[(&task_id, Type::TEXT)]).await?[0].try_get(0)
    }

    pub(super) async fn counted_deliveries(&self, task_id: &str) -> Result<i32, Error> {
        let counted = self.client.query_typed_opt(deliveries::COUNTED, &[(&task_id, Type::TEXT)]).await?;
        counted.map_or(Ok(0), |row| row.try_get(0))
    }

    pub(super) async fn forget_deliveries(&self, task_id: &str) -> Result<(), Error> {
        if self.has_deliveries().await? {
            self.client.execute_typed(deliveries::FORGET, &[(&task_id, Type::TEXT)]).await?;
        }
        Ok(())
    }

    /// Deletes counts that nobody needs any longer.
    pub(super) async fn cleanup_deliveries(&self) -> Result<(), Error> {
        if self.has_deliveries().await? {
            self.client.execute_typed(deliveries::CLEANUP, &[]).await?;
        }
        Ok(())
    }

    /// Deletes some rows of a table that ended before; returns how many.
    pub(super) async fn cleanup(&self, table: &str, before: DateTime<Utc>) -> Result<u64, Error> {
        let sql = format!(
            "DELETE FROM {table} WHERE id IN (
                SELECT id FROM {table} WHERE date_done < $1::timestamptz::timestamp
                LIMIT {CLEANUP_CHUNK} FOR UPDATE SKIP LOCKED
            )"
        );
        self.client.execute_typed(&sql, &[(&before, Type::TIMESTAMPTZ)]).await
    }
}

/// What is new of these tasks since the versions at which they were seen (see [`versions`]), with the new versions.
pub(super) async fn changes(client: &Client, task_ids: &[&str], seen: &[i64]) -> Result<Vec<(Row, i64)>, Error> {
    let sql = format!(
        "SELECT {COLUMNS}, stored.xmin::text::bigint FROM celery_taskmeta AS stored
         JOIN unnest($1, $2) AS seen (task, version) ON task_id = task
         WHERE stored.xmin::text::bigint <> version"
    );
    let rows = client.query_typed(&sql, &[(&task_ids, Type::TEXT_ARRAY), (&seen, Type::INT8_ARRAY)]).await?;
    rows.iter().map(|row| Ok((read(row)?, row.try_get(13)?))).collect()
}

/// The version of each of these tasks that has a row: the number of the transaction which wrote it.
pub(super) async fn versions(client: &Client, task_ids: &[&str]) -> Result<Vec<(String, i64)>, Error> {
    const VERSIONS: &str = "SELECT task_id, xmin::text::bigint FROM celery_taskmeta WHERE task_id = ANY($1)";
    let rows = client.query_typed(VERSIONS, &[(&task_ids, Type::TEXT_ARRAY)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn read(row: &tokio_postgres::Row) -> Result<Row, Error> {
    Ok(Row {
        task_id: row.try_get(0)?,
        // Without a status it is what Celery's model has by default.
        status: row.try_get::<_, Option<String>>(1)?.unwrap_or_else(|| "PENDING".to_owned()),
        result: row.try_get(2)?,
        date_done: row.try_get(3)?,
        traceback: row.try_get(4)?,
        children: row.try_get(5)?,
        name: row.try_get(6)?,
        args: row.try_get(7)?,
        kwargs: row.try_get(8)?,
        worker: row.try_get(9)?,
        retries: row.try_get(10)?,
        queue: row.try_get(11)?,
        stamps: row.try_get(12)?,
    })
}
