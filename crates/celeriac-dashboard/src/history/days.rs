//! A partition for each day: made ahead, dropped as a whole.

use chrono::{DateTime, Days, NaiveDate};
use tokio_postgres::Client;

use super::{Retention, Trouble};

/// Which days there are after [`keep`].
pub(super) struct Kept {
    /// The first moment that has a place, in microseconds since 1970.
    pub(super) since: i64,
    pub(super) bytes: u64,
    /// Today alone takes more than is allowed.
    pub(super) is_full: bool,
}

/// Makes today and tomorrow, drops what is too old or too much. `now` is in seconds since 1970; days are those of UTC.
pub(super) async fn keep(client: &mut Client, retention: Retention, now: f64) -> Result<Kept, Trouble> {
    let today = DateTime::from_timestamp(now as i64, 0).unwrap_or_default().date_naive();
    for day in [today, today + Days::new(1)] {
        make(client, day).await?;
    }
    let mut days = sizes(client).await?;
    let oldest = today - Days::new(u64::from(retention.days) - 1);
    let mut bytes: u64 = days.iter().map(|(_, size)| size).sum();
    while let Some((day, size)) = days.first().copied() {
        let is_too_old = day < oldest;
        if day >= today || (!is_too_old && bytes <= retention.bytes) {
            break;
        }
        drop_day(client, day).await?;
        tracing::info!(%day, size, is_too_old, "a day of the dashboard's history was dropped");
        bytes -= size;
        days.remove(0);
    }
    let since = days.first().map_or(today, |(day, _)| *day);
    Ok(Kept { since: micros(since), bytes, is_full: bytes > retention.bytes })
}

fn micros(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros()
}

fn name(day: NaiveDate) -> String {
    day.format("task_%Y_%m_%d").to_string()
}

async fn make(client: &Client, day: NaiveDate) -> Result<(), Trouble> {
    let (name, from, to) = (name(day), micros(day), micros(day + Days::new(1)));
    let make = format!(
        "CREATE TABLE IF NOT EXISTS celeriac_dashboard.{name}
         PARTITION OF celeriac_dashboard.task FOR VALUES FROM ({from}) TO ({to})"
    );
    Ok(client.batch_execute(&make).await?)
}

/// The days that there are and what they take, the oldest first.
async fn sizes(client: &Client) -> Result<Vec<(NaiveDate, u64)>, Trouble> {
    let all =
        "SELECT c.relname::text, pg_total_relation_size(c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = 'celeriac_dashboard.task'::regclass ORDER BY c.relname";
    let rows = client.query(all, &[]).await?;
    let day = |name: &str| NaiveDate::parse_from_str(name, "task_%Y_%m_%d").ok();
    Ok(rows.iter().filter_map(|row| Some((day(row.get(0))?, row.get::<_, i64>(1).unsigned_abs()))).collect())
}

/// Whoever reads is not waited for: it is tried again at the next look.
async fn drop_day(client: &mut Client, day: NaiveDate) -> Result<(), Trouble> {
    let dropping = client.transaction().await?;
    dropping.batch_execute("SET LOCAL lock_timeout = '2s'").await?;
    dropping.batch_execute(&format!("DROP TABLE IF EXISTS celeriac_dashboard.{}", name(day))).await?;
    Ok(dropping.commit().await?)
}
