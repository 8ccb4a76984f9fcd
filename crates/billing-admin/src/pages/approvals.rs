//! What one of the staff asks for and another must agree to.

use askama::Template;
use axum::extract::State;
use billing::store::StoreError;
use billing::store::browse::{self, Part, RefundFilter, Waiting};
use billing::store::staff::{bulks_waiting, closings_waiting};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;

use super::{Answer, ROWS, Shared, briefly};
use crate::Core;
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::show::{self, When};
use crate::words;

#[derive(Template)]
#[template(path = "approvals.html")]
struct Page {
    shell: Shell,
    rows: Vec<Row>,
}

/// Something that waits.
struct Row {
    href: String,
    what: String,
    amount: String,
    asked: When,
    ago: String,
    by: String,
    is_own: bool,
    why: String,
}

type Asked = (DateTime<Utc>, Row);

pub(crate) async fn page(State(core): Shared, viewer: Viewer) -> Answer {
    let shell = Shell::new(&core, Section::Approvals, &viewer);
    let rows = waiting(&core, &shell).await?.into_iter().map(|(_, row)| row).collect();
    Ok(html(&Page { shell, rows }))
}

/// What waits for whoever looks.
pub(super) async fn for_me(core: &Core, shell: &Shell) -> Result<Waiting, Problem> {
    let rows: Vec<Asked> = waiting(core, shell).await?.into_iter().filter(|(_, row)| !row.is_own).collect();
    let count = i64::try_from(rows.len()).unwrap_or_default();
    Ok(Waiting { count, oldest: rows.first().map(|(at, _)| *at) })
}

/// All that waits, the oldest first.
async fn waiting(core: &Core, shell: &Shell) -> Result<Vec<Asked>, Problem> {
    let (lang, now) = (shell.lang(), shell.now);
    let me = shell.viewer.visitor()?.staff.name.clone();
    let mut conn = core.services.db.conn().await?;
    let read = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            let waiting = RefundFilter { waits: true, ..RefundFilter::default() };
            let refunds = browse::refunds(conn, waiting, Part::First, ROWS).await?.rows;
            let closings = closings_waiting(conn, now, ROWS).await?;
            let bulks = bulks_waiting(conn, now, ROWS).await?;
            Ok::<_, StoreError>((refunds, closings, bulks))
        })
        .await?;
    drop(conn);
    let (refunds, closings, bulks) = read;
    let mut rows: Vec<Asked> = Vec::new();
    let row = |href: String, what: &str, amount: String, at, by: &str, why: &str| {
        let is_own = by == me;
        let (asked, ago) = (shell.exactly(&at), shell.distance(&at));
        (at, Row { href, what: what.to_owned(), amount, asked, ago, by: by.to_owned(), is_own, why: why.to_owned() })
    };
    rows.extend(refunds.iter().map(|of| {
        let (href, amount) = (format!("/refunds/{}", of.id), show::money(of.amount, of.currency, lang));
        let by = of.requested_by.as_deref().unwrap_or_default();
        row(href, lang.of("Refund", "Возврат"), amount, of.created_at, by, &of.reason)
    }));
    rows.extend(closings.iter().map(|of| {
        let what = lang.of("Close a payment in doubt", "Закрыть неизвестный платёж");
        let what = format!("{what}: {}", words::ending(of.ending, lang));
        row(format!("/closings/{}", of.id), &what, String::new(), of.asked_at, &of.asked_by, &of.said)
    }));
    rows.extend(bulks.iter().map(|of| {
        let amount = of.currency.map(|currency| show::money(of.total, currency, lang)).unwrap_or_default();
        let what = format!("{} ({})", super::bulk::title(of, lang), of.items);
        let (at, why) = (of.asked_at.unwrap_or(of.created_at), of.reason.as_deref().unwrap_or_default());
        row(format!("/bulk/{}", of.id), &what, amount, at, &of.made_by, why)
    }));
    rows.sort_by_key(|(at, _)| *at);
    Ok(rows)
}
