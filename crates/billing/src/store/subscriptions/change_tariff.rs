//! Another tariff from the next period on.

use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};

use super::super::accounts::save;
use super::super::{StoreError, events, tariffs};
use super::open_bill;
use super::request::{Request, VerbError, Written, is_first, lock, written};
use super::verbs::{Withdraw, withdraw_renewal};
use crate::TariffId;
use crate::account::{Account, AccountEvent, AccountStatus};
use crate::bill::BillKind;
use crate::event::{EventKind, NewEvent};
use crate::models::{AccountRow, Tariff};

/// Has the next period charged under this tariff, unless this key did it before; the present tariff takes an earlier choice
/// back. Nothing is charged now. A renewal that was not sent yet, or was refused, is void, and what is charged next is the
/// new choice; one that was sent ends as the gateway says, and if it succeeds the choice is for the period after it.
///
/// # Errors
/// [`VerbError`].
pub async fn change_tariff(
    conn: &mut AsyncPgConnection,
    request: &Request,
    tariff_id: TariffId,
) -> Result<Written, VerbError> {
    conn.transaction(async |conn| {
        let row = lock(conn, request.account_id).await?;
        let first = is_first(conn, &row, request, "change_tariff", Some(tariff_id.get().as_bytes())).await?;
        if first {
            choose(conn, &row, tariff_id, request.now).await?;
        }
        written(conn, request, !first).await
    })
    .await
}

async fn choose(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    tariff_id: TariffId,
    now: DateTime<Utc>,
) -> Result<(), VerbError> {
    let account = row.machine();
    may_choose(&account)?;
    on_sale(conn, &account, tariff_id, now).await?;
    if account.next_tariff_id() == Some(tariff_id) {
        return Ok(());
    }
    if open_bill(conn, row.id).await?.is_some_and(|open| open.kind == BillKind::Change) {
        return Err(VerbError::ChangeInProgress);
    }
    let mut story = withdraw_renewal(conn, row, Withdraw::Bill, now).await?;
    let after = account.apply(AccountEvent::TariffChosen(tariff_id), now).map_err(StoreError::from)?;
    let was_being_charged = story.iter().any(|event| event.kind == EventKind::PaymentMoved);
    let next_charge_at = after.next_charge_at.or(was_being_charged.then_some(now));
    let kind = match after.pending_tariff_id {
        Some(_) => EventKind::TariffChangeAsked,
        None => EventKind::TariffChangeTakenBack,
    };
    save(conn, &Account { next_charge_at, ..after }, now).await?;
    story.push(NewEvent::of_account(kind, row.id).with("tariff_id", tariff_id.to_string()));
    Ok(events::append(conn, story, now).await?)
}

/// The tariff with its price at `now`. Who has one may keep it when it is not sold any more.
pub(super) async fn on_sale(
    conn: &mut AsyncPgConnection,
    account: &Account,
    id: TariffId,
    now: DateTime<Utc>,
) -> Result<Tariff, VerbError> {
    let tariff = tariffs::get(conn, id, now).await.map_err(StoreError::from)?;
    let known = tariff.filter(|tariff| tariff.is_active || account.tariff_id == Some(tariff.id));
    known.ok_or(VerbError::UnknownTariff(id))
}

/// Whether there is a next period to choose a tariff for.
pub(super) const fn may_choose(account: &Account) -> Result<(), VerbError> {
    match account.status {
        _ if account.closed_at.is_some() => Err(VerbError::Closed),
        AccountStatus::Inactive => Err(VerbError::NoSubscription),
        AccountStatus::Canceled => Err(VerbError::Ended),
        _ if account.cancel_at_period_end => Err(VerbError::Cancelled),
        AccountStatus::Active | AccountStatus::Overdue => Ok(()),
    }
}
