//! What is asked of the server.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};
use tokio_util::sync::CancellationToken;

use super::row::{COLUMNS, Row};
use crate::backend::postgres::Prepared;
use crate::beat::store::{Lease, Progress, Record};

/// The term stays while the lease is extended in time, and grows whenever it is taken anew.
const LEAD: &str = "
INSERT INTO celeriac_beat_lease AS held (name, beat, term, expires_at)
VALUES ('beat', $1, 1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (name) DO UPDATE SET
    term = held.term + CASE WHEN held.beat = excluded.beat AND held.expires_at > clock_timestamp() THEN 0 ELSE 1 END,
    beat = excluded.beat,
    expires_at = clock_timestamp() + make_interval(secs => $2)
WHERE held.beat = excluded.beat OR held.expires_at <= clock_timestamp()
RETURNING term";

const LEADER: &str =
    "SELECT beat, term FROM celeriac_beat_lease WHERE name = 'beat' AND expires_at > clock_timestamp()";

const RESIGN: &str =
    "UPDATE celeriac_beat_lease SET expires_at = clock_timestamp() WHERE name = 'beat' AND beat = $1 AND term = $2";

/// Changes with every change that Django tells of, with the catch-up policies, and every 5 minutes.
const VERSION: &str = "
SELECT concat_ws(' ',
    (SELECT last_update::text FROM django_celery_beat_periodictasks WHERE ident = 1),
    (SELECT md5(string_agg(entry || ' ' || catch_up, ',' ORDER BY entry))
        FROM celeriac_beat_progress WHERE catch_up IS NOT NULL),
    floor(extract(epoch FROM now()) / 300)::bigint)";

/// Where a Python beat has run an entry since ours did, all up to then is handled: what is in `last_run_at` is not what was
/// written there by us, and it is later.
const PROGRESS: &str = "
SELECT entry, greatest(handled, ran_elsewhere), CASE WHEN sending <= ran_elsewhere THEN NULL ELSE sending END
FROM (
    SELECT progress.*, CASE
        WHEN task.last_run_at > coalesce(progress.sent_at, progress.handled, '-infinity') THEN task.last_run_at
    END AS ran_elsewhere
    FROM celeriac_beat_progress AS progress
    LEFT JOIN django_celery_beat_periodictask AS task ON task.name = progress.entry
) AS progress
WHERE handled IS NOT NULL OR sending IS NOT NULL";

/// The lease is locked while this goes on, so that nobody takes it in the middle. Written again, a record changes
/// nothing: what is recorded as handled already is not counted (all parts see the rows as they were before).
///
/// What is switched off is so as Django's `PeriodicTask.save` leaves it, and Python is told.
const RECORD: &str = "
WITH lease AS MATERIALIZED (
    SELECT FROM celeriac_beat_lease
    WHERE name = 'beat' AND beat = $1 AND term = $2 AND expires_at > clock_timestamp()
    FOR SHARE
), given AS MATERIALIZED (
    SELECT given.* FROM lease, unnest($3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::bool[])
    AS given (entry, handled, sending, sent_at, disable)
), written AS (
    INSERT INTO celeriac_beat_progress AS progress (entry, handled, sending, sent_at)
    SELECT entry, handled, sending, sent_at FROM given
    ON CONFLICT (entry) DO UPDATE SET
        handled = excluded.handled, sending = excluded.sending, sent_at = coalesce(excluded.sent_at, progress.sent_at)
), counted AS (
    UPDATE django_celery_beat_periodictask AS task
    SET enabled = task.enabled AND NOT disable,
        last_run_at = CASE WHEN disable THEN NULL ELSE sent_at END,
        total_run_count = CASE
            WHEN disable AND (sent_at IS NOT NULL OR one_off) THEN 0
            WHEN sent_at IS NULL THEN total_run_count
            ELSE total_run_count + 1 END
    FROM given
    WHERE task.name = given.entry AND (disable OR sent_at IS NOT NULL) AND NOT EXISTS (
        SELECT FROM celeriac_beat_progress AS progress
        WHERE NOT disable AND progress.entry = given.entry AND progress.handled = given.handled
            AND progress.sending IS NULL
    )
), told AS (
    INSERT INTO django_celery_beat_periodictasks (ident, last_update)
    SELECT 1, clock_timestamp() FROM given WHERE disable LIMIT 1
    ON CONFLICT (ident) DO UPDATE SET last_update = excluded.last_update
)
SELECT count(*) FROM lease";

/// One connection.
pub(super) struct Session {
    client: Client,
    kill: CancellationToken,
}

impl Prepared for Session {
    async fn prepare(client: Client, kill: CancellationToken) -> Result<Self, Error> {
        Ok(Self { client, kill })
    }

    fn is_dead(&self) -> bool {
        self.kill.is_cancelled() || self.client.is_closed()
    }

    fn kill(&self) {
        self.kill.cancel();
    }
}

impl Session {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The term, if the lease is had for so many seconds.
    pub(super) async fn lead(&self, beat: &str, ttl: f64) -> Result<Option<i64>, Error> {
        let row = self.client.query_typed_opt(LEAD, &[(&beat, Type::TEXT), (&ttl, Type::FLOAT8)]).await?;
        row.map(|row| row.try_get(0)).transpose()
    }

    pub(super) async fn leader(&self) -> Result<Option<Lease>, Error> {
        let Some(row) = self.client.query_typed_opt(LEADER, &[]).await? else { return Ok(None) };
        let (beat, term): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok(u64::try_from(term).ok().map(|term| Lease { beat, term }))
    }

    pub(super) async fn resign(&self, lease: &Lease) -> Result<(), Error> {
        let term = term(lease);
        self.client.execute_typed(RESIGN, &[(&lease.beat, Type::TEXT), (&term, Type::INT8)]).await.map(drop)
    }

    pub(super) async fn version(&self) -> Result<String, Error> {
        self.client.query_typed_one(VERSION, &[]).await?.try_get(0)
    }

    pub(super) async fn rows(&self) -> Result<Vec<Row>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM django_celery_beat_periodictask AS task
             LEFT JOIN django_celery_beat_intervalschedule AS interval ON interval.id = task.interval_id
             LEFT JOIN django_celery_beat_crontabschedule AS crontab ON crontab.id = task.crontab_id
             LEFT JOIN django_celery_beat_clockedschedule AS clocked ON clocked.id = task.clocked_id
             LEFT JOIN celeriac_beat_progress AS progress ON progress.entry = task.name"
        );
        self.client.query_typed(&sql, &[]).await?.iter().map(Row::read).collect()
    }

    pub(super) async fn progress(&self) -> Result<Vec<(String, Progress)>, Error> {
        let read = |row: &tokio_postgres::Row| {
            Ok((row.try_get(0)?, Progress { handled: row.try_get(1)?, sending: row.try_get(2)? }))
        };
        self.client.query_typed(PROGRESS, &[]).await?.iter().map(read).collect()
    }

    /// Whether the lease is held: nothing was written otherwise.
    pub(super) async fn record(&self, lease: &Lease, records: &[Record]) -> Result<bool, Error> {
        fn column<'a, T>(records: &'a [Record], value: impl Fn(&'a Record) -> T) -> Vec<T> {
            records.iter().map(value).collect()
        }
        let progress = |record: &Record| record.progress.unwrap_or_default();
        let count: i64 = self
            .client
            .query_typed_one(
                RECORD,
                &[
                    (&lease.beat, Type::TEXT),
                    (&term(lease), Type::INT8),
                    (&column(records, |record| record.entry.as_str()), Type::TEXT_ARRAY),
                    (&column(records, |record| progress(record).handled), Type::TIMESTAMPTZ_ARRAY),
                    (&column(records, |record| progress(record).sending), Type::TIMESTAMPTZ_ARRAY),
                    (&column(records, |record| record.sent_at), Type::TIMESTAMPTZ_ARRAY),
                    (&column(records, |record| record.disable), Type::BOOL_ARRAY),
                ],
            )
            .await?
            .try_get(0)?;
        Ok(count > 0)
    }
}

fn term(lease: &Lease) -> i64 {
    i64::try_from(lease.term).unwrap_or(i64::MAX)
}
