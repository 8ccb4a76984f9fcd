//! What the staff did.

use billing::store::StoreError;
use billing::store::browse::{Part, Slice};
use billing::store::staff::{AuditEntry, AuditFilter, audit_entries};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;

use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::order;
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Section, Shell};
use crate::params::Params;
use crate::words;

pub(crate) struct Audit;

impl List for Audit {
    type Filter = AuditFilter;
    type Row = AuditEntry;
    type Cursor = i64;

    const NAME: &'static str = "audit";
    const COLUMNS: &'static [&'static str] =
        &["id", "at", "who", "role", "address", "action", "target_kind", "target", "reason", "before", "after"];

    fn filter(query: &Params, _: Tz) -> AuditFilter {
        let some = |name| Some(query.get(name).to_lowercase()).filter(|text| !text.is_empty());
        AuditFilter { name: some("who"), target: some("target"), order: order(query, "at") }
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        filter: &'a AuditFilter,
        part: Part<i64>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<AuditEntry>, StoreError>> {
        Box::pin(audit_entries(conn, filter, part, limit))
    }

    fn cursor(row: &AuditEntry, _: &AuditFilter) -> i64 {
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

impl Listed for Audit {
    const SECTION: Section = Section::Audit;
    const SORTED: &'static str = "-at";

    fn title(lang: Lang) -> &'static str {
        lang.of("Audit log", "Журнал")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of("Nothing was done yet.", "Пока ничего не делали.")
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        let lang = shell.lang();
        vec![
            Field::text(query, "who", lang.of("Who", "Кто")),
            Field::text(query, "target", lang.of("About (id or name)", "О чём (id или имя)")),
        ]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        vec![
            Head::text(lang.of("When", "Когда")).by("-at"),
            Head::text(lang.of("Who", "Кто")),
            Head::text(lang.of("What", "Что")),
            Head::text(lang.of("About", "О чём")),
            Head::text(lang.of("Why", "Причина")),
            Head::text(lang.of("Change", "Изменение")),
        ]
    }

    fn cells(entry: &AuditEntry, shell: &Shell) -> Vec<Cell> {
        let lang = shell.lang();
        let role = entry.role.parse().map_or(entry.role.as_str(), |role| words::role(role, lang));
        let target = entry.target.clone().unwrap_or_default();
        let is_account = entry.target_kind.as_deref() == Some("account") && shell.may_find();
        let json = |name, value: Option<&serde_json::Value>| Some((name, serde_json::to_string_pretty(value?).ok()?));
        let change = [
            json(lang.of("Before", "Было"), entry.before.as_ref()),
            json(lang.of("After", "Стало"), entry.after.as_ref()),
        ];
        vec![
            Cell::When(shell.exactly(&entry.at)),
            Cell::Text(entry.name.clone()).noted(format!("{role}, {}", entry.address)),
            Cell::Text(words::audited(&entry.action, lang).to_owned()),
            if is_account { Cell::link("accounts", Some(target)) } else { Cell::Words(target) },
            Cell::Words(entry.reason.clone().unwrap_or_default()),
            Cell::Folded(change.into_iter().flatten().collect()),
        ]
    }

    fn read_cursor(text: &str) -> Option<i64> {
        text.parse().ok()
    }

    fn write_cursor(cursor: &i64) -> String {
        cursor.to_string()
    }
}
