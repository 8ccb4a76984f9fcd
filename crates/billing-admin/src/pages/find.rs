//! One box for everything that has a number.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect};
use billing::Kopecks;
use billing::store::StoreError;
use billing::store::browse::{self, Found, Made};
use chrono::NaiveDate;
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{Answer, Shared, briefly, midnight};
use crate::page::{Section, Shell, Viewer, html};
use crate::params::Asked;

/// Payments of one card on one day that are shown.
const MOST: i64 = 50;

#[derive(Template)]
#[template(path = "find.html")]
struct Page {
    shell: Shell,
    is_understood: bool,
    rows: Vec<(&'static str, String, String)>,
}

/// What somebody has typed.
#[derive(Debug, PartialEq, Eq)]
enum Sought {
    Id(Uuid),
    Number(i64),
    Card { last_four: String, day: NaiveDate, amount: Option<Kopecks> },
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    let text = query.get("q");
    let sought = understood(text);
    let mut shell = Shell::new(&core, Section::None, &viewer);
    shell.query = text.chars().take(200).collect();
    let zone = shell.zone;
    let found = match &sought {
        None => Vec::new(),
        Some(sought) => {
            let mut conn = core.services.db.conn().await?;
            conn.build_transaction()
                .read_only()
                .run(async |conn: &mut AsyncPgConnection| {
                    briefly(conn).await?;
                    look(conn, sought, zone).await
                })
                .await?
        }
    };
    if let [only] = &found[..] {
        return Ok(Redirect::to(&href(*only)).into_response());
    }
    let rows = found.iter().map(|found| (kind(&shell, *found), href(*found), id(*found))).collect();
    Ok(html(&Page { shell, is_understood: sought.is_some(), rows }))
}

async fn look(conn: &mut AsyncPgConnection, sought: &Sought, zone: Tz) -> Result<Vec<Found>, StoreError> {
    match sought {
        Sought::Id(id) => browse::by_id(conn, *id).await,
        Sought::Number(number) => browse::by_number(conn, *number).await,
        Sought::Card { last_four, day, amount } => {
            let next = day.succ_opt().and_then(|day| midnight(day, zone));
            let made = Made { from: midnight(*day, zone), before: next };
            browse::by_card(conn, last_four, made, *amount, MOST).await
        }
    }
}

fn href(found: Found) -> String {
    match found {
        Found::Account(id) => format!("/accounts/{id}"),
        Found::Bill(id) => format!("/bills/{id}"),
        Found::Payment(id) => format!("/payments/{id}"),
    }
}

fn id(found: Found) -> String {
    match found {
        Found::Account(id) => id.to_string(),
        Found::Bill(id) => id.to_string(),
        Found::Payment(id) => id.to_string(),
    }
}

fn kind(shell: &Shell, found: Found) -> &'static str {
    match found {
        Found::Account(_) => shell.lang().of("Account", "Абонент"),
        Found::Bill(_) => shell.lang().of("Bill", "Счёт"),
        Found::Payment(_) => shell.lang().of("Payment", "Платёж"),
    }
}

/// An id; a number; the last four digits of a card with a day and perhaps an amount, in any order.
fn understood(text: &str) -> Option<Sought> {
    if let Ok(id) = text.parse() {
        return Some(Sought::Id(id));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [number] = words[..]
        && let Ok(number) = number.trim_start_matches(['#', '№']).parse()
    {
        return Some(Sought::Number(number));
    }
    let (mut last_four, mut day, mut amount) = (None, None, None);
    for word in words {
        let digits = word.trim_start_matches(['*', '·', '•']);
        if let Some(read) = read_day(word) {
            day = Some(read);
        } else if last_four.is_none() && digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            last_four = Some(digits.to_owned());
        } else if let Some(read) = crate::show::parsed_amount(word) {
            amount = Some(read);
        } else if !word.chars().all(|c| matches!(c, '*' | '·' | '•' | '₽')) {
            return None;
        }
    }
    Some(Sought::Card { last_four: last_four?, day: day?, amount })
}

/// `2026-11-29` and `29.11.2026`.
fn read_day(word: &str) -> Option<NaiveDate> {
    ["%Y-%m-%d", "%d.%m.%Y"].iter().find_map(|format| NaiveDate::parse_from_str(word, format).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_understood() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 29).unwrap();
        let card = |amount: Option<i64>| {
            Some(Sought::Card { last_four: "4242".into(), day, amount: amount.map(Kopecks::new) })
        };
        let id = Uuid::now_v7();
        assert_eq!(understood(&id.to_string()), Some(Sought::Id(id)));
        for (text, is) in [
            ("48213", Some(Sought::Number(48_213))),
            ("№48213", Some(Sought::Number(48_213))),
            ("·· 4242 29.11.2026", card(None)),
            ("****4242 2026-11-29 599,00", card(Some(59_900))),
            ("2026-11-29 4242 599", card(Some(59_900))),
            ("2026-11-29 4242 1500.50 ₽", card(Some(150_050))),
            ("4242 599,00", None),
            ("<script>", None),
            ("", None),
        ] {
            assert_eq!(understood(text), is, "{text}");
        }
    }
}
