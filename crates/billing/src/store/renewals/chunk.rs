//! What is to be written for one chunk of due accounts.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::payments::bill::is_still_owed;
use super::super::payments::story;
use super::super::{StoreError, accounts, events};
use crate::account::{Account, AccountError, AccountEvent};
use crate::bill::{BillEvent, BillKind, BillStatus, PaymentType};
use crate::decline::{Rule, left_alone_until};
use crate::event::{EventKind, NewEvent};
use crate::models::{BillRow, NewBill, NewPaymentRow, SkippedRow, Tariff};
use crate::payment::Instrument;
use crate::schema::{account, bill, payment, skipped_period};
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId};

/// How soon to look again at an account whose customer is just paying with another card.
const CUSTOMER_IS_PAYING: TimeDelta = TimeDelta::hours(1);

/// All that is to be written for one chunk.
#[derive(Default)]
pub(super) struct Chunk {
    now: DateTime<Utc>,
    void: Vec<BillId>,
    taken: Vec<BillId>,
    bills: Vec<NewBill>,
    payments: Vec<NewPaymentRow>,
    skipped: Vec<SkippedRow>,
    /// Accounts of which nothing changes but that they are being charged now: nearly all.
    opened: Vec<AccountId>,
    others: Vec<Account>,
    /// What the log of events is told.
    story: Vec<NewEvent>,
}

impl Chunk {
    pub(super) fn at(now: DateTime<Utc>) -> Self {
        Self { now, ..Self::default() }
    }

    /// Until when an account that is due is left alone all the same.
    pub(super) fn waits_until(
        &self,
        account: &Account,
        open: Option<&BillRow>,
        charges: &[DateTime<Utc>],
    ) -> Option<DateTime<Utc>> {
        if open.is_some_and(|bill| bill.status == BillStatus::InWork) {
            return Some(self.now + CUSTOMER_IS_PAYING);
        }
        left_alone_until(charges, self.now).filter(|_| account.can_be_charged())
    }

    pub(super) fn put_off(&mut self, account: &Account, until: DateTime<Utc>) {
        self.others.push(Account { next_charge_at: Some(until), ..account.clone() });
    }

    /// Decides about one account, whose card may have `expired`. Nothing is taken up into the chunk if it fails.
    pub(super) fn plan(
        &mut self,
        account: &Account,
        tariff: Option<&Tariff>,
        open: Option<BillRow>,
        expired: bool,
    ) -> Result<(), StoreError> {
        let tariff = tariff.ok_or(AccountError::Illegal { status: account.status, event: "a renewal of no tariff" })?;
        let charged = account.can_be_charged() && !expired;
        let event = if charged { AccountEvent::RenewalOpened } else { AccountEvent::NoCard };
        let after = account.clone().apply(event, self.now)?;
        let (bill, amount, currency) = self.bill_for(account, tariff, open, charged)?;
        if charged {
            let new = NewPaymentRow::created(bill, Instrument::Token, amount, currency, self.now);
            self.story.push(story::attempt_created(account.id, bill, new.id));
            self.payments.push(new);
        } else {
            let refused = NewEvent::of_account(EventKind::RenewalRefused, account.id).bill(bill);
            let rule = if expired { Rule::expired_card() } else { Rule::without_a_card() };
            self.story.push(story::in_words(refused, &rule));
        }
        if after.status != account.status {
            let states = (Some(account.status.as_str()), after.status.as_str());
            self.story.push(NewEvent::of_account(EventKind::AccountMoved, account.id).states(states.0, states.1));
        }
        if after == (Account { next_charge_at: None, ..account.clone() }) {
            self.opened.push(after.id);
        } else {
            self.others.push(after);
        }
        Ok(())
    }

    /// An account that contradicts itself must not keep all others from being renewed.
    pub(super) fn set_aside(&mut self, account: &Account, error: &StoreError) {
        tracing::error!(account = %account.id, %error, "this account cannot be renewed: a person must look at it");
        self.others.push(Account { next_charge_at: None, ..account.clone() });
    }

