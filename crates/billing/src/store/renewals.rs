//! Opening what is due, a chunk at a time: a fixed number of statements however many accounts, and no lock outlives
//! the chunk.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::StoreError;
use super::prepared::Prepare;
use crate::account::{Account, AccountError, AccountEvent, AccountStatus, NextPeriod};
use crate::bill::{BillEvent, BillKind, BillStatus, PaymentType};
use crate::models::{AccountChange, AccountRow, BillRow, NewBill, NewPaymentRow, Tariff};
use crate::payment::Instrument;
use crate::schema::{account, bill, payment, tariff};
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};

/// What one chunk of due accounts came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Attempts to be charged: send [`ChargeRenewal`](crate::tasks::ChargeRenewal) for each, after this returns.
    pub payments: Vec<PaymentId>,
    /// Accounts looked at. As many as the limit: there may be more, call again.
    pub accounts: usize,
}

/// Opens the renewals of at most `limit` accounts: those whose paid time ends within `lead`, and those whose refused
/// renewal is to be tried again. One short transaction; any number may run at once, each takes other accounts.
///
/// Service is paid in advance, so after an outage only the present period is charged, not those that passed.
///
/// # Errors
/// [`StoreError`].
pub async fn open_due(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    lead: TimeDelta,
    limit: i64,
) -> Result<Opened, StoreError> {
    conn.transaction(async |conn| {
        let due = due(conn, now, lead, limit).await?;
        let tariffs = tariffs_of(conn, &due).await?;
        let mut open_bills = open_bills_of(conn, &due).await?;
        let mut chunk = Chunk { now, ..Chunk::default() };
        for row in &due {
            let account = row.machine();
            let tariff = account.tariff_id.and_then(|id| tariffs.get(&id));
            let open = open_bills.remove(&row.id);
            if let Err(error) = chunk.plan(&account, tariff, open, lead) {
                chunk.set_aside(&account, &error);
            }
        }
        let opened = Opened { payments: chunk.payments.iter().map(|new| new.id).collect(), accounts: due.len() };
        chunk.write(conn).await?;
        Ok(opened)
    })
    .await
}

async fn due(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    lead: TimeDelta,
    limit: i64,
) -> Result<Vec<AccountRow>, StoreError> {
    Ok(account::table
        .filter(account::next_charge_at.le(now + lead))
        .filter(account::status.eq(AccountStatus::Active).or(account::next_charge_at.le(now)))
        .order(account::next_charge_at)
        .limit(limit)
        .select(AccountRow::as_select())
        .for_no_key_update()
        .skip_locked()
        .load(conn)
        .await?)
}

async fn tariffs_of(conn: &mut AsyncPgConnection, due: &[AccountRow]) -> Result<HashMap<TariffId, Tariff>, StoreError> {
    let mut ids: Vec<TariffId> = due.iter().filter_map(|row| row.tariff_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows: Vec<Tariff> = tariff::table.filter(tariff::id.eq_any(ids)).select(Tariff::as_select()).load(conn).await?;
    Ok(rows.into_iter().map(|tariff| (tariff.id, tariff)).collect())
}

async fn open_bills_of(
    conn: &mut AsyncPgConnection,
    due: &[AccountRow],
) -> Result<HashMap<AccountId, BillRow>, StoreError> {
    let rows: Vec<BillRow> = bill::table
        .filter(bill::account_id.eq_any(due.iter().map(|row| row.id)))
        .filter(bill::status.eq_any([BillStatus::NotPaid, BillStatus::InWork]))
        .select(BillRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|bill| (bill.account_id, bill)).collect())
}

/// How soon to look again at an account whose customer is just paying with another card.
const CUSTOMER_IS_PAYING: TimeDelta = TimeDelta::hours(1);

/// All that is to be written for one chunk.
#[derive(Default)]
struct Chunk {
    now: DateTime<Utc>,
    void: Vec<BillId>,
    taken: Vec<BillId>,
    bills: Vec<NewBill>,
    payments: Vec<NewPaymentRow>,
    /// Accounts of which nothing changes but that they are being charged now: nearly all.
    opened: Vec<AccountId>,
    others: Vec<Account>,
}

