use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;

use crate::account::{Account, AccountStatus, Term};
use crate::payment::CardMask;
use crate::period::Period;
use crate::schema::account;
use crate::{AccountId, TariffId};

/// A row of `account`.
#[derive(Debug, Clone, Queryable, Selectable, Identifiable)]
#[diesel(table_name = account, check_for_backend(Pg))]
pub struct AccountRow {
    pub id: AccountId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub status: AccountStatus,
    /// Sealed (see [`Cipher`](crate::cipher::Cipher)).
    pub payment_token: Option<String>,
    pub expiration_dt: Option<NaiveDate>,
    pub tariff_id: Option<TariffId>,
    pub time_zone: String,
    pub anchor_at: Option<DateTime<Utc>>,
    pub anchor_period_no: Option<i32>,
    pub paid_period: Option<Period>,
    pub period_no: i32,
    pub paid_until: Option<DateTime<Utc>>,
    pub access_until: Option<DateTime<Utc>>,
    pub next_charge_at: Option<DateTime<Utc>>,
    pub cancel_at_period_end: bool,
    pub declines: i32,
    pub first_declined_at: Option<DateTime<Utc>>,
    pub card: Option<CardMask>,
    pub faults: i32,
    pub card_barred: bool,
    pub pending_tariff_id: Option<TariffId>,
    /// When its person asked to be forgotten.
    pub closed_at: Option<DateTime<Utc>>,
    pub trial_period_no: Option<i32>,
}

impl AccountRow {
    /// The machine's state. The zone is one the program knew when the account was registered; should an update of its
    /// tables have dropped it, Moscow's is the one the rest of the installation lives in.
    #[must_use]
    pub fn machine(&self) -> Account {
        let term = self
            .anchor_at
            .zip(self.anchor_period_no)
            .zip(self.paid_period)
            .map(|((anchor_at, anchor_period_no), period)| Term { anchor_at, anchor_period_no, period });
        Account {
            id: self.id,
            status: self.status,
            tariff_id: self.tariff_id,
            pending_tariff_id: self.pending_tariff_id,
            time_zone: self.time_zone.parse().unwrap_or(chrono_tz::Europe::Moscow),
            term,
            period_no: self.period_no,
            paid_until: self.paid_until,
            access_until: self.access_until,
            next_charge_at: self.next_charge_at,
            has_token: self.payment_token.is_some(),
            card_barred: self.card_barred,
            cancel_at_period_end: self.cancel_at_period_end,
            closed_at: self.closed_at,
            declines: self.declines,
            first_declined_at: self.first_declined_at,
            faults: self.faults,
            trial_period_no: self.trial_period_no,
        }
    }
}

impl AccountRow {
    /// Whether the kept card has expired at `now`, as its mask tells: it is not charged any more.
    #[must_use]
    pub fn card_has_expired(&self, now: DateTime<Utc>) -> bool {
        self.card.as_ref().is_some_and(|card| card.has_expired(now, self.machine().time_zone))
    }
}

/// What the machine may change of a row.
#[derive(Debug, AsChangeset)]
#[diesel(table_name = account, treat_none_as_null = true)]
pub(crate) struct AccountChange {
    updated_at: DateTime<Utc>,
    status: AccountStatus,
    expiration_dt: Option<NaiveDate>,
    tariff_id: Option<TariffId>,
    pending_tariff_id: Option<TariffId>,
    anchor_at: Option<DateTime<Utc>>,
    anchor_period_no: Option<i32>,
    paid_period: Option<Period>,
    period_no: i32,
    paid_until: Option<DateTime<Utc>>,
    access_until: Option<DateTime<Utc>>,
    next_charge_at: Option<DateTime<Utc>>,
    cancel_at_period_end: bool,
    closed_at: Option<DateTime<Utc>>,
    declines: i32,
    first_declined_at: Option<DateTime<Utc>>,
    faults: i32,
    card_barred: bool,
    trial_period_no: Option<i32>,
}

impl AccountChange {
    pub(crate) fn new(account: &Account, now: DateTime<Utc>) -> Self {
        Self {
            updated_at: now,
            status: account.status,
            expiration_dt: account.expires_on(),
            tariff_id: account.tariff_id,
            pending_tariff_id: account.pending_tariff_id,
            anchor_at: account.term.map(|term| term.anchor_at),
            anchor_period_no: account.term.map(|term| term.anchor_period_no),
            paid_period: account.term.map(|term| term.period),
            period_no: account.period_no,
            paid_until: account.paid_until,
            access_until: account.access_until,
            next_charge_at: account.next_charge_at,
            cancel_at_period_end: account.cancel_at_period_end,
            closed_at: account.closed_at,
            declines: account.declines,
            first_declined_at: account.first_declined_at,
            faults: account.faults,
            card_barred: account.card_barred,
            trial_period_no: account.trial_period_no,
        }
    }
}
