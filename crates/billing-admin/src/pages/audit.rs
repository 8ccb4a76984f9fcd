//! What the staff did.

use askama::Template;
use axum::extract::State;
use billing::store::StoreError;
use billing::store::browse::{Part, Slice};
use billing::store::staff::{AuditEntry, AuditFilter, audit_entries};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use super::{Answer, ROWS, Shared, briefly, pages, part};
use crate::list::List;
use crate::list::export::Value;
use crate::page::{Chip, Pages, Section, Shell, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::When;
use crate::words;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    shell: Shell,
    who: String,
    target: String,
    chips: Vec<Chip>,
    rows: Vec<Row>,
    pages: Pages,
}

struct Row {
    at: When,
    who: String,
    role: String,
    address: String,
    action: String,
    target: String,
    href: Option<String>,
    reason: String,
    before: String,
    after: String,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    let shell = Shell::new(&core, Section::Audit, &viewer);
    let [who, target] = ["who", "target"].map(|name| query.get(name).to_owned());
    let filter = Audit::filter(&query, shell.zone);
    let part = part(&query, |text| text.parse::<i64>().ok());
    let mut conn = core.services.db.conn().await?;
    let slice: Slice<AuditEntry> = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            audit_entries(conn, &filter, part, ROWS).await
        })
        .await?;
    drop(conn);
    let pages = pages(&slice, &query, |entry: &AuditEntry| entry.id.to_string()).exported(&shell, Audit::NAME, &query);
    let pages = pages.viewed(&core, &shell, Audit::NAME, &query).await?;
    let chip = |name: &str, says: &str, value: &str| {
        (!value.is_empty()).then(|| Chip { says: format!("{says} {value}"), without: query.with(name, "") })
    };
    let chips = [chip("who", shell.t("who:", "кто:"), &who), chip("target", shell.t("about:", "о чём:"), &target)];
    let chips = chips.into_iter().flatten().collect();
    let rows = slice.rows.into_iter().map(|entry| row(&shell, entry)).collect();
    Ok(html(&Page { shell, who, target, chips, rows, pages }))
}

fn row(shell: &Shell, entry: AuditEntry) -> Row {
    let json = |value: Option<serde_json::Value>| {
        value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_default()
    };
    let target = entry.target.unwrap_or_default();
    let is_account = entry.target_kind.as_deref() == Some("account") && shell.may_find();
    Row {
        at: shell.exactly(&entry.at),
        who: entry.name,
        role: entry.role.parse().map_or(entry.role.clone(), |role| words::role(role, shell.lang()).to_owned()),
        address: entry.address,
        action: words::audited(&entry.action, shell.lang()).to_owned(),
        href: is_account.then(|| format!("/accounts/{target}")),
        target,
        reason: entry.reason.unwrap_or_default(),
        before: json(entry.before),
        after: json(entry.after),
    }
}

/// What an export has of it.
pub(crate) struct Audit;

impl List for Audit {
    type Filter = AuditFilter;
    type Row = AuditEntry;
    type Cursor = i64;

    const NAME: &'static str = "audit";
    const COLUMNS: &'static [&'static str] =
        &["id", "at", "who", "role", "address", "action", "target_kind", "target", "reason", "before", "after"];

    fn filter(query: &Params, zone: Tz) -> AuditFilter {
        let _ = zone;
        let some = |name| Some(query.get(name).to_lowercase()).filter(|text| !text.is_empty());
        AuditFilter { name: some("who"), target: some("target") }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a AuditFilter,
        part: Part<i64>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<AuditEntry>, StoreError>> {
        Box::pin(audit_entries(conn, filter, part, limit))
    }

    fn cursor(row: &AuditEntry) -> i64 {
        row.id
    }

    fn values(row: &AuditEntry) -> Vec<Value> {
        vec![
            Value::Number(row.id),
            Value::At(row.at),
            Value::Text(row.name.clone()),
            Value::Text(row.role.clone()),
            Value::Text(row.address.clone()),
            Value::Text(row.action.clone()),
            Value::text(row.target_kind.as_ref()),
            Value::text(row.target.as_ref()),
            Value::text(row.reason.as_ref()),
            Value::text(row.before.as_ref()),
            Value::text(row.after.as_ref()),
        ]
    }
}