    /// The open renewal, with its price and its length, while its period is to be charged for; else a new one in its place.
    fn bill_for(
        &mut self,
        account: &Account,
        tariff: &Tariff,
        open: Option<BillRow>,
        charged: bool,
    ) -> Result<(BillId, Kopecks, Currency), StoreError> {
        let next = account.next_period(tariff.period, self.now)?;
        if let Some(open) = open {
            let same = (open.kind, open.tariff_id) == (BillKind::Renewal, tariff.id);
            if same && is_still_owed(&open, account, self.now) {
                if charged {
                    open.machine().apply(BillEvent::AttemptStarted, self.now)?;
                    self.taken.push(open.id);
                }
                return Ok((open.id, open.amount, open.currency));
            }
            open.machine().apply(BillEvent::Voided, self.now)?;
            self.void.push(open.id);
        }
        if next.skipped > 0 {
            tracing::warn!(
                account = %account.id, period = next.no, skipped = next.skipped, "periods that passed unpaid are not charged"
            );
        }
        let id = BillId::new();
        if next.skipped > 0 {
            let skipped = NewEvent::of_account(EventKind::PeriodsSkipped, account.id).bill(id);
            self.story.push(skipped.with("periods", next.skipped).with("period_no", next.no));
            self.skipped.extend(account.skipped(tariff.period, next.no)?.into_iter().map(|period| SkippedRow {
                account_id: account.id,
                begins_at: period.begins_at,
                ends_at: period.ends_at,
                period_no: period.no,
                bill_id: id,
                noticed_at: self.now,
            }));
        }
        self.bills.push(NewBill {
            id,
            status: if charged { BillStatus::InWork } else { BillStatus::NotPaid },
            skipped_periods: next.skipped,
            ..NewBill::of_tariff(account.id, tariff, BillKind::Renewal, next.no, self.now)
        });
        Ok((id, tariff.amount, tariff.currency))
    }

    /// Writes everything down and returns which attempts are to be charged.
    pub(super) async fn write(mut self, conn: &mut AsyncPgConnection) -> Result<Vec<PaymentId>, StoreError> {
        let now = self.now;
        let is_open = bill::status.eq(BillStatus::NotPaid);
        let void = diesel::update(bill::table.filter(bill::id.eq_any(&self.void).and(is_open)))
            .set((bill::status.eq(BillStatus::Void), bill::updated_at.eq(now)))
            .execute(conn)
            .await?;
        let taken = diesel::update(bill::table.filter(bill::id.eq_any(&self.taken).and(is_open)))
            .set((
                bill::status.eq(BillStatus::InWork),
                bill::payment_type.eq(PaymentType::Token),
                bill::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        if (void, taken) != (self.void.len(), self.taken.len()) {
            return Err(StoreError::BillsOvertaken);
        }
        self.insert_bills(conn).await?;
        self.insert_skipped(conn).await?;
        let opened = self.payments.iter().map(|new| new.id).collect();
        for rows in chunks(self.payments) {
            diesel::insert_into(payment::table).values(rows).execute(conn).await?;
        }
        let being_charged = account::next_charge_at.eq(None::<DateTime<Utc>>);
        diesel::update(account::table.filter(account::id.eq_any(self.opened)))
            .set((being_charged, account::updated_at.eq(now)))
            .execute(conn)
            .await?;
        for other in self.others {
            accounts::save(conn, &other, now).await?;
        }
        events::append(conn, self.story, now).await?;
        Ok(opened)
    }

    /// The database refuses a second bill for a period. Who has one already is not charged for it again: such an account
    /// is set aside, and keeps nobody else from being renewed.
    async fn insert_bills(&mut self, conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
        let mut refused: HashMap<BillId, AccountId> = self.bills.iter().map(|new| (new.id, new.account_id)).collect();
        for rows in chunks(std::mem::take(&mut self.bills)) {
            let inserting = diesel::insert_into(bill::table).values(rows).on_conflict_do_nothing();
            let inserted: Vec<BillId> = inserting.returning(bill::id).load(conn).await?;
            refused.retain(|id, _| !inserted.contains(id));
        }
        if refused.is_empty() {
            return Ok(());
        }
        self.payments.retain(|new| !refused.contains_key(&new.bill_id));
        self.skipped.retain(|skipped| !refused.contains_key(&skipped.bill_id));
        for account in refused.values() {
            tracing::error!(%account, "the period it would be charged for has a bill: a person must look at it");
        }
        // Not planned again, whatever else was to be changed of them.
        let refused: Vec<AccountId> = refused.into_values().collect();
        self.others.retain(|other| !refused.contains(&other.id));
        self.opened.retain(|id| !refused.contains(id));
        self.story.retain(|told| told.account_id.is_none_or(|id| !refused.contains(&id)));
        self.opened.extend(refused);
        Ok(())
    }

    /// A period is skipped once. If the bill that was opened instead passes too, it is the next one's.
    async fn insert_skipped(&mut self, conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
        for rows in chunks(std::mem::take(&mut self.skipped)) {
            diesel::insert_into(skipped_period::table)
                .values(rows)
                .on_conflict((skipped_period::account_id, skipped_period::begins_at))
                .do_update()
                .set(skipped_period::bill_id.eq(excluded(skipped_period::bill_id)))
                .execute(conn)
                .await?;
        }
        Ok(())
    }
}

/// A statement takes at most 65,535 parameters.
fn chunks<T>(rows: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    const ROWS: usize = 2_000;
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || Some(rows.by_ref().take(ROWS).collect::<Vec<T>>()).filter(|chunk| !chunk.is_empty()))
}
