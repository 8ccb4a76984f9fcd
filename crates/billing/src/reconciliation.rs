//! Comparing what the gateway has with what we have: the words of it, and which days are compared when. Pure.
//!
//! What is done with a difference stands in [`store::reconciliation`](crate::store::reconciliation).

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use diesel::Queryable;
use serde::Serialize;

use crate::macros::text_enum;
use crate::{BillId, PaymentId};

/// The zone in which the gateway, and accounting with it, counts its days.
pub const GATEWAY_ZONE: Tz = Tz::Europe__Moscow;

/// So many closed days are compared each day: what the gateway learns late is found late.
pub const REPEATED_DAYS: u64 = 8;

/// The gateway may have made a transaction so much earlier than we have sent its request: clocks differ.
const BEFORE: TimeDelta = TimeDelta::minutes(5);

/// And so much later: an attempt is repeated for 50 minutes, and each request may take five.
const AFTER: TimeDelta = TimeDelta::minutes(65);

/// A day is compared when nothing that was sent on it can be made later any more.
const CLOSED_AFTER: TimeDelta = TimeDelta::minutes(70);

/// The longest range of one run, in days.
pub const MAX_DAYS: i64 = 366;

text_enum! {
    /// Who wanted a run.
    pub enum RunKind {
        /// The timetable, for a closed day.
        Daily = "daily",
        /// A person.
        Asked = "asked",
        /// The database was restored: nothing is charged until it has ended.
        Restore = "restore",
    }
}

text_enum! {
    /// How far a run has come.
    pub enum Phase {
        /// The pages of the gateway's list are read, again and again until they come to rest.
        Listing = "listing",
        /// Likewise those of its chargebacks, once.
        Chargebacks = "chargebacks",
        /// What the gateway has is compared with our rows.
        Comparing = "comparing",
        /// What we have is compared with the gateway's.
        ComparingOurs = "comparing_ours",
        /// What can be put right without a person is put right.
        Settling = "settling",
        Ended = "ended",
    }
}

text_enum! {
    /// How the gateway and our rows do not agree.
    pub enum DifferenceKind {
        /// Money moved at the gateway, and no row of ours is of it.
        MissingHere = "missing_here",
        /// A row of ours says that money moved, and the gateway has no such transaction.
        MissingThere = "missing_there",
        /// Another amount.
        Amount = "amount",
        /// Another currency.
        Currency = "currency",
        /// One says that money moved, or is held, and the other says otherwise.
        Status = "status",
        /// Money was taken once more for one attempt, and not given back.
        Duplicate = "duplicate",
        /// Money went back, and no row of ours is of it.
        RefundMissingHere = "refund_missing_here",
        /// A row of ours says that money went back, and the gateway has no such transaction.
        RefundMissingThere = "refund_missing_there",
        /// Another amount of money went back.
        RefundAmount = "refund_amount",
        /// A bank took money back.
        Chargeback = "chargeback",
        /// Of a day the ledger's clearing account comes to something else than the list.
        Ledger = "ledger",
    }
}

text_enum! {
    /// The life of a difference.
    pub enum DifferenceState {
        /// Nobody has decided about it.
        Open = "open",
        /// It is as it should be: the reason says why the two need not agree.
        Explained = "explained",
        /// It was put right: the reason says how.
        Resolved = "resolved",
    }
}

text_enum! {
    /// What kind of operation the gateway lists.
    #[derive(Serialize)]
    #[serde(rename_all = "lowercase")]
    pub enum ListedOperation {
        Payment = "payment",
        Refund = "refund",
        Payout = "payout",
    }
}

/// A stretch of time, from `from` up to, and without, `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Range {
    /// A day of the gateway.
    #[must_use]
    pub fn of_day(day: NaiveDate) -> Self {
        Self::of_days(day, day)
    }

    /// These days of the gateway, the last included.
    #[must_use]
    pub fn of_days(first: NaiveDate, last: NaiveDate) -> Self {
        Self { from: midnight(first), to: midnight(last + Days::new(1)) }
    }

    /// What is asked of the list for it: more than the range, so that whatever was sent in it is found although it was made
    /// on the next day.
    #[must_use]
    pub fn listed(self) -> Self {
        Self { from: self.from - BEFORE, to: self.to + AFTER }
    }

    /// Whether it holds the moment.
    #[must_use]
    pub fn contains(self, at: DateTime<Utc>) -> bool {
        self.from <= at && at < self.to
    }
}

