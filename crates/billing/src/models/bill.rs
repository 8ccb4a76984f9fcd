use std::net::IpAddr;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use secrecy::SecretString;

use super::Tariff;
use crate::bill::{Bill, BillKind, BillStatus, PaymentType, TrialRefusal};
use crate::cipher::{Cipher, Place};
use crate::period::Period;
use crate::schema::bill;
use crate::{AccountId, BillId, Currency, Kopecks, TariffId};

/// A row of `bill`.
#[derive(Debug, Clone, Queryable, Selectable, Identifiable)]
#[diesel(table_name = bill, check_for_backend(Pg))]
pub struct BillRow {
    pub id: BillId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub status: BillStatus,
    pub amount: Kopecks,
    pub account_id: AccountId,
    /// What was bought; `None`: nothing, as by a verification.
    pub paid_period: Option<Period>,
    /// Sealed (see [`Cipher`](crate::cipher::Cipher)); wiped when the attempt needs it no longer.
    pub card_cryptogram_packet: Option<String>,
    pub ip_address: Option<String>,
    /// Sealed; wiped when the attempt ends.
    pub pa_res: Option<String>,
    pub payment_type: PaymentType,
    pub currency: Currency,
    pub tariff_id: TariffId,
    /// What was sold, as it was called then.
    pub description: String,
    pub kind: BillKind,
    /// 0: none.
    pub period_no: i32,
    pub paid_at: Option<DateTime<Utc>>,
    /// Periods since the last paid one that passed unpaid and are not charged for.
    pub skipped_periods: i32,
    /// Its attempts hold the money first.
    pub two_stages: bool,
    /// The trial that is to begin with it, in days.
    pub trial_days: Option<i32>,
    /// Why none began although the card is good.
    pub trial_refused: Option<TrialRefusal>,
}

impl BillRow {
    /// The machine's state.
    #[must_use]
    pub const fn machine(&self) -> Bill {
        Bill { kind: self.kind, status: self.status, paid_at: self.paid_at }
    }
}

/// A bill to be opened.
#[derive(Debug, Insertable)]
#[diesel(table_name = bill)]
pub(crate) struct NewBill {
    pub(crate) id: BillId,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) status: BillStatus,
    pub(crate) amount: Kopecks,
    pub(crate) account_id: AccountId,
    pub(crate) paid_period: Option<Period>,
    pub(crate) card_cryptogram_packet: Option<String>,
    pub(crate) ip_address: Option<String>,
    pub(crate) payment_type: PaymentType,
    pub(crate) currency: Currency,
    pub(crate) tariff_id: TariffId,
    pub(crate) description: String,
    pub(crate) kind: BillKind,
    pub(crate) period_no: i32,
    pub(crate) skipped_periods: i32,
    pub(crate) two_stages: bool,
    pub(crate) trial_days: Option<i32>,
}

impl NewBill {
    /// A period of the tariff, at its price, that is being charged to the kept card.
    pub(crate) fn of_tariff(
        account_id: AccountId,
        tariff: &Tariff,
        kind: BillKind,
        period_no: i32,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: BillId::new(),
            created_at: now,
            updated_at: now,
            status: BillStatus::InWork,
            amount: tariff.amount,
            account_id,
            paid_period: Some(tariff.period),
            card_cryptogram_packet: None,
            ip_address: None,
            payment_type: PaymentType::Token,
            currency: tariff.currency,
            tariff_id: tariff.id,
            description: tariff.name.clone(),
            kind,
            period_no,
            skipped_periods: 0,
            two_stages: tariff.two_stages,
            trial_days: None,
        }
    }

    /// The same, charged to a card that the customer has just typed in.
    pub(crate) fn by_cryptogram(self, cryptogram: &SecretString, ip_address: IpAddr, cipher: &Cipher) -> Self {
        Self {
            card_cryptogram_packet: Some(cipher.seal(Place::Cryptogram(self.id), cryptogram)),
            ip_address: Some(ip_address.to_string()),
            payment_type: PaymentType::Cryptogram,
            ..self
        }
    }
}

/// What an attempt changes of its bill.
#[derive(Debug, AsChangeset)]
#[diesel(table_name = bill, treat_none_as_null = true)]
pub(crate) struct BillChange {
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) status: BillStatus,
    pub(crate) paid_at: Option<DateTime<Utc>>,
    pub(crate) card_cryptogram_packet: Option<String>,
    pub(crate) pa_res: Option<String>,
    pub(crate) payment_type: PaymentType,
}
