//! Sign-ins that fail. Nobody is locked out for good: whoever knows the password waits.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::schema::staff_sign_in;

/// So many failures cost no time.
pub const MAX_FAILURES: i32 = 10;
/// They are forgotten when there was none for so long.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::minutes(15);
/// The wait after one more; each further one doubles it,
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(30);
/// up to this.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(15);

/// Whose failures are counted: those of a name and those from an address, each by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure(Vec<u8>);

impl Failure {
    /// With a name, whether or not there is such a person.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self::of("name", name)
    }

    /// From an address.
    #[must_use]
    pub fn from_address(address: &str) -> Self {
        Self::of("address", address)
    }

    /// With a code of the second factor of somebody.
    #[must_use]
    pub fn of_code(name: &str) -> Self {
        Self::of("code", name)
    }

    fn of(kind: &str, text: &str) -> Self {
        Self(Sha256::digest([kind.as_bytes(), &[0], text.as_bytes()].concat()).to_vec())
    }
}

/// Until when none of these may try; `None`: they may.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn waits_until(
    conn: &mut AsyncPgConnection,
    of: &[Failure],
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let subjects: Vec<&[u8]> = of.iter().map(|failure| failure.0.as_slice()).collect();
    let until = staff_sign_in::table
        .filter(staff_sign_in::subject.eq_any(subjects).and(staff_sign_in::until.gt(now)))
        .select(diesel::dsl::max(staff_sign_in::until));
    Ok(until.first(conn).await?)
}

/// Counts one more failure of each.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn failed(conn: &mut AsyncPgConnection, of: &[Failure], now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut of = of.to_vec();
    // One order, so that two who fail at once do not wait for each other in a circle.
    of.sort();
    conn.transaction(async |conn| {
        let forgotten = staff_sign_in::table.filter(staff_sign_in::last_at.lt(now - FORGOTTEN_AFTER));
        diesel::delete(forgotten.filter(staff_sign_in::until.lt(now))).execute(conn).await?;
        for Failure(subject) in of {
            let failures: i32 = diesel::insert_into(staff_sign_in::table)
                .values((
                    staff_sign_in::subject.eq(&subject),
                    staff_sign_in::failures.eq(1),
                    staff_sign_in::last_at.eq(now),
                    staff_sign_in::until.eq(now),
                ))
                .on_conflict(staff_sign_in::subject)
                .do_update()
                .set((
                    staff_sign_in::failures.eq(staff_sign_in::failures + 1),
                    staff_sign_in::last_at.eq(excluded(staff_sign_in::last_at)),
                ))
                .returning(staff_sign_in::failures)
                .get_result(conn)
                .await?;
            let until = staff_sign_in::until.eq(now + wait(failures));
            diesel::update(staff_sign_in::table.find(&subject)).set(until).execute(conn).await?;
        }
        Ok(())
    })
    .await
}

/// Somebody came in: their name's failures are forgotten. Those of the address stay, for it may try others' names.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn succeeded(conn: &mut AsyncPgConnection, of: &Failure) -> Result<(), StoreError> {
    diesel::delete(staff_sign_in::table.find(&of.0)).execute(conn).await?;
    Ok(())
}

/// How long the next try has to wait after so many failures.
fn wait(failures: i32) -> TimeDelta {
    match failures - MAX_FAILURES {
        ..0 => TimeDelta::zero(),
        over => (FIRST_WAIT * (1 << over.min(10))).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_ends() {
        let seconds = |failures| wait(failures).num_seconds();
        assert_eq!([1, 9, 10, 11, 12, 15, i32::MAX].map(seconds), [0, 0, 30, 60, 120, 900, 900]);
    }
}
