//! Reading an attempt with its bill and account under lock, and writing them back.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::super::cards::CardChange;
use super::super::prepared::Prepare;
use crate::account::Account;
use crate::bill::{Bill, PaymentType};
use crate::models::{AccountChange, AccountRow, BillChange, BillRow, PaymentChange, PaymentRow};
use crate::payment::{Instrument, Payment, PaymentState};
use crate::resolve::look_after_the_page;
use crate::schema::{account, bill, payment};
use crate::{BillId, PaymentId};

/// An attempt with its bill and its account: all that one transaction is about.
pub(in crate::store) struct Locked {
    pub(in crate::store) account: AccountRow,
    pub(in crate::store) bill: BillRow,
    pub(in crate::store) payment: PaymentRow,
}

/// Locks the account, then the bill, then the attempt, in one statement; the rows are as they are once the locks are
/// held. (PostgreSQL locks in the order in which the tables are named.)
pub(in crate::store) async fn lock(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Option<Locked>, StoreError> {
    let rows = account::table
        .inner_join(bill::table.inner_join(payment::table))
        .filter(payment::id.eq(id))
        .select((AccountRow::as_select(), BillRow::as_select(), PaymentRow::as_select()))
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    Ok(rows.map(|(account, bill, payment)| Locked { account, bill, payment }))
}

/// As [`lock`], for a payment that must exist.
pub(in crate::store) async fn lock_known(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Locked, StoreError> {
    lock(conn, id).await?.ok_or(StoreError::UnknownPayment(id))
}

/// Another live attempt on the bill. There is at most one, and none while `than` is live itself.
pub(super) async fn other_live(
    conn: &mut AsyncPgConnection,
    bill_id: BillId,
    than: PaymentId,
) -> Result<Option<PaymentRow>, StoreError> {
    let others = payment::table.filter(payment::bill_id.eq(bill_id)).filter(payment::id.ne(than));
    Ok(others.filter(payment::is_success.is_null()).select(PaymentRow::as_select()).first(conn).await.optional()?)
}

impl Locked {
    /// The attempt, as far as its own row and its open bill tell.
    pub(in crate::store) fn attempt(&self) -> Payment {
        self.payment.machine(&self.bill)
    }

    /// Whether nobody is to turn to it yet. Of all who are told of an attempt only one finds that it is time.
    pub(super) fn is_put_off(&self, now: DateTime<Utc>) -> bool {
        self.payment.look_again_at.is_some_and(|at| at > now)
    }

    /// Compare-and-set: writes the attempt if it is still in the state it was read in.
    pub(super) async fn save_payment(
        &mut self,
        conn: &mut AsyncPgConnection,
        next: &Payment,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.payment = save_payment(conn, &self.payment, next, now).await?;
        Ok(())
    }

    /// Writes the bill's state, and wipes every secret the attempt needs no longer.
    pub(super) async fn save_bill(
        &mut self,
        conn: &mut AsyncPgConnection,
        next: Bill,
        attempt: &Payment,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let change = BillChange {
            updated_at: now,
            status: next.status,
            paid_at: next.paid_at,
            card_cryptogram_packet: self.bill.card_cryptogram_packet.clone().filter(|_| attempt.needs_cryptogram()),
            pa_res: self.bill.pa_res.clone().filter(|_| attempt.needs_pa_res()),
            payment_type: if attempt.needs_pa_res() { PaymentType::Post3ds } else { self.bill.payment_type },
        };
        let unchanged = next == self.bill.machine()
            && change.card_cryptogram_packet == self.bill.card_cryptogram_packet
            && change.pa_res == self.bill.pa_res;
        if !unchanged {
            self.write_bill(conn, change).await?;
        }
        Ok(())
    }

    pub(super) async fn write_bill(
        &mut self,
        conn: &mut AsyncPgConnection,
        change: BillChange,
    ) -> Result<(), StoreError> {
        self.bill = diesel::update(bill::table.find(self.bill.id))
            .set(change)
            .returning(BillRow::as_returning())
            .prepared()
            .get_result(conn)
            .await?;
        Ok(())
    }

    pub(super) async fn save_account(
        &mut self,
        conn: &mut AsyncPgConnection,
        next: &Account,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.save_account_and_card(conn, next, None, now).await
    }

    /// Likewise, with the card to be charged from now on if that changes.
    pub(super) async fn save_account_and_card(
        &mut self,
        conn: &mut AsyncPgConnection,
        next: &Account,
        card: Option<CardChange>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.account = diesel::update(account::table.find(self.account.id))
            .set((AccountChange::new(next, now), card))
            .returning(AccountRow::as_returning())
            .prepared()
            .get_result(conn)
            .await?;
        Ok(())
    }
}

impl Locked {
    /// The gateway allows no other try before this time, as it has told after its refusal was written down.
    pub(in crate::store) async fn put_off(
        &mut self,
        conn: &mut AsyncPgConnection,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let putting_off = diesel::update(payment::table.find(self.payment.id));
        putting_off.set((payment::retry_after.eq(until), payment::updated_at.eq(now))).execute(conn).await?;
        let account = self.account.machine();
        if self.payment.instrument == Instrument::Token && self.bill.period_no > account.period_no {
            let later = account.clone().not_before(until);
            if later != account {
                self.save_account(conn, &later, now).await?;
            }
        }
        Ok(())
    }
}

/// Compare-and-set on the state the row was read in.
pub(in crate::store) async fn save_payment(
    conn: &mut AsyncPgConnection,
    row: &PaymentRow,
    next: &Payment,
    now: DateTime<Utc>,
) -> Result<PaymentRow, StoreError> {
    let next = Payment { look_again_at: next.look_again_at.or_else(|| look_after(row, next, now)), ..next.clone() };
    diesel::update(payment::table.find(row.id).filter(payment::state.eq(row.state)))
        .set(PaymentChange::new(&next, now))
        .returning(PaymentRow::as_returning())
        .prepared()
        .get_result(conn)
        .await
        .optional()?
        .ok_or(StoreError::Overtaken { id: row.id, expected: row.state })
}

/// A page that is given up is looked after for a while: the gateway may have its answer, or get it yet.
fn look_after(row: &PaymentRow, next: &Payment, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let is_given_up = row.state.is_live() && next.state == PaymentState::Abandoned;
    next.transaction_id.filter(|_| is_given_up).and_then(|_| look_after_the_page(now, now))
}
