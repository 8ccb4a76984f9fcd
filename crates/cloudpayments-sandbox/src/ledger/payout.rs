//! What the gateway transfers to the merchant's bank, and what it keeps.

use chrono::{DateTime, FixedOffset, TimeDelta, TimeZone as _, Utc};

use super::transaction::{Kind, Status, Transaction};
use crate::money::Amount;

const MOSCOW: FixedOffset = FixedOffset::east_opt(3 * 3600).expect("an offset of a day");

/// What the gateway keeps of a payment, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee(u16);

impl Fee {
    /// Percent with at most two decimals: `2.8`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let percent = rust_decimal::Decimal::from_str_exact(text).ok();
        let hundredths = percent.and_then(|percent| percent.checked_mul(rust_decimal::Decimal::ONE_HUNDRED));
        let hundredths = hundredths.filter(|hundredths| hundredths.fract().is_zero());
        let hundredths = hundredths.and_then(|hundredths| u16::try_from(hundredths).ok());
        let fee = hundredths.filter(|hundredths| *hundredths <= 10_000).map(Self);
        fee.ok_or_else(|| "must be from 0 to 100 percent, with at most two decimals: 2.8".to_owned())
    }

    /// Rounded half up to the kopeck.
    fn of(self, amount: Amount) -> Amount {
        amount.share(self.0.into(), 10_000)
    }
}

/// A transfer for one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PaidOut {
    /// Midnight in Moscow of the day after the money was taken, or went back.
    pub(crate) at: DateTime<Utc>,
    /// For a refund what is kept back from other transfers: all of it, the fee is not returned.
    pub(crate) amount: Amount,
}

/// The fee of a transaction. Only payments that were completed have one.
pub(crate) fn fee(fee: Fee, transaction: &Transaction, now: DateTime<Utc>) -> Amount {
    let is_taken = transaction.kind == Kind::Payment && transaction.status(now) == Status::Completed;
    if is_taken { fee.of(transaction.purpose.amount) } else { Amount::ZERO }
}

/// The transfer that has been made for a transaction by `now`.
pub(crate) fn paid_out(rate: Fee, transaction: &Transaction, now: DateTime<Utc>) -> Option<PaidOut> {
    let completed = transaction.kind != Kind::CardPayout && transaction.status(now) == Status::Completed;
    let done = transaction.confirmed_at.unwrap_or(transaction.created_at);
    let midnight = (done + TimeDelta::days(1)).with_timezone(&MOSCOW).date_naive().and_time(chrono::NaiveTime::MIN);
    let at = MOSCOW.from_local_datetime(&midnight).single()?.to_utc();
    let amount = transaction.purpose.amount.minus(fee(rate, transaction, now));
    (completed && at <= now).then_some(PaidOut { at, amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_a_percentage_rounded_to_the_kopeck() {
        for (percent, amount, fee) in
            [("2.8", 39_900, 1_117), ("0", 39_900, 0), ("100", 1, 1), ("2.50", 30, 1), ("2.5", 19, 0)]
        {
            let rate = Fee::parse(percent).unwrap();
            assert_eq!(rate.of(Amount::from_kopecks(amount)), Amount::from_kopecks(fee), "{percent} % of {amount}");
        }
        for bad in ["", "-1", "100.01", "2.805", "3 %", "1e2", "99999999999999999999999999999"] {
            assert!(Fee::parse(bad).is_err(), "{bad}");
        }
    }
}
