//! The ledger beside the list: what its clearing account has of each day.

use chrono::{DateTime, Days, Utc};
use diesel::sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::super::StoreError;
use super::super::runs::Run;
use super::statements::CLEARING;
use super::{Found, NewDifference, told};
use crate::reconciliation::{GATEWAY_ZONE, MAX_DAYS, Range};

/// Compares the days that lie whole in the run's range; once everything that could be put right was.
pub(in crate::store::reconciliation) async fn compare_days(
    conn: &mut AsyncPgConnection,
    run: &Run,
    now: DateTime<Utc>,
) -> Result<Vec<NewDifference>, StoreError> {
    let mut new = Vec::new();
    for (name, day) in days(run.range()) {
        let found: Vec<Found> = diesel::sql_query(CLEARING)
            .bind::<SqlUuid, _>(run.id.get())
            .bind::<Timestamptz, _>(day.from)
            .bind::<Timestamptz, _>(day.to)
            .bind::<Text, _>(name)
            .bind::<BigInt, _>(0)
            .bind::<Timestamptz, _>(now)
            .load(conn)
            .await?;
        new.extend(told(conn, None, found, now).await?.new);
    }
    Ok(new)
}

/// The whole days of the gateway in a range.
fn days(range: Range) -> Vec<(String, Range)> {
    let first = range.from.with_timezone(&GATEWAY_ZONE).date_naive();
    let all =
        (0..=MAX_DAYS.unsigned_abs()).map(|n| first + Days::new(n)).map(|day| (day.to_string(), Range::of_day(day)));
    all.filter(|(_, day)| day.from >= range.from).take_while(|(_, day)| day.to <= range.to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_days_are_compared() {
        let at = |text: &str| text.parse().expect("a time");
        let names =
            |from, to| days(Range { from: at(from), to: at(to) }).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let three = names("2026-11-28T00:00:00+03:00", "2026-12-01T00:00:00+03:00");
        assert_eq!(three, ["2026-11-28", "2026-11-29", "2026-11-30"]);
        let of_a_restore = names("2026-11-28T11:00:00+03:00", "2026-11-30T05:00:00+03:00");
        assert_eq!(of_a_restore, ["2026-11-29"]);
        assert!(names("2026-11-28T11:00:00+03:00", "2026-11-28T12:00:00+03:00").is_empty());
    }
}