/// Where a day of the gateway begins.
#[must_use]
pub fn midnight(day: NaiveDate) -> DateTime<Utc> {
    let local = day.and_time(NaiveTime::MIN);
    // Moscow's clocks have not jumped since 2014, and never over midnight.
    GATEWAY_ZONE.from_local_datetime(&local).earliest().map_or_else(|| local.and_utc(), |at| at.with_timezone(&Utc))
}

/// The day of the gateway that it is, as far as days are closed.
#[must_use]
pub fn today(now: DateTime<Utc>) -> NaiveDate {
    (now - CLOSED_AFTER).with_timezone(&GATEWAY_ZONE).date_naive()
}

/// The last closed days, the oldest first.
pub fn closed_days(now: DateTime<Utc>) -> impl Iterator<Item = NaiveDate> {
    let today = today(now);
    (1..=REPEATED_DAYS).rev().map(move |back| today - Days::new(back))
}

/// An operation as the gateway lists it: ids, money and times only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub transaction_id: i64,
    pub created_at: DateTime<Utc>,
    pub operation: ListedOperation,
    /// By the gateway's name.
    pub status: Option<&'static str>,
    /// In minor units of the currency.
    pub amount: Option<i64>,
    pub currency: Option<String>,
    pub invoice_id: Option<String>,
    pub account_id: Option<String>,
    /// What `JsonData` names.
    pub payment_id: Option<PaymentId>,
    pub bill_id: Option<BillId>,
    /// Of a refund: the payment.
    pub original_id: Option<i64>,
    pub refunded: Option<bool>,
    pub test_mode: Option<bool>,
    /// Whether it is of the kind of terminal that we charge on.
    pub on_our_terminal: bool,
    /// The day on which the gateway has paid it out.
    pub payout_on: Option<NaiveDate>,
    /// What it has paid out of it, in minor units.
    pub payout_amount: Option<i64>,
}

/// A chargeback as the gateway lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable)]
pub struct ListedChargeback {
    pub chargeback_id: String,
    pub transaction_id: i64,
    pub amount: Option<i64>,
    pub currency: Option<String>,
    /// `Type` and `Operation`.
    pub kind: Option<String>,
    pub operation: Option<String>,
    pub at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_begins_and_ends_at_midnight_in_moscow() {
        let range = Range::of_day("2026-11-29".parse().unwrap());
        for (moment, is_in) in [
            ("2026-11-28T23:59:59+03:00", false),
            ("2026-11-29T00:00:00+03:00", true),
            ("2026-11-29T23:59:59+03:00", true),
            ("2026-11-29T23:59:59.999+03:00", true),
            ("2026-11-30T00:00:00+03:00", false),
        ] {
            assert_eq!(range.contains(at(moment)), is_in, "{moment}");
        }
        assert_eq!(Range::of_days("2026-11-22".parse().unwrap(), "2026-11-29".parse().unwrap()).to, range.to);
    }

    #[test]
    fn a_day_is_closed_when_no_request_of_it_can_end_any_more() {
        let days = |now| closed_days(at(now)).map(|day| day.to_string()).collect::<Vec<_>>();
        let early = days("2026-11-30T01:09:59+03:00");
        assert_eq!((early.len(), early[0].as_str(), early[7].as_str()), (8, "2026-11-21", "2026-11-28"));
        let late = days("2026-11-30T01:10:00+03:00");
        assert_eq!((late[0].as_str(), late[7].as_str()), ("2026-11-22", "2026-11-29"));
        assert!(AFTER < CLOSED_AFTER, "what a closed day lists is in the past");
    }
}
