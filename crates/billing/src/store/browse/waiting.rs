//! What waits for a person.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{BigInt, Nullable, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::StoreError;

/// Nobody counts further.
pub const MOST: i64 = 10_000;

/// How much waits, and since when the oldest of it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, diesel::QueryableByName)]
pub struct Waiting {
    /// At most [`MOST`] and one more.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
}

/// What of the payments waits for a person: those in doubt for more than an hour, those paid twice, those that the gateway
/// did not understand within the last week.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn waiting(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<[Waiting; 3], StoreError> {
    let most = MOST + 1;
    let mut count = async |condition: &str, at: DateTime<Utc>| {
        let text = format!(
            "select count(*) as count, min(at) as oldest from (select updated_at as at from payment where {condition} limit {most}) \
             as waiting"
        );
        diesel::sql_query(text).bind::<Timestamptz, _>(at).get_result::<Waiting>(conn).await
    };
    Ok([
        count("state = 'unknown' and first_sent_at < $1", now - TimeDelta::hours(1)).await?,
        count("state = 'succeeded_duplicate' and updated_at < $1", now).await?,
        count("state = 'rejected' and updated_at > $1", now - TimeDelta::days(7)).await?,
    ])
}