impl Chunk {
    /// Decides about one account. Nothing is taken up into the chunk if it fails.
    fn plan(
        &mut self,
        account: &Account,
        tariff: Option<&Tariff>,
        open: Option<BillRow>,
        lead: TimeDelta,
    ) -> Result<(), StoreError> {
        if open.as_ref().is_some_and(|bill| bill.status == BillStatus::InWork) {
            let at = self.now + CUSTOMER_IS_PAYING;
            let at = if account.status == AccountStatus::Active { at + lead } else { at };
            self.others.push(Account { next_charge_at: Some(at), ..account.clone() });
            return Ok(());
        }
        let tariff = tariff.ok_or(AccountError::Illegal { status: account.status, event: "a renewal of no tariff" })?;
        let next = account.next_period(tariff.period, self.now)?;
        let charged = account.has_token;
        let event = if charged { AccountEvent::RenewalOpened } else { AccountEvent::NoCard };
        let after = account.clone().apply(event, self.now)?;
        let (bill, amount, currency) = self.bill_for(account, tariff, open, next, charged)?;
        if next.skipped > 0 {
            tracing::warn!(account = %account.id, skipped = next.skipped, "periods passed unpaid are not charged");
        }
        if charged {
            self.payments.push(NewPaymentRow::created(bill, Instrument::Token, amount, currency, self.now));
        }
        if after == (Account { next_charge_at: None, ..account.clone() }) {
            self.opened.push(after.id);
        } else {
            self.others.push(after);
        }
        Ok(())
    }

    /// An account that contradicts itself must not keep all others from being renewed.
    fn set_aside(&mut self, account: &Account, error: &StoreError) {
        tracing::error!(account = %account.id, %error, "this account cannot be renewed: a person must look at it");
        self.others.push(Account { next_charge_at: None, ..account.clone() });
    }

    /// The open renewal if it is for the present period and still costs the same; else a new one in its place.
    fn bill_for(
        &mut self,
        account: &Account,
        tariff: &Tariff,
        open: Option<BillRow>,
        next: NextPeriod,
        charged: bool,
    ) -> Result<(BillId, Kopecks, Currency), StoreError> {
        if let Some(open) = open {
            let same = (open.kind, open.tariff_id, open.amount, open.currency, open.paid_period)
                == (BillKind::Renewal, tariff.id, tariff.amount, tariff.currency, tariff.period);
            if same && open.period_no >= next.no {
                if charged {
                    open.machine().apply(BillEvent::AttemptStarted, self.now)?;
                    self.taken.push(open.id);
                }
                return Ok((open.id, open.amount, open.currency));
            }
            open.machine().apply(BillEvent::Voided, self.now)?;
            self.void.push(open.id);
        }
        let id = BillId::new();
        self.bills.push(NewBill {
            id,
            created_at: self.now,
            updated_at: self.now,
            status: if charged { BillStatus::InWork } else { BillStatus::NotPaid },
            amount: tariff.amount,
            account_id: account.id,
            paid_period: tariff.period,
            card_cryptogram_packet: None,
            ip_address: None,
            payment_type: PaymentType::Token,
            currency: tariff.currency,
            tariff_id: tariff.id,
            description: tariff.name.clone(),
            kind: BillKind::Renewal,
            period_no: next.no,
        });
        Ok((id, tariff.amount, tariff.currency))
    }

    async fn write(self, conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
        let now = self.now;
        diesel::update(bill::table.filter(bill::id.eq_any(self.void)))
            .set((bill::status.eq(BillStatus::Void), bill::updated_at.eq(now)))
            .execute(conn)
            .await?;
        diesel::update(bill::table.filter(bill::id.eq_any(self.taken)))
            .set((
                bill::status.eq(BillStatus::InWork),
                bill::payment_type.eq(PaymentType::Token),
                bill::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        // A statement takes at most 65,535 parameters.
        for rows in chunks(self.bills) {
            diesel::insert_into(bill::table).values(rows).execute(conn).await?;
        }
        for rows in chunks(self.payments) {
            diesel::insert_into(payment::table).values(rows).execute(conn).await?;
        }
        let being_charged = account::next_charge_at.eq(None::<DateTime<Utc>>);
        diesel::update(account::table.filter(account::id.eq_any(self.opened)))
            .set((being_charged, account::updated_at.eq(now)))
            .execute(conn)
            .await?;
        for other in self.others {
            let changing = diesel::update(account::table.find(other.id)).set(AccountChange::new(&other, now));
            changing.prepared().execute(conn).await?;
        }
        Ok(())
    }
}

fn chunks<T>(rows: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    const ROWS: usize = 2_000;
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || Some(rows.by_ref().take(ROWS).collect::<Vec<T>>()).filter(|chunk| !chunk.is_empty()))
}
