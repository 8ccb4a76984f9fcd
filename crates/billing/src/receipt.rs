//! Fiscal receipts (54-FZ): which one the cash register has made, which is missing, and what a receipt that was made too
//! late is worth. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::macros::text_enum;
use crate::{Kopecks, ReceiptId};

text_enum! {
    /// What a receipt says of the money.
    pub enum ReceiptKind {
        /// It was taken.
        Income = "income",
        /// It went back.
        IncomeReturn = "income_return",
    }
}

text_enum! {
    /// How the cash register came to make a receipt.
    pub enum ReceiptWay {
        /// It goes along with a charge, or its confirmation.
        Charge = "charge",
        /// It goes along with a refund.
        Refund = "refund",
        /// The register was asked for it alone.
        Order = "order",
        /// Money went back by another's hand: nobody here has asked for one.
        Unasked = "unasked",
        /// The register has told of it, and nothing here has asked for it.
        Told = "told",
    }
}

text_enum! {
    /// Where an order to the register stands.
    pub enum OrderState {
        /// It waits to be sent.
        Requested = "requested",
        /// Written down before the request leaves.
        Sending = "sending",
        /// Sent, no response.
        Unknown = "unknown",
        /// The register will make it.
        Queued = "queued",
        /// It came to nothing.
        Failed = "failed",
    }
}

/// What became of a request to the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderOutcome {
    /// Taken, under this id of the register.
    Queued { document: String },
    /// Provably not processed.
    NotSent { why: String, again_at: DateTime<Utc> },
    /// Not understood: a person must look.
    Rejected { why: String },
    /// No response, or one that proves nothing.
    Unknown { why: String, again_at: DateTime<Utc> },
}

impl OrderOutcome {
    /// Where an order stands after it; `sends`: how often it was sent. That a repetition was not processed says nothing of
    /// the request before it.
    #[must_use]
    pub const fn leads_to(&self, sends: i32) -> OrderState {
        match self {
            Self::Queued { .. } => OrderState::Queued,
            Self::NotSent { .. } | Self::Rejected { .. } if sends > 1 => OrderState::Unknown,
            Self::NotSent { .. } => OrderState::Requested,
            Self::Rejected { .. } => OrderState::Failed,
            Self::Unknown { .. } => OrderState::Unknown,
        }
    }
}

/// A receipt that was not made so long after its money moved is missing.
pub const MISSING_AFTER: TimeDelta = TimeDelta::hours(1);

/// A receipt as it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: ReceiptId,
    pub kind: ReceiptKind,
    pub way: ReceiptWay,
    pub amount: Kopecks,
    /// The gateway's number of the refund that it is of.
    pub refund_tx: Option<i64>,
    /// The register's id, once it is known.
    pub document: Option<String>,
    pub due_at: Option<DateTime<Utc>>,
    pub issued_at: Option<DateTime<Utc>>,
    /// Another was ordered in its place.
    pub is_covered: bool,
    pub state: Option<OrderState>,
}

impl Known {
    /// Whether nobody has made it, although it was to be made long ago, or cannot be made any more.
    #[must_use]
    pub fn is_missing(&self, now: DateTime<Utc>) -> bool {
        let has_waited = self.due_at.is_some_and(|due| due <= now - MISSING_AFTER);
        let is_over = self.state == Some(OrderState::Failed);
        self.issued_at.is_none() && !self.is_covered && (has_waited || is_over)
    }

    /// Whether it takes something off what the tax office was told, now or soon.
    fn counts_as_returned(&self) -> bool {
        let is_coming = self.due_at.is_some()
            && matches!(self.way, ReceiptWay::Refund | ReceiptWay::Order)
            && !self.is_covered
            && self.state != Some(OrderState::Failed);
        self.kind == ReceiptKind::IncomeReturn && (self.issued_at.is_some() || is_coming)
    }
}

/// A receipt as the register's notification tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The register's id.
    pub document: String,
    pub kind: ReceiptKind,
    pub amount: Kopecks,
    /// The operation at the gateway that it is of.
    pub transaction_id: Option<i64>,
}

/// Which of those that are known was made; `None`: one that nobody here has asked for.
#[must_use]
pub fn which(known: &[Known], made: &Made) -> Option<ReceiptId> {
    if let Some(named) = known.iter().find(|known| known.document.as_ref() == Some(&made.document)) {
        return Some(named.id);
    }
    let open = || known.iter().filter(|known| known.issued_at.is_none() && known.kind == made.kind);
    let of_operation = open().find(|known| known.refund_tx.is_some() && known.refund_tx == made.transaction_id);
    let alike = || open().filter(|known| known.amount == made.amount && known.document.is_none());
    let found = of_operation
        .or_else(|| alike().find(|known| known.way != ReceiptWay::Order))
        .or_else(|| alike().find(|known| known.state != Some(OrderState::Requested)));
    found.map(|known| known.id)
}

