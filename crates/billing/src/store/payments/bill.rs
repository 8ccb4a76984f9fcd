//! The bill that a customer pays: the open one, or a new one.

use chrono::{DateTime, Utc};
use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::prepared::Prepare;
use super::super::{StoreError, events, owed};
use super::apply::settle;
use super::create::NewPayment;
use super::load::Locked;
use super::trial::Brought;
use crate::account::Account;
use crate::bill::{BillEvent, BillKind, BillStatus, PaymentType};
use crate::cipher::{Cipher, Place};
use crate::event::{EventKind, NewEvent};
use crate::models::{AccountRow, BillRow, NewBill, PaymentRow, Tariff};
use crate::payment::{Outcome, PaymentState};
use crate::schema::{bill, payment};
use crate::{AccountId, BillId, PaymentId};

/// Why no attempt can be put on a bill now.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum NotPayable {
    /// This attempt must end first.
    #[error("payment {payment_id} is in progress")]
    InProgress { payment_id: PaymentId },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for NotPayable {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// In work, with the secrets of the attempt that is to pay it.
pub(in crate::store) async fn bill_to_pay(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    tariff: &Tariff,
    new: &NewPayment,
    cipher: &Cipher,
) -> Result<BillRow, NotPayable> {
    match open_of(conn, account.id).await? {
        Some(open) if open.status == BillStatus::InWork => {
            let open = make_room(conn, account, open, new.now).await?;
            pay(conn, account, tariff, open, new, cipher).await
        }
        Some(open) => pay(conn, account, tariff, open, new, cipher).await,
        None => open_bill(conn, account, tariff, new, cipher).await,
    }
}

/// A customer who pays anew has left the bank's page: its attempt is withdrawn, for we shall not pass its answer on any
/// more. Whether the gateway has that answer all the same is looked after; money that came by it is a success or goes back.
/// Any other attempt must end first.
pub(in crate::store) async fn make_room(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    bill: BillRow,
    now: DateTime<Utc>,
) -> Result<BillRow, NotPayable> {
    let live = payment::table.filter(payment::bill_id.eq(bill.id)).filter(payment::is_success.is_null());
    let live: PaymentRow = live.select(PaymentRow::as_select()).first(conn).await?;
    if live.state != PaymentState::AwaitingThreeDs {
        return Err(NotPayable::InProgress { payment_id: live.id });
    }
    let (payment_id, bill_id) = (live.id, bill.id);
    let locked = Locked { account: account.clone(), bill, payment: live };
    let why = "the customer has begun another payment".to_owned();
    settle(conn, locked, Outcome::Withdrawn { why }, Brought::default(), now).await?;
    tracing::info!(%payment_id, "withdrawn: the customer pays anew");
    Ok(bill::table.find(bill_id).select(BillRow::as_select()).first(conn).await?)
}

/// Puts the attempt on the open bill, or on a new one in its place.
async fn pay(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    tariff: &Tariff,
    open: BillRow,
    new: &NewPayment,
    cipher: &Cipher,
) -> Result<BillRow, NotPayable> {
    if fits(&open, account, tariff, new) {
        return take(conn, open.id, new, cipher).await;
    }
    void(conn, account.id, &open, new.now).await?;
    open_bill(conn, account, tariff, new, cipher).await
}

/// Takes back a bill that is not being paid.
pub(super) async fn void(
    conn: &mut AsyncPgConnection,
    account_id: AccountId,
    open: &BillRow,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let void = open.machine().apply(BillEvent::Voided, now)?;
    diesel::update(bill::table.find(open.id))
        .set((bill::status.eq(void.status), bill::updated_at.eq(now)))
        .execute(conn)
        .await?;
    let moved = NewEvent::of_account(EventKind::BillMoved, account_id)
        .bill(open.id)
        .states(Some(open.status.as_str()), void.status.as_str());
    events::append(conn, vec![moved], now).await
}

/// The bill that an account owes.
pub(super) async fn open_of(conn: &mut AsyncPgConnection, id: AccountId) -> Result<Option<BillRow>, StoreError> {
    let open = bill::table.filter(bill::account_id.eq(id)).filter(owed()).select(BillRow::as_select());
    Ok(open.prepared().get_result(conn).await.optional()?)
}

/// Whether an open bill is what the customer asks for now.
fn fits(open: &BillRow, account: &AccountRow, tariff: &Tariff, new: &NewPayment) -> bool {
    let (account, now) = (account.machine(), new.now);
    let fits = match open.kind {
        BillKind::Primary => {
            let offered = (tariff.amount, tariff.currency, Some(tariff.period));
            (open.amount, open.currency, open.paid_period) == offered
                && open.trial_days == new.trial.map(|trial| trial.days)
                && !account.continues(tariff.id)
        }
        // A debt: it keeps its price.
        BillKind::Renewal => account.continues(tariff.id) && is_still_owed(open, &account, now),
        BillKind::Change | BillKind::Verification => false,
    };
    fits && open.tariff_id == tariff.id
}

/// Whether the period of an open renewal is still to be charged for.
pub(in crate::store) fn is_still_owed(open: &BillRow, account: &Account, now: DateTime<Utc>) -> bool {
    open.paid_period.is_some_and(|period| account.still_owes(open.period_no, period, now))
}

/// Puts the attempt's secrets on an open bill.
async fn take(
    conn: &mut AsyncPgConnection,
    id: BillId,
    new: &NewPayment,
    cipher: &Cipher,
) -> Result<BillRow, NotPayable> {
    Ok(diesel::update(bill::table.find(id))
        .set((
            bill::status.eq(BillStatus::InWork),
            bill::payment_type.eq(PaymentType::Cryptogram),
            bill::card_cryptogram_packet.eq(cipher.seal(Place::Cryptogram(id), &new.cryptogram)),
            bill::ip_address.eq(new.ip_address.to_string()),
            bill::updated_at.eq(new.now),
        ))
        .returning(BillRow::as_returning())
        .prepared()
        .get_result(conn)
        .await?)
}

async fn open_bill(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    tariff: &Tariff,
    new: &NewPayment,
    cipher: &Cipher,
) -> Result<BillRow, NotPayable> {
    let (kind, period_no, skipped_periods) = what_for(conn, account, tariff, new.now).await?;
    let trial_days = new.trial.map(|trial| trial.days);
    let row =
        NewBill { skipped_periods, trial_days, ..NewBill::of_tariff(account.id, tariff, kind, period_no, new.now) };
    let row = row.by_cryptogram(&new.cryptogram, new.ip_address, cipher);
    let opening = diesel::insert_into(bill::table).values(row).returning(BillRow::as_returning());
    Ok(opening.prepared().get_result(conn).await?)
}

/// What a new bill is for: its kind, its period, and how many periods before it are not charged. A running subscription
/// goes on under the same tariff; anything else is a purchase, whose period gets the number after all that were ever
/// billed – also after those that were given up.
async fn what_for(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    tariff: &Tariff,
    now: DateTime<Utc>,
) -> Result<(BillKind, i32, i32), NotPayable> {
    let machine = account.machine();
    if machine.continues(tariff.id) {
        let next = machine.next_period(tariff.period, now).map_err(StoreError::from)?;
        return Ok((BillKind::Renewal, next.no, next.skipped));
    }
    Ok((BillKind::Primary, next_purchase_no(conn, &machine).await?, 0))
}

/// The number of the next period that is no renewal.
pub(super) async fn next_purchase_no(conn: &mut AsyncPgConnection, account: &Account) -> Result<i32, StoreError> {
    let billed = bill::table.filter(bill::account_id.eq(account.id)).filter(sql::<Bool>("bill.status <> 'Void'"));
    let last: Option<i32> = billed.select(max(bill::period_no)).prepared().get_result(conn).await?;
    Ok(last.unwrap_or(0).max(account.period_no).saturating_add(1))
}
