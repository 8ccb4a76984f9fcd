//! The tables of Celery's SQLAlchemy backend, made as it makes them (`celery/backends/database/session.py`).

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// Tables that somebody needs.
pub(crate) struct Tables {
    /// What their server is, in the words of the log.
    pub(crate) server: &'static str,
    /// Counts what is missing of them.
    pub(crate) missing: &'static str,
    /// Makes it.
    pub(crate) create: &'static str,
}

pub(super) const RESULTS: Tables = Tables { server: "the result backend", missing: MISSING, create: CREATE };

/// What is there of the tables: for each column of ours whether it exists.
const MISSING: &str = "
SELECT count(*) FROM (VALUES
    ('celery_taskmeta', 'children'), ('celery_taskmeta', 'name'), ('celery_taskmeta', 'args'),
    ('celery_taskmeta', 'kwargs'), ('celery_taskmeta', 'worker'), ('celery_taskmeta', 'retries'),
    ('celery_taskmeta', 'queue'), ('celery_taskmeta', 'stamps'), ('celery_tasksetmeta', 'result')
) AS wanted (relation, name)
WHERE NOT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = to_regclass(wanted.relation) AND attname = wanted.name AND NOT attisdropped
)";

/// Two differences from what SQLAlchemy writes, neither of which its readers notice: numbers of rows are `bigint`, since
/// two thousand million results are soon reached, and columns that an older Celery left out are added with their types.
///
/// One string is one transaction. The lock keeps a fleet that starts from making the tables at the same time.
const CREATE: &str = "
SELECT pg_advisory_xact_lock(4858217053091226);
CREATE SEQUENCE IF NOT EXISTS task_id_sequence;
CREATE TABLE IF NOT EXISTS celery_taskmeta (
    id BIGINT NOT NULL,
    task_id VARCHAR(155),
    status VARCHAR(50),
    result BYTEA,
    date_done TIMESTAMP WITHOUT TIME ZONE,
    traceback TEXT,
    children BYTEA,
    name VARCHAR(155),
    args BYTEA,
    kwargs BYTEA,
    worker VARCHAR(155),
    retries INTEGER,
    queue VARCHAR(155),
    stamps BYTEA,
    PRIMARY KEY (id),
    UNIQUE (task_id)
);
CREATE INDEX IF NOT EXISTS ix_celery_taskmeta_date_done ON celery_taskmeta (date_done);
ALTER TABLE celery_taskmeta
    ADD COLUMN IF NOT EXISTS children BYTEA,
    ADD COLUMN IF NOT EXISTS name VARCHAR(155),
    ADD COLUMN IF NOT EXISTS args BYTEA,
    ADD COLUMN IF NOT EXISTS kwargs BYTEA,
    ADD COLUMN IF NOT EXISTS worker VARCHAR(155),
    ADD COLUMN IF NOT EXISTS retries INTEGER,
    ADD COLUMN IF NOT EXISTS queue VARCHAR(155),
    ADD COLUMN IF NOT EXISTS stamps BYTEA;
CREATE SEQUENCE IF NOT EXISTS taskset_id_sequence;
CREATE TABLE IF NOT EXISTS celery_tasksetmeta (
    id BIGINT NOT NULL,
    taskset_id VARCHAR(155),
    result BYTEA,
    date_done TIMESTAMP WITHOUT TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (taskset_id)
);
CREATE INDEX IF NOT EXISTS ix_celery_tasksetmeta_date_done ON celery_tasksetmeta (date_done);";

/// Makes what is missing. Where nothing is, no right to make tables is needed.
pub(super) async fn prepare(client: &Client, tables: &Tables) -> Result<(), Error> {
    const ATTEMPTS: usize = 10;
    for _ in 1..ATTEMPTS {
        match prepare_once(client, tables).await {
            // A Python worker that starts at the same time takes no lock.
            Err(error) if was_made_by_another(&error) => {}
            ended => return ended,
        }
    }
    prepare_once(client, tables).await
}

async fn prepare_once(client: &Client, tables: &Tables) -> Result<(), Error> {
    let missing: i64 = client.query_one_scalar(tables.missing, &[]).await?;
    if missing == 0 { Ok(()) } else { client.batch_execute(tables.create).await }
}

fn was_made_by_another(error: &Error) -> bool {
    const CODES: [SqlState; 4] = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_COLUMN,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    error.code().is_some_and(|code| CODES.contains(code))
}
