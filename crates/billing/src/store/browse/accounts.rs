//! The list of accounts.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{Part, Slice, Sort, StoreError, beyond};
use crate::AccountId;
use crate::account::AccountStatus;
use crate::models::AccountRow;
use crate::payment::CardMask;
use crate::schema::{account, tariff};

/// By what accounts are sorted. Those that have no such time are not in the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccountKey {
    #[default]
    Created,
    PaidUntil,
    NextCharge,
}

impl AccountKey {
    const fn column(self) -> &'static str {
        match self {
            Self::Created => "account.created_at",
            Self::PaidUntil => "account.paid_until",
            Self::NextCharge => "account.next_charge_at",
        }
    }
}

/// Which accounts, and how they are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountFilter {
    pub status: Option<AccountStatus>,
    pub sort: Sort<AccountKey>,
}

/// A row of the list; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountLine {
    pub id: AccountId,
    pub created_at: DateTime<Utc>,
    pub status: AccountStatus,
    pub tariff: Option<String>,
    pub paid_until: Option<DateTime<Utc>>,
    pub access_until: Option<DateTime<Utc>>,
    pub next_charge_at: Option<DateTime<Utc>>,
    pub cancel_at_period_end: bool,
    pub declines: i32,
    pub card: Option<CardMask>,
}

/// Where a row stands in the list.
pub type AccountCursor = (DateTime<Utc>, AccountId);

impl AccountLine {
    /// In a list that is sorted so.
    #[must_use]
    pub fn cursor(&self, by: AccountKey) -> AccountCursor {
        let at = match by {
            AccountKey::Created => None,
            AccountKey::PaidUntil => self.paid_until,
            AccountKey::NextCharge => self.next_charge_at,
        };
        (at.unwrap_or(self.created_at), self.id)
    }
}

/// A part of the accounts.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn accounts(
    conn: &mut AsyncPgConnection,
    filter: AccountFilter,
    part: Part<AccountCursor>,
    limit: i64,
) -> Result<Slice<AccountLine>, StoreError> {
    let mut query =
        account::table.left_join(tariff::table.on(tariff::id.nullable().eq(account::tariff_id))).into_boxed();
    if let Some(status) = filter.status {
        // Written out, so that the plan is that of this status.
        query = query.filter(sql::<Bool>(&format!("account.status = '{}'", status.as_str())));
    }
    let column = filter.sort.by.column();
    if filter.sort.by != AccountKey::Created {
        query = query.filter(sql::<Bool>(&format!("{column} is not null")));
    }
    let (place, is_ascending) = part.reading(filter.sort.order);
    if let Some((at, id)) = place {
        // Compared as a row: rows of one time are found by the index, however many there are.
        let behind = sql::<Bool>(&format!("({column}, account.id) {} (", beyond(is_ascending)))
            .bind::<Timestamptz, _>(*at)
            .sql(", ")
            .bind::<diesel::sql_types::Uuid, _>(id.get())
            .sql(")");
        query = query.filter(behind);
    }
    let key = sql::<Timestamptz>(column);
    query = if is_ascending {
        query.order((key.asc(), account::id.asc()))
    } else {
        query.order((key.desc(), account::id.desc()))
    };
    let rows: Vec<(AccountRow, Option<String>)> =
        query.limit(limit + 1).select((AccountRow::as_select(), tariff::name.nullable())).load(conn).await?;
    let rows = rows.into_iter().map(|(row, tariff)| line(row, tariff)).collect();
    Ok(Slice::new(rows, &part, limit))
}

pub(super) fn line(row: AccountRow, tariff: Option<String>) -> AccountLine {
    AccountLine {
        id: row.id,
        created_at: row.created_at,
        status: row.status,
        tariff,
        paid_until: row.paid_until,
        access_until: row.access_until,
        next_charge_at: row.next_charge_at,
        cancel_at_period_end: row.cancel_at_period_end,
        declines: row.declines,
        card: row.card,
    }
}
