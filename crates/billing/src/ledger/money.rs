//! What each event of money is in the ledger.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use super::{Entry, EntryKind, LedgerAccount as Account, Subject};
use crate::{Currency, Kopecks, PaymentId, TariffId};

/// Money that the gateway took for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub payment_id: PaymentId,
    pub subject: Subject,
    pub amount: Kopecks,
    /// What of it is VAT.
    pub vat: Kopecks,
    /// What went back before it was known that it had come.
    pub returned: Kopecks,
    pub currency: Currency,
    /// Whether it pays a bill. What pays nothing must go back, or is back already.
    pub is_kept: bool,
}

impl Taken {
    fn subject(&self) -> Subject {
        Subject { payment_id: Some(self.payment_id), ..self.subject }
    }

    /// By the gateway's number: one transaction is entered once, whoever speaks of it.
    fn key(&self) -> String {
        match self.subject.transaction_id {
            Some(transaction_id) => key_of(transaction_id),
            None => format!("payment:{}", self.payment_id),
        }
    }

    /// What it pays for, without VAT. Nothing, if it is not kept.
    #[must_use]
    pub fn sold(&self) -> Option<Kopecks> {
        let (net, _) = self.kept();
        (self.is_kept && net.get() > 0).then_some(net)
    }

    /// What is left for the bill without VAT, and its VAT.
    fn kept(&self) -> (Kopecks, Kopecks) {
        let returned = self.returned.get().clamp(0, self.amount.get().max(0));
        let vat = self.vat.get() - share(self.vat, returned, self.amount);
        (Kopecks::new(self.amount.get() - returned - vat), Kopecks::new(vat))
    }

    fn post(&self, entry: Entry, from: Account) -> Entry {
        if !self.is_kept {
            return entry.post(from, Account::RefundsPayable, self.amount);
        }
        let (net, vat) = self.kept();
        let back = Kopecks::new(self.amount.get() - net.get() - vat.get());
        let entry = entry.post(from, Account::DeferredRevenue, net).post(from, Account::Vat, vat);
        entry.post(from, Account::RefundsPayable, back)
    }
}

fn key_of(transaction_id: i64) -> String {
    format!("taken:{transaction_id}")
}

/// The gateway took money.
#[must_use]
pub fn taken(taken: &Taken, at: DateTime<Utc>, zone: Tz) -> Entry {
    let entry = Entry::new(EntryKind::Payment, taken.key(), taken.currency, taken.subject(), at, zone);
    taken.post(entry, Account::GatewayClearing)
}

/// It had been set aside as money that fits nothing, and is an attempt's.
#[must_use]
pub fn place(taken: &Taken, at: DateTime<Utc>, zone: Tz) -> Entry {
    let key = format!("placed:{}", taken.payment_id);
    let entry = Entry::new(EntryKind::Placement, key, taken.currency, taken.subject(), at, zone);
    taken.post(entry, Account::Suspense)
}

/// The gateway has taken money that fits nothing of ours.
#[must_use]
pub fn set_aside(transaction_id: i64, amount: Kopecks, currency: Currency, at: DateTime<Utc>, zone: Tz) -> Entry {
    let subject = Subject { transaction_id: Some(transaction_id), ..Subject::default() };
    Entry::new(EntryKind::Suspense, key_of(transaction_id), currency, subject, at, zone).post(
        Account::GatewayClearing,
        Account::Suspense,
        amount,
    )
}

/// The gateway has given money back of which it is not known whose it was.
#[must_use]
pub fn set_aside_return(
    transaction_id: i64,
    amount: Kopecks,
    currency: Currency,
    at: DateTime<Utc>,
    zone: Tz,
) -> Entry {
    let subject = Subject { transaction_id: Some(transaction_id), ..Subject::default() };
    Entry::new(EntryKind::Suspense, key_of_return(transaction_id), currency, subject, at, zone).post(
        Account::Suspense,
        Account::GatewayClearing,
        amount,
    )
}

/// It is a refund of ours after all, which is entered by itself.
#[must_use]
pub fn place_return(transaction_id: i64, amount: Kopecks, currency: Currency, at: DateTime<Utc>, zone: Tz) -> Entry {
    let subject = Subject { transaction_id: Some(transaction_id), ..Subject::default() };
    let key = format!("placed_return:{transaction_id}");
    Entry::new(EntryKind::Suspense, key, currency, subject, at, zone).post(
        Account::GatewayClearing,
        Account::Suspense,
        amount,
    )
}

/// Under which a return stands that fits nothing.
#[must_use]
pub fn key_of_return(transaction_id: i64) -> String {
    format!("returned:{transaction_id}")
}

