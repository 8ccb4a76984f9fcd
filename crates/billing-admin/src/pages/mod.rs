//! One file for each page.

pub(crate) mod account;
pub(crate) mod accounts;
pub(crate) mod act;
pub(crate) mod again;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod bill;
pub(crate) mod bills;
pub(crate) mod bulk;
pub(crate) mod closing;
pub(crate) mod differences;
pub(crate) mod events;
pub(crate) mod find;
pub(crate) mod home;
pub(crate) mod invite;
pub(crate) mod me;
pub(crate) mod notifications;
pub(crate) mod oidc;
pub(crate) mod payment;
pub(crate) mod payments;
pub(crate) mod refund;
pub(crate) mod refunds;
pub(crate) mod reports;
pub(crate) mod rules;
pub(crate) mod second_factor;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod staff;
pub(crate) mod tariffs;
pub(crate) mod views;

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::{AppendHeaders, IntoResponse as _, Redirect, Response};
use billing::store::browse::{Made, Part, Slice};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use secrecy::{ExposeSecret as _, SecretString};

use crate::Core;
use crate::page::{Chip, Pages, Problem, Shell};
use crate::params::Params;

pub(crate) type Shared = State<Arc<Core>>;
pub(crate) type Answer = Result<Response, Problem>;

/// Rows on a page.
pub(crate) const ROWS: i64 = 50;

/// Begins a page's reading: nobody's page keeps the database busy for longer.
pub(crate) async fn briefly(conn: &mut AsyncPgConnection) -> Result<(), billing::store::StoreError> {
    Ok(conn.batch_execute("set local statement_timeout = '3s'").await?)
}

/// Whether the database answers.
pub(crate) async fn ready(State(core): Shared) -> Answer {
    let mut conn = core.services.db.conn().await?;
    conn.batch_execute("select 1").await.map_err(|error| Problem::from(billing::store::StoreError::from(error)))?;
    Ok("ready\n".into_response())
}

/// Which part of a list is asked for.
pub(crate) fn part<C>(query: &Params, cursor: impl Fn(&str) -> Option<C>) -> Part<C> {
    match (cursor(query.get("after")), cursor(query.get("before"))) {
        (Some(row), _) => Part::Behind(row),
        (None, Some(row)) => Part::Before(row),
        (None, None) => Part::First,
    }
}

/// The ways to the neighbours of a part.
pub(crate) fn pages<T>(slice: &Slice<T>, query: &Params, cursor: impl Fn(&T) -> String) -> Pages {
    let back = slice.rows.first().filter(|_| slice.has_before).map(|row| query.with("before", &cursor(row)));
    let on = slice.rows.last().filter(|_| slice.has_behind).map(|row| query.with("after", &cursor(row)));
    Pages { back, on, exports: Vec::new(), views: None }
}

/// The days from `from` to `to`, both of them, on the clocks of the zone.
pub(crate) fn days(query: &Params, zone: Tz) -> Made {
    let day = |name| query.get(name).parse::<NaiveDate>().ok();
    Made {
        from: day("from").and_then(|day| midnight(day, zone)),
        before: day("to").and_then(|day| midnight(day.succ_opt()?, zone)),
    }
}

/// The days as conditions of a list.
pub(crate) fn day_chips(shell: &Shell, query: &Params, made: Made) -> Vec<Chip> {
    let chip = |name, word: &str, at: Option<DateTime<Utc>>| {
        let day = at?.with_timezone(&shell.zone).format(shell.t("%-d %b %Y", "%d.%m.%Y"));
        Some(Chip { says: format!("{word} {day}"), without: query.with(name, "") })
    };
    let last = made.before.map(|before| before - TimeDelta::seconds(1));
    [chip("from", shell.t("from", "с"), made.from), chip("to", shell.t("to", "по"), last)]
        .into_iter()
        .flatten()
        .collect()
}

/// When a day begins.
fn midnight(day: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    let local = day.and_time(NaiveTime::MIN);
    // Where the clocks skip midnight the day begins an hour later.
    let begins = zone.from_local_datetime(&local).earliest();
    let begins = begins.or_else(|| zone.from_local_datetime(&(local + TimeDelta::hours(1))).earliest());
    begins.map(|at| at.with_timezone(&Utc))
}

/// The cookie of a session.
fn session_cookie(core: &Core, cookie: &SecretString) -> String {
    let secure = if core.https { "; Secure" } else { "" };
    let (name, cookie) = (crate::access::cookie_name(core.https), cookie.expose_secret());
    format!("{name}={cookie}; Path=/; HttpOnly; SameSite=Lax{secure}")
}

fn set_cookie(cookie: &str, to: &str) -> Response {
    let cookie = HeaderValue::from_str(cookie).unwrap_or(HeaderValue::from_static(""));
    (AppendHeaders([(axum::http::header::SET_COOKIE, cookie)]), Redirect::to(to)).into_response()
}

/// A page of this panel, never one of somebody else.
fn back(path: &str) -> &str {
    let is_ours = path.starts_with('/') && !path.starts_with("//");
    if is_ours && !path.contains(['\\', '\r', '\n']) { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_signs_in_stays_here() {
        for (path, to) in [
            ("/payments?state=unknown", "/payments?state=unknown"),
            ("//elsewhere.example", "/"),
            ("/\\elsewhere.example", "/"),
            ("https://elsewhere.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(back(path), to, "{path}");
        }
    }

    #[test]
    fn a_day_is_one_of_the_billing_zone() {
        let made = days(&Params::read(b"from=2026-03-01&to=2026-03-01"), Tz::Europe__Moscow);
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        assert_eq!((made.from, made.before), (at("2026-02-28T21:00:00Z"), at("2026-03-01T21:00:00Z")));
        assert_eq!(days(&Params::read(b"from=soon&to="), Tz::UTC), Made::default());
    }
}
