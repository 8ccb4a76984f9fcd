//! Accounts, postings and entries.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::macros::text_enum;
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};

text_enum! {
    /// The chart of accounts. A debit is positive, a credit negative.
    pub enum LedgerAccount {
        /// What customers owe for time they have had. Every day's revenue passes through it.
        Receivable = "receivable",
        /// What the gateway has of ours until it pays it out.
        GatewayClearing = "gateway_clearing",
        /// What the gateway has paid out.
        Bank = "bank",
        /// What is paid for time to come, without VAT.
        DeferredRevenue = "deferred_revenue",
        /// What is earned, without VAT.
        Revenue = "revenue",
        /// VAT owed to the state, from the day the money came.
        Vat = "vat",
        /// Money that nobody owes us: it must go back.
        RefundsPayable = "refunds_payable",
        /// What the gateway keeps for its work.
        Fees = "fees",
        /// What banks took back for time that customers have had.
        Chargebacks = "chargebacks",
        /// Money at the gateway of which it is not known what it is for.
        Suspense = "suspense",
    }
}

text_enum! {
    /// What an entry tells of.
    pub enum EntryKind {
        /// The gateway took money for an attempt.
        Payment = "payment",
        /// The gateway has money that fits nothing.
        Suspense = "suspense",
        /// Money that fitted nothing is an attempt's after all.
        Placement = "placement",
        /// Money went back to the customer.
        Refund = "refund",
        /// A bank took money back.
        Chargeback = "chargeback",
        /// A day of a tariff was earned.
        Revenue = "revenue",
        /// The gateway paid a transaction out.
        Payout = "payout",
    }
}

/// From one account to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    pub debit: LedgerAccount,
    pub credit: LedgerAccount,
    /// More than nothing.
    pub amount: Kopecks,
}

/// What an entry is about, as far as it is about something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subject {
    pub account_id: Option<AccountId>,
    pub bill_id: Option<BillId>,
    pub payment_id: Option<PaymentId>,
    pub tariff_id: Option<TariffId>,
    /// The gateway's number.
    pub transaction_id: Option<i64>,
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: EntryKind,
    /// What happened, named so that it is entered once.
    pub key: String,
    /// The accounting day.
    pub day: NaiveDate,
    pub at: DateTime<Utc>,
    pub currency: Currency,
    pub subject: Subject,
    postings: Vec<Posting>,
}

impl Entry {
    /// An entry without postings, on the day that `at` is on the clocks of `zone`.
    #[must_use]
    pub fn new(
        kind: EntryKind,
        key: String,
        currency: Currency,
        subject: Subject,
        at: DateTime<Utc>,
        zone: Tz,
    ) -> Self {
        Self { kind, key, day: day_of(at, zone), at, currency, subject, postings: Vec::new() }
    }

    /// The same, of another accounting day.
    #[must_use]
    pub(super) fn on(self, day: NaiveDate) -> Self {
        Self { day, ..self }
    }

    /// With so much from one account to another. Nothing is no posting, and less than nothing goes the other way.
    #[must_use]
    pub fn post(mut self, debit: LedgerAccount, credit: LedgerAccount, amount: Kopecks) -> Self {
        match amount.get() {
            0 => {}
            1.. => self.postings.push(Posting { debit, credit, amount }),
            less => {
                let amount = Kopecks::new(less.saturating_neg());
                self.postings.push(Posting { debit: credit, credit: debit, amount });
            }
        }
        self
    }

    /// What it moves.
    #[must_use]
    pub fn postings(&self) -> &[Posting] {
        &self.postings
    }

    /// Account and signed amount, the debit of a posting before its credit: as the journal has them.
    pub fn lines(&self) -> impl Iterator<Item = (LedgerAccount, i64)> {
        self.postings.iter().flat_map(|posting| {
            let amount = posting.amount.get();
            [(posting.debit, amount), (posting.credit, -amount)]
        })
    }

    /// By how much it changes an account: debits less credits.
    #[must_use]
    pub fn change_of(&self, account: LedgerAccount) -> i64 {
        self.lines().filter(|(name, _)| *name == account).map(|(_, amount)| amount).sum()
    }
}

/// The day that a moment is on, on the clocks of `zone`.
#[must_use]
pub(crate) fn day_of(at: DateTime<Utc>, zone: Tz) -> NaiveDate {
    at.with_timezone(&zone).date_naive()
}
