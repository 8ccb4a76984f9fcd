//! What the staff did.

use askama::Template;
use axum::extract::State;
use billing::store::browse::Slice;
use billing::store::staff::{AuditEntry, AuditFilter, audit_entries};
use diesel_async::AsyncPgConnection;

use super::{Answer, ROWS, Shared, briefly, pages, part};
use crate::page::{Chip, Pages, Section, Shell, Viewer, html};
use crate::params::Asked;
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
    let some = |text: &str| (!text.is_empty()).then(|| text.to_lowercase());
    let filter = AuditFilter { name: some(&who), target: some(&target) };
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
    let pages = pages(&slice, &query, |entry: &AuditEntry| entry.id.to_string());
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
