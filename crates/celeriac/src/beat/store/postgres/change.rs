//! What a person changes, written as Django's admin pages write it.

use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

use super::session::Session;
use crate::beat::Schedule;
use crate::beat::store::Change;

/// `PeriodicTask.save`: one that is switched off has never run.
const ENABLE: &str = "
WITH changed AS (
    UPDATE django_celery_beat_periodictask
    SET enabled = $2, last_run_at = CASE WHEN $2 THEN last_run_at END, date_changed = clock_timestamp()
    WHERE name = $1 RETURNING name
)";

/// `PeriodicTasks.update_changed`, which Python and our own beats look at.
const TELL: &str = ", told AS (
    INSERT INTO django_celery_beat_periodictasks (ident, last_update) SELECT 1, clock_timestamp() FROM changed
    ON CONFLICT (ident) DO UPDATE SET last_update = excluded.last_update
)
SELECT count(*) FROM changed";

/// A schedule has a row that entries share.
fn reschedule(kind: &str, columns: &str, values: &str, one_off: &str) -> String {
    let to = |this: &str| if this == kind { "(SELECT id FROM found UNION ALL SELECT id FROM made)" } else { "NULL" };
    format!(
        "WITH found AS (
             SELECT id FROM django_celery_beat_{kind}schedule WHERE ({columns}) = ({values}) ORDER BY id LIMIT 1
         ), made AS (
             INSERT INTO django_celery_beat_{kind}schedule ({columns})
             SELECT {values} WHERE NOT EXISTS (SELECT FROM found)
                 AND EXISTS (SELECT FROM django_celery_beat_periodictask WHERE name = $1)
             RETURNING id
         ), changed AS (
             UPDATE django_celery_beat_periodictask
             SET interval_id = {}, crontab_id = {}, clocked_id = {}, solar_id = NULL, one_off = {one_off},
                 date_changed = clock_timestamp()
             WHERE name = $1 RETURNING name
         )",
        to("interval"),
        to("crontab"),
        to("clocked"),
    )
}

impl Session {
    pub(super) async fn change(&self, entry: &str, change: &Change) -> Result<bool, Error> {
        match change {
            Change::Enabled(enabled) => self.run(ENABLE, &[(&entry, Type::TEXT), (enabled, Type::BOOL)]).await,
            Change::Schedule(Schedule::Every(every)) => {
                let (every, period) = if every.subsec_nanos() == 0 {
                    (i32::try_from(every.as_secs()).unwrap_or(i32::MAX), "seconds")
                } else {
                    (i32::try_from(every.as_micros()).unwrap_or(i32::MAX), "microseconds")
                };
                let sql = reschedule("interval", "every, period", "$2, $3", "one_off");
                self.run(&sql, &[(&entry, Type::TEXT), (&every, Type::INT4), (&period, Type::VARCHAR)]).await
            }
            Change::Schedule(Schedule::Crontab(crontab, zone)) => {
                let fields = crontab.to_string();
                let mut fields = fields.split(' ');
                let mut field = || fields.next().unwrap_or("*");
                let (minute, hour, day_of_month, month_of_year, day_of_week) =
                    (field(), field(), field(), field(), field());
                let columns = "minute, hour, day_of_month, month_of_year, day_of_week, timezone";
                let sql = reschedule("crontab", columns, "$2, $3, $4, $5, $6, $7", "one_off");
                let text = Type::VARCHAR;
                self.run(
                    &sql,
                    &[
                        (&entry, Type::TEXT),
                        (&minute, text.clone()),
                        (&hour, text.clone()),
                        (&day_of_month, text.clone()),
                        (&month_of_year, text.clone()),
                        (&day_of_week, text.clone()),
                        (&zone.name(), text),
                    ],
                )
                .await
            }
            // django-celery-beat lets a clocked schedule stand in one-off entries only.
            Change::Schedule(Schedule::Clocked(at)) => {
                let sql = reschedule("clocked", "clocked_time", "$2", "true");
                self.run(&sql, &[(&entry, Type::TEXT), (at, Type::TIMESTAMPTZ)]).await
            }
        }
    }

    async fn run(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<bool, Error> {
        let count: i64 = self.client().query_typed_one(&format!("{sql}{TELL}"), values).await?.try_get(0)?;
        Ok(count > 0)
    }
}