/// What the ledger has of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub subject: Subject,
    pub currency: Currency,
    /// What came; nothing: it is not known yet that anything has.
    pub taken: Kopecks,
    /// What of it was VAT.
    pub vat: Kopecks,
    /// What went back before.
    pub returned: Kopecks,
    /// Whether it pays a bill.
    pub is_kept: bool,
    /// What of it would be earned from the day of the return on.
    pub unearned: Kopecks,
}

/// Money that went back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Return {
    /// The refund or the chargeback, named so that it is entered once.
    pub key: String,
    pub by: ReturnedBy,
    pub amount: Kopecks,
    /// The gateway's number of the return, if it has one.
    pub transaction_id: Option<i64>,
}

/// Who gave it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnedBy {
    /// We did, here or in the gateway's cabinet.
    Refund,
    /// The customer's bank did.
    Chargeback,
}

/// Money went back: first what was not earned yet, then what was. VAT goes back in the share of the money, by what has gone
/// back in total, so a payment that went back in parts leaves none. Returns also how much less is to be earned.
#[must_use]
pub fn returned(standing: &Standing, back: &Return, at: DateTime<Utc>, zone: Tz) -> (Entry, Kopecks) {
    let (kind, earned) = match back.by {
        ReturnedBy::Refund => (EntryKind::Refund, Account::Revenue),
        ReturnedBy::Chargeback => (EntryKind::Chargeback, Account::Chargebacks),
    };
    let subject = Subject { transaction_id: back.transaction_id, ..standing.subject };
    let entry = Entry::new(kind, back.key.clone(), standing.currency, subject, at, zone);
    // More than came is no part of this payment: a person must find out what it is.
    let left = match standing.taken.get() {
        0 => back.amount.get(),
        taken => (taken - standing.returned.get()).max(0),
    };
    let amount = back.amount.get().clamp(0, left);
    let excess = Kopecks::new(back.amount.get() - amount);
    let from = |entry: Entry, account, amount| entry.post(account, Account::GatewayClearing, Kopecks::new(amount));
    if !standing.is_kept {
        let entry = from(entry, Account::RefundsPayable, amount);
        return (from(entry, Account::Suspense, excess.get()), Kopecks::new(0));
    }
    let vat = standing.vat_of(standing.returned.get() + amount) - standing.vat_of(standing.returned.get());
    let unearned = (amount - vat).clamp(0, standing.unearned.get().max(0));
    let entry = from(entry, Account::DeferredRevenue, unearned);
    let entry = from(entry, earned, amount - vat - unearned);
    let entry = from(entry, Account::Vat, vat);
    (from(entry, Account::Suspense, excess.get()), Kopecks::new(unearned))
}

impl Standing {
    /// The VAT of what has gone back in total.
    fn vat_of(&self, returned: i64) -> i64 {
        share(self.vat, returned, self.taken)
    }
}

/// The part of the VAT that is in a part of the money, rounded down.
fn share(vat: Kopecks, part: i64, whole: Kopecks) -> i64 {
    let share = i128::from(vat.get()) * i128::from(part) / i128::from(whole.get().max(1));
    i64::try_from(share).expect("no more than the VAT")
}

/// A day of a tariff was earned. It is owed by those who had it, and paid with what they had paid before.
#[must_use]
pub fn earned(
    day: NaiveDate,
    tariff_id: TariffId,
    amount: Kopecks,
    currency: Currency,
    at: DateTime<Utc>,
    zone: Tz,
) -> Entry {
    let key = format!("revenue:{day}:{tariff_id}:{currency}");
    let subject = Subject { tariff_id: Some(tariff_id), ..Subject::default() };
    Entry::new(EntryKind::Revenue, key, currency, subject, at, zone)
        .on(day)
        .post(Account::Receivable, Account::Revenue, amount)
        .post(Account::DeferredRevenue, Account::Receivable, amount)
}

/// A transaction that the gateway has paid out, or, if it was a refund, kept back, as it tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaidOut {
    /// The gateway's number.
    pub transaction_id: i64,
    /// `PayoutDate`
    pub day: NaiveDate,
    /// `Amount`; negative for a refund.
    pub amount: Kopecks,
    /// `PayoutAmount`: what has come to the bank; negative for a refund.
    pub paid_out: Kopecks,
    pub currency: Currency,
}

/// The gateway paid a transaction out: what it kept is its fee.
#[must_use]
pub fn paid_out(payout: &PaidOut, at: DateTime<Utc>, zone: Tz) -> Entry {
    let key = format!("payout:{}", payout.transaction_id);
    let subject = Subject { transaction_id: Some(payout.transaction_id), ..Subject::default() };
    let fee = Kopecks::new(payout.amount.get() - payout.paid_out.get());
    Entry::new(EntryKind::Payout, key, payout.currency, subject, at, zone)
        .on(payout.day)
        .post(Account::Bank, Account::GatewayClearing, payout.paid_out)
        .post(Account::Fees, Account::GatewayClearing, fee)
}
