//! Many attempts on one bill, in any interleaving: the bill takes its money once.

use billing::bill::{Bill, BillEvent, BillKind, BillStatus};
use billing::payment::{Outcome, OutcomeKind, Payment, PaymentState};
use proptest::prelude::*;

use crate::support::sample::{KINDS, completed, outcome, payment};
use crate::support::{minutes, noon};

#[derive(Debug, Clone)]
enum Happening {
    Start,
    Send(usize),
    Resend(usize),
    Outcome(usize, OutcomeKind),
    Void,
    GiveUp,
}

fn happening() -> impl Strategy<Value = Happening> {
    let which = 0_usize..5;
    prop_oneof![
        2 => Just(Happening::Start),
        2 => which.clone().prop_map(Happening::Send),
        1 => which.clone().prop_map(Happening::Resend),
        6 => (which, proptest::sample::select(&KINDS[..])).prop_map(|(n, kind)| Happening::Outcome(n, kind)),
        1 => Just(Happening::Void),
        1 => Just(Happening::GiveUp),
    ]
}

/// A bill and its attempts, moved by the same rules as the rows.
struct World {
    bill: Bill,
    attempts: Vec<Payment>,
    minute: i64,
}

impl World {
    fn new() -> Self {
        Self {
            bill: Bill { kind: BillKind::Renewal, status: BillStatus::NotPaid, paid_at: None },
            attempts: Vec::new(),
            minute: 0,
        }
    }

    fn live(&self) -> Option<usize> {
        self.attempts.iter().position(|attempt| attempt.state.is_live())
    }

    fn take(&mut self, happening: &Happening) {
        self.minute += 1;
        let now = noon() + minutes(self.minute);
        match happening {
            Happening::Start => {
                if let Ok(bill) = self.bill.apply(BillEvent::AttemptStarted, now) {
                    self.bill = bill;
                    self.attempts.push(payment(PaymentState::Created));
                }
            }
            Happening::Send(n) => self.step(*n, |attempt| attempt.begin_sending(now).ok()),
            Happening::Resend(n) => self.step(*n, |attempt| attempt.begin_resend(now).ok()),
            Happening::Outcome(n, kind) => self.outcome(*n, *kind),
            Happening::Void => self.bill = self.bill.apply(BillEvent::Voided, now).unwrap_or(self.bill),
            Happening::GiveUp => self.bill = self.bill.apply(BillEvent::GivenUp, now).unwrap_or(self.bill),
        }
    }

    fn step(&mut self, n: usize, step: impl FnOnce(Payment) -> Option<Payment>) {
        if let Some(attempt) = self.attempts.get_mut(n)
            && let Some(next) = step(attempt.clone())
        {
            *attempt = next;
        }
    }

    fn outcome(&mut self, n: usize, kind: OutcomeKind) {
        let now = noon() + minutes(self.minute);
        let Some(before) = self.attempts.get(n).cloned() else { return };
        let mut owed = self.bill.status.owes_after(kind);
        let moves_money = matches!(kind, OutcomeKind::Completed | OutcomeKind::Authorized);
        if owed
            && before.state.is_failure()
            && moves_money
            && let Some(other) = self.live()
        {
            owed = self.attempts[other].state.makes_way();
            if owed {
                let why = String::new();
                let withdrawn = self.attempts[other].clone().apply(Outcome::Withdrawn { why }, now).unwrap();
                self.attempts[other] = withdrawn;
                self.bill = self.bill.apply(BillEvent::AttemptFailed, now).unwrap();
            }
        }
        // Each attempt is another transaction at the gateway.
        let outcome = match kind {
            OutcomeKind::Completed => completed(i64::try_from(n).unwrap() + 1),
            kind => outcome(kind),
        };
        let Ok(after) = (Payment { owed, ..before.clone() }).apply(outcome, now) else { return };
        if let Some(event) = BillEvent::of(before.state, after.state) {
            self.bill = self.bill.apply(event, now).expect("the bill follows its attempts");
        }
        self.attempts[n] = after;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_bill_has_at_most_one_attempt_that_is_live_or_has_taken_its_money(
        happenings in prop::collection::vec(happening(), 0..60),
    ) {
        let mut world = World::new();
        for happening in &happenings {
            world.take(happening);
            let holding = |attempt: &&Payment| attempt.state.is_live() || attempt.state == PaymentState::Succeeded;
            prop_assert!(world.attempts.iter().filter(holding).count() <= 1, "{:?}", happening);
        }
    }

    #[test]
    fn a_bill_is_in_work_exactly_while_an_attempt_is_live_and_paid_exactly_by_a_success(
        happenings in prop::collection::vec(happening(), 0..60),
    ) {
        let mut world = World::new();
        for happening in &happenings {
            world.take(happening);
            let paid = world.attempts.iter().any(|attempt| attempt.state == PaymentState::Succeeded);
            prop_assert_eq!(world.bill.status == BillStatus::InWork, world.live().is_some(), "{:?}", happening);
            prop_assert_eq!(world.bill.status == BillStatus::Paid, paid, "{:?}", happening);
        }
    }
}
