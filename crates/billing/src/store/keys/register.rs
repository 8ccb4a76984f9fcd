//! Which keys have been in use, and which of them may be taken away.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::pages::{Cursor, page};
use crate::cipher::Cipher;
use crate::schema::encryption_key;

/// Rows that are read at a time to count what a key has sealed.
const PAGE: i64 = 1_000;

/// A key that is, or was, in use.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = encryption_key, check_for_backend(Pg))]
pub struct KeyInUse {
    pub id: String,
    pub first_seen_at: DateTime<Utc>,
    proof: Option<String>,
    /// Since when no row is sealed with it.
    pub unused_since: Option<DateTime<Utc>>,
    /// Until when backups are kept in which rows are.
    pub needed_until: Option<DateTime<Utc>>,
}

/// Why a process must not begin with the keys that it was given.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// Rows could not be opened any more.
    #[error(
        "the key `{id}` is missing, and {rows} rows are sealed with it: put it back, behind the others, and run `billing keys \
         rotate`"
    )]
    NeededByRows { id: String, rows: usize },
    /// Nobody has looked whether backups need it.
    #[error(
        "the key `{id}` is missing, and it was not rotated out: put it back, behind the others, and run `billing keys rotate`"
    )]
    NotRotated { id: String },
    /// A backup that is still kept could not be opened any more.
    #[error("the key `{id}` is missing: no row is sealed with it, but backups until {} may hold some: put it back till then", .until.format("%Y-%m-%d"))]
    NeededByBackups { id: String, until: DateTime<Utc> },
    /// Another key stands under the name of one that has sealed something.
    #[error("the key `{id}` is not the one that was in use under this id: new keys need new ids")]
    AnotherKey { id: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for NotAdmitted {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Lets a process begin with these keys, and remembers them: none that is still needed may be missing, and none may be
/// another than it was. A database that is not migrated yet says nothing.
///
/// # Errors
/// [`NotAdmitted`].
pub async fn admit(conn: &mut AsyncPgConnection, cipher: &Cipher, now: DateTime<Utc>) -> Result<(), NotAdmitted> {
    let is_there = diesel::select(sql::<Bool>("to_regclass('encryption_key') is not null"));
    if !is_there.get_result::<bool>(conn).await? {
        return Ok(());
    }
    let known = known(conn).await?;
    for key in &known {
        if cipher.key_ids().any(|id| id == key.id) {
            if key.proof.as_deref().is_some_and(|proof| !cipher.proves(proof)) {
                return Err(NotAdmitted::AnotherKey { id: key.id.clone() });
            }
        } else {
            may_be_missing(conn, key, now).await?;
        }
    }
    if let Some(first) = cipher.key_ids().next()
        && !known.is_empty()
        && known.iter().all(|key| key.id != first)
    {
        tracing::warn!(
            key = first,
            "ENCRYPTION_KEYS: the first key is new: whoever runs with the old keys cannot open what it seals (add a key last, \
             and move it first when all know it)"
        );
    }
    for (id, proof) in cipher.proofs() {
        let is_known = known.iter().any(|key| key.id == id && key.proof.is_some());
        if !is_known {
            diesel::insert_into(encryption_key::table)
                .values((
                    encryption_key::id.eq(id),
                    encryption_key::first_seen_at.eq(now),
                    encryption_key::proof.eq(&proof),
                ))
                .on_conflict(encryption_key::id)
                .do_update()
                .set(encryption_key::proof.eq(
                    diesel::dsl::sql::<diesel::sql_types::Nullable<diesel::sql_types::Text>>(
                        "coalesce(encryption_key.proof, excluded.proof)",
                    ),
                ))
                .execute(conn)
                .await?;
        }
    }
    Ok(())
}

async fn may_be_missing(conn: &mut AsyncPgConnection, key: &KeyInUse, now: DateTime<Utc>) -> Result<(), NotAdmitted> {
    let id = key.id.clone();
    match (rows_of(conn, &id).await?, key.needed_until) {
        (0, Some(until)) if until <= now => Ok(()),
        (0, Some(until)) => Err(NotAdmitted::NeededByBackups { id, until }),
        (0, None) => Err(NotAdmitted::NotRotated { id }),
        (rows, _) => Err(NotAdmitted::NeededByRows { id, rows }),
    }
}

/// The keys that are, or were, in use.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn known(conn: &mut AsyncPgConnection) -> Result<Vec<KeyInUse>, StoreError> {
    let known = encryption_key::table.order((encryption_key::first_seen_at, encryption_key::id));
    Ok(known.select(KeyInUse::as_select()).load(conn).await?)
}

/// How many rows a key has sealed.
async fn rows_of(conn: &mut AsyncPgConnection, id: &str) -> Result<usize, StoreError> {
    let (mut rows, mut from) = (0, Some(Cursor::BEGIN));
    while let Some(cursor) = from {
        let page = page(conn, cursor, PAGE).await?;
        rows += page.sealed.iter().filter(|sealed| Cipher::key_of(&sealed.text) == id).count();
        from = page.next;
    }
    Ok(rows)
}

/// The keys that are, or were, in use, with the rows that each has sealed.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn usage(conn: &mut AsyncPgConnection) -> Result<Vec<(KeyInUse, usize)>, StoreError> {
    let mut usage = Vec::new();
    for key in known(conn).await? {
        let rows = rows_of(conn, &key.id).await?;
        usage.push((key, rows));
    }
    Ok(usage)
}

/// Looks which keys no row needs any more – all but the first, which seals – and until when backups need them: those of the
/// last `backups_kept`. One that rows need again is needed as before. Returns what [`usage`] will.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn retire(
    conn: &mut AsyncPgConnection,
    cipher: &Cipher,
    backups_kept: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<(KeyInUse, usize)>, StoreError> {
    let mut told = Vec::new();
    for (key, rows) in usage(conn).await? {
        let is_unused = rows == 0 && cipher.key_ids().next() != Some(key.id.as_str());
        let unused_since = is_unused.then(|| key.unused_since.unwrap_or(now));
        let needed_until = unused_since.map(|since| since + backups_kept);
        if (unused_since, needed_until) != (key.unused_since, key.needed_until) {
            diesel::update(encryption_key::table.find(&key.id))
                .set((encryption_key::unused_since.eq(unused_since), encryption_key::needed_until.eq(needed_until)))
                .execute(conn)
                .await?;
        }
        told.push((KeyInUse { unused_since, needed_until, ..key }, rows));
    }
    Ok(told)
}
