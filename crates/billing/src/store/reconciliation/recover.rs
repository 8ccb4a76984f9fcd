//! Money of the lost time: the gateway has it, and the restored database has no row of it. The gateway gives back what was sent
//! with the charge, and that is enough to write bill and attempt down again. The attempt is written down as one that came to
//! nothing; that its money came then is the late success, as everywhere.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::{StoreError, cards, events, tariffs};
use crate::bill::{BillKind, BillStatus, PaymentType};
use crate::event::{EventKind, NewEvent};
use crate::models::{AccountRow, BillRow, NewBill, NewPaymentRow, Tariff};
use crate::payment::{Instrument, PaymentState};
use crate::schema::{account, bill, payment};
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};

/// A charge of ours, as the gateway gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    pub transaction_id: i64,
    /// When the gateway made it.
    pub made_at: DateTime<Utc>,
    pub invoice_no: i64,
    pub account_id: AccountId,
    pub amount: Kopecks,
    pub currency: Currency,
    /// What `JsonData` names.
    pub payment_id: PaymentId,
    pub bill_id: BillId,
    pub tariff_id: TariffId,
    pub kind: BillKind,
    pub period_no: i32,
    pub instrument: Instrument,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// Bill and attempt stand as before it was known that the money came.
    Written,
    /// They cannot be written down: a person must decide. Why, in words.
    Orphan(String),
}

/// Writes bill and attempt down again.
///
/// # Errors
/// [`StoreError`].
pub async fn recover(conn: &mut AsyncPgConnection, lost: &Lost, now: DateTime<Utc>) -> Result<Recovered, StoreError> {
    let orphan = |why: &str| Ok(Recovered::Orphan(why.to_owned()));
    if Kopecks::billable(lost.amount.get()).is_err() {
        return orphan("no bill can be of that amount");
    }
    if lost.kind == BillKind::Verification {
        return orphan("a card was verified: nothing is bought by it, and what is held is let go by the gateway");
    }
    conn.transaction(async |conn| {
        let owner = account::table.find(lost.account_id).select(AccountRow::as_select()).for_no_key_update();
        let Some(owner): Option<AccountRow> = owner.first(conn).await.optional()? else {
            return orphan("its account is not here");
        };
        let known = payment::table.filter(payment::id.eq(lost.payment_id).or(payment::invoice_no.eq(lost.invoice_no)));
        if diesel::select(diesel::dsl::exists(known)).get_result(conn).await? {
            return orphan("its payment is here, under another number or of another account");
        }
        let Some(tariff) = tariffs::get(conn, lost.tariff_id, lost.made_at).await? else {
            return orphan("its tariff is not here");
        };
        let Some(bill) = bill_of(conn, lost, &owner, &tariff, now).await? else {
            return orphan("its bill is not here, and the account has another open one");
        };
        write_attempt(conn, lost, &bill, now).await?;
        Ok(Recovered::Written)
    })
    .await
}

/// The bill that it was of: by its id; or the one of the same period, which was opened anew; or it is written down again.
/// `None`: there is no place for it.
async fn bill_of(
    conn: &mut AsyncPgConnection,
    lost: &Lost,
    owner: &AccountRow,
    tariff: &Tariff,
    now: DateTime<Utc>,
) -> Result<Option<BillRow>, StoreError> {
    let own = || bill::table.filter(bill::account_id.eq(owner.id));
    let by_id: Option<BillRow> =
        own().filter(bill::id.eq(lost.bill_id)).select(BillRow::as_select()).first(conn).await.optional()?;
    if by_id.is_some() {
        return Ok(by_id);
    }
    let same_period = own()
        .filter(bill::kind.eq(lost.kind).and(bill::period_no.eq(lost.period_no)))
        .filter(bill::status.ne(BillStatus::Void));
    let of_period: Option<BillRow> = same_period.select(BillRow::as_select()).first(conn).await.optional()?;
    if of_period.is_some() {
        return Ok(of_period);
    }
    let open = own()
        .filter(bill::status.eq_any([BillStatus::NotPaid, BillStatus::InWork]))
        .filter(bill::kind.ne(BillKind::Verification));
    if diesel::select(diesel::dsl::exists(open)).get_result(conn).await? {
        return Ok(None);
    }
    // A period that is paid otherwise by now owes nothing: its money is a duplicate.
    let is_paid = lost.kind == BillKind::Renewal && lost.period_no <= owner.period_no;
    let row = NewBill {
        id: lost.bill_id,
        created_at: lost.made_at,
        status: if is_paid { BillStatus::Void } else { BillStatus::NotPaid },
        amount: lost.amount,
        currency: lost.currency,
        payment_type: match lost.instrument {
            Instrument::Cryptogram => PaymentType::Cryptogram,
            Instrument::Token => PaymentType::Token,
        },
        ..NewBill::of_tariff(owner.id, tariff, lost.kind, lost.period_no, now)
    };
    let writing = diesel::insert_into(bill::table).values(row).returning(BillRow::as_returning());
    Ok(Some(writing.get_result(conn).await?))
}

async fn write_attempt(
    conn: &mut AsyncPgConnection,
    lost: &Lost,
    bill: &BillRow,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = NewPaymentRow {
        id: lost.payment_id,
        created_at: lost.made_at,
        request_id: format!("charge:{}", lost.payment_id),
        state: PaymentState::NotExecuted,
        is_success: Some(false),
        finished_at: Some(now),
        info: Some("it was lost with the database, and written down again from the gateway's list".to_owned()),
        ..NewPaymentRow::created(bill.id, lost.instrument, lost.amount, lost.currency, now)
    };
    diesel::insert_into(payment::table).values(row).execute(conn).await?;
    diesel::update(payment::table.find(lost.payment_id))
        .set((
            payment::invoice_no.eq(lost.invoice_no),
            payment::sends.eq(1),
            payment::first_sent_at.eq(lost.made_at),
            payment::last_sent_at.eq(lost.made_at),
        ))
        .execute(conn)
        .await?;
    match lost.instrument {
        Instrument::Cryptogram => cards::begin(conn, bill.account_id, lost.payment_id, now).await?,
        Instrument::Token => drop(cards::name_kept(conn, bill.account_id, lost.payment_id).await?),
    }
    let written = NewEvent::of_account(EventKind::PaymentMoved, bill.account_id)
        .bill(bill.id)
        .payment(lost.payment_id)
        .states(None, PaymentState::NotExecuted.as_str())
        .with("transaction_id", lost.transaction_id);
    events::append(conn, vec![written], now).await
}