/// By how much more the tax office was told to be taken than there is: `taken` from the customer, of which `back` is back.
#[must_use]
pub fn excess(known: &[Known], taken: Kopecks, back: Kopecks) -> Kopecks {
    let sum = |which: fn(&Known) -> bool| -> i64 {
        known.iter().filter(|known| which(known)).map(|known| known.amount.get()).sum()
    };
    let told = sum(|known| known.kind == ReceiptKind::Income && known.issued_at.is_some());
    let returned = sum(Known::counts_as_returned);
    Kopecks::new((told - returned - (taken.get() - back.get())).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Kopecks = Kopecks::new(39_900);

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).expect("a time")
    }

    fn known(kind: ReceiptKind, way: ReceiptWay, amount: i64) -> Known {
        Known {
            id: ReceiptId::new(),
            kind,
            way,
            amount: Kopecks::new(amount),
            refund_tx: None,
            document: None,
            due_at: Some(at(0)),
            issued_at: None,
            is_covered: false,
            state: (way == ReceiptWay::Order).then_some(OrderState::Queued),
        }
    }

    fn issued(kind: ReceiptKind, way: ReceiptWay, amount: i64) -> Known {
        Known { issued_at: Some(at(1)), document: Some("rc".into()), ..known(kind, way, amount) }
    }

    #[test]
    fn one_is_missing_an_hour_after_its_money_moved_unless_another_takes_its_place() {
        let receipt = known(ReceiptKind::Income, ReceiptWay::Charge, 39_900);
        assert!(!receipt.is_missing(at(59)));
        assert!(receipt.is_missing(at(60)));
        assert!(!Known { is_covered: true, ..receipt.clone() }.is_missing(at(600)));
        assert!(!Known { issued_at: Some(at(2)), ..receipt.clone() }.is_missing(at(600)));
        assert!(!Known { due_at: None, ..receipt.clone() }.is_missing(at(600)), "its money did not move");
        let failed = Known { state: Some(OrderState::Failed), way: ReceiptWay::Order, ..receipt };
        assert!(failed.is_missing(at(1)), "it is known to come to nothing");
    }

    #[test]
    fn what_was_made_is_found_by_its_id_then_its_operation_then_its_amount() {
        use ReceiptKind::{Income, IncomeReturn};
        let charge = known(Income, ReceiptWay::Charge, 39_900);
        let ours = Known { refund_tx: Some(7), ..known(IncomeReturn, ReceiptWay::Refund, 10_000) };
        let same = Known { refund_tx: Some(8), ..known(IncomeReturn, ReceiptWay::Refund, 10_000) };
        let ordered = Known { document: Some("rc-9".into()), ..known(Income, ReceiptWay::Order, 39_900) };
        let all = [charge.clone(), ours, same.clone(), ordered.clone()];
        let made = |kind, amount, document: &str, transaction_id| Made {
            document: document.to_owned(),
            kind,
            amount: Kopecks::new(amount),
            transaction_id,
        };
        assert_eq!(which(&all, &made(Income, 39_900, "rc-1", Some(1))), Some(charge.id));
        assert_eq!(which(&all, &made(Income, 39_900, "rc-9", None)), Some(ordered.id));
        assert_eq!(which(&all, &made(IncomeReturn, 10_000, "rc-2", Some(8))), Some(same.id));
        assert_eq!(which(&all, &made(IncomeReturn, 5, "rc-3", None)), None, "of another amount");
        let waits = Known { state: Some(OrderState::Requested), document: None, ..ordered };
        assert_eq!(which(&[waits], &made(Income, 39_900, "rc-4", None)), None, "what was not sent was not made");
    }

    #[test]
    fn what_the_tax_office_was_told_too_much_is_what_money_and_receipts_differ_by() {
        use ReceiptKind::{Income, IncomeReturn};
        let none = Kopecks::new(0);
        let sold = issued(Income, ReceiptWay::Charge, 39_900);
        let twice = issued(Income, ReceiptWay::Order, 39_900);
        let of_refund = known(IncomeReturn, ReceiptWay::Refund, 10_000);
        let unasked = known(IncomeReturn, ReceiptWay::Unasked, 10_000);
        let ordered = known(IncomeReturn, ReceiptWay::Order, 10_000);
        let failed = Known { state: Some(OrderState::Failed), ..ordered.clone() };
        let back = Kopecks::new(10_000);
        for (what, all, taken, back, expected) in [
            ("sold, and paid", vec![&sold], PRICE, none, 0),
            ("twice told of one sale", vec![&sold, &twice], PRICE, none, 39_900),
            ("told, and nothing was taken", vec![&sold], none, none, 39_900),
            ("a refund with its receipt", vec![&sold, &of_refund], PRICE, back, 0),
            ("a refund in the cabinet", vec![&sold, &unasked], PRICE, back, 10_000),
            ("for which one was ordered", vec![&sold, &unasked, &ordered], PRICE, back, 0),
            ("in vain", vec![&sold, &failed], PRICE, back, 10_000),
            ("nothing told yet", vec![], PRICE, none, 0),
        ] {
            let all: Vec<Known> = all.into_iter().cloned().collect();
            assert_eq!(excess(&all, taken, back), Kopecks::new(expected), "{what}");
        }
    }

    #[test]
    fn that_a_repetition_was_refused_says_nothing_of_the_request_before_it() {
        let again_at = at(1);
        let queued = OrderOutcome::Queued { document: "rc".into() };
        let not_sent = OrderOutcome::NotSent { why: "429".into(), again_at };
        let rejected = OrderOutcome::Rejected { why: "Inn is required".into() };
        let unknown = OrderOutcome::Unknown { why: "no response".into(), again_at };
        for (outcome, first, later) in [
            (queued, OrderState::Queued, OrderState::Queued),
            (not_sent, OrderState::Requested, OrderState::Unknown),
            (rejected, OrderState::Failed, OrderState::Unknown),
            (unknown, OrderState::Unknown, OrderState::Unknown),
        ] {
            assert_eq!((outcome.leads_to(1), outcome.leads_to(2)), (first, later), "{outcome:?}");
        }
    }
}
