//! The list of accounts.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{Part, Slice, StoreError};
use crate::AccountId;
use crate::account::AccountStatus;
use crate::models::AccountRow;
use crate::payment::CardMask;
use crate::schema::{account, tariff};

/// Which accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountFilter {
    pub status: Option<AccountStatus>,
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
    #[must_use]
    pub const fn cursor(&self) -> AccountCursor {
        (self.created_at, self.id)
    }
}

/// A part of the accounts, the newest first.
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
    // Compared as a row: rows of one time are found by the index, however many there are.
    let beyond = |sign: &str, (at, id): &(DateTime<Utc>, AccountId)| {
        sql::<Bool>(&format!("(account.created_at, account.id) {sign} ("))
            .bind::<Timestamptz, _>(*at)
            .sql(", ")
            .bind::<diesel::sql_types::Uuid, _>(id.get())
            .sql(")")
    };
    query = match &part {
        Part::First => query.order((account::created_at.desc(), account::id.desc())),
        Part::OlderThan(place) => {
            query.filter(beyond("<", place)).order((account::created_at.desc(), account::id.desc()))
        }
        Part::NewerThan(place) => {
            query.filter(beyond(">", place)).order((account::created_at.asc(), account::id.asc()))
        }
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
