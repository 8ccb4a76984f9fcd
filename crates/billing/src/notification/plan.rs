//! What a notification means for the attempt it is of.

use chrono::{DateTime, Utc};

use super::{Notice, NoticeKind};
use crate::payment::identity::{Identity, Verdict};
use crate::payment::operation::{Meaning, OperationStatus};
use crate::payment::{Outcome, Payment, PaymentState};

/// What to do about it.
#[derive(Debug, Clone)]
pub enum Plan {
    /// It says what a response would say, and goes its way. `strange`: what is also to be kept for a person.
    Take {
        outcome: Outcome,
        strange: Option<String>,
    },
    /// It says that something has happened, not what: the gateway is asked. `strange`: it says it in words that we do not
    /// know.
    Look {
        strange: Option<String>,
    },
    /// The page that the customer is on is of no use any more: the gateway is asked at once.
    LeavePage,
    /// The attempt was declined, as is known, and may not be repeated before this time, as is not.
    PutOff {
        until: DateTime<Utc>,
    },
    NothingNew,
    /// It fits nothing: to be kept for a person.
    Orphan {
        what: String,
    },
    /// It is kept to be read.
    Store,
    /// Money has gone back: another machine's to take.
    Return,
}

/// What follows from a notification for the attempt that it names; `None`: it names none of ours.
#[must_use]
pub fn plan(kind: NoticeKind, notice: &Notice, attempt: Option<(&Payment, &Identity)>) -> Plan {
    match (kind, attempt) {
        (NoticeKind::Receipt, _) => Plan::Store,
        (NoticeKind::Recurrent, _) => orphan("a subscription kept by the gateway; ours are kept here"),
        // Whose it is, and whether it is one of ours, is for who keeps refunds to say.
        (NoticeKind::Refund, _) => Plan::Return,
        (_, None) => orphan("it names no payment of ours"),
        (NoticeKind::Pay, Some((attempt, ours))) => taken(notice, notice.stands(), attempt, ours),
        (NoticeKind::Confirm, Some((attempt, ours))) => taken(notice, confirmed(notice), attempt, ours),
        (NoticeKind::Fail, Some((attempt, ours))) => declined(notice, attempt, ours),
        (NoticeKind::Cancel, Some((attempt, ours))) => let_go(notice, attempt, ours),
    }
}

fn orphan(what: impl Into<String>) -> Plan {
    Plan::Orphan { what: what.into() }
}

/// A confirmation may come before the Pay it confirms, and implies it.
fn confirmed(notice: &Notice) -> Option<OperationStatus> {
    match notice.stands() {
        None if notice.status.is_none() => Some(OperationStatus::Completed),
        Some(OperationStatus::Authorized) => Some(OperationStatus::Completed),
        stands => stands,
    }
}

fn taken(notice: &Notice, status: Option<OperationStatus>, attempt: &Payment, ours: &Identity) -> Plan {
    let Some(transaction_id) = notice.transaction_id else { return orphan("it names no transaction") };
    if notice.is_other_operation {
        return orphan("no payment, but another kind of operation");
    }
    // What only asks whether it may be made takes nothing, whatever address it was sent to.
    if notice.may_be_check {
        return Plan::Look { strange: None };
    }
    match notice.operation(transaction_id, status).means(ours) {
        Meaning::Of(outcome @ (Outcome::Completed { .. } | Outcome::Authorized { .. })) => {
            Plan::Take { outcome, strange: None }
        }
        // That it was declined, or let go, other notifications tell.
        Meaning::Of(_) | Meaning::Waits => Plan::Look { strange: None },
        Meaning::Silent(_) => Plan::Look { strange: Some(unknown_status(notice)) },
        // What was never sent cannot have been executed, in whatever mode.
        Meaning::Strange { what, outcome: Some(outcome), .. } if attempt.state != PaymentState::Created => {
            Plan::Take { outcome, strange: Some(what) }
        }
        Meaning::Strange { what, .. } => orphan(what),
    }
}

fn unknown_status(notice: &Notice) -> String {
    match &notice.status {
        Some(status) => format!("a status that is not known here: {status}"),
        None => "no status".to_owned(),
    }
}

/// Only a hint: another bank may still be tried, and what becomes of the attempt says the response, or a look.
fn declined(notice: &Notice, attempt: &Payment, ours: &Identity) -> Plan {
    match ours.compare(&notice.told()) {
        Verdict::Anothers(differences) | Verdict::Unproved(differences) => return orphan(differences.to_string()),
        Verdict::Ours | Verdict::OtherMoney(_) | Verdict::OnlyTest | Verdict::RealMoney => {}
    }
    let is_of_this = attempt.transaction_id.is_some() && attempt.transaction_id == notice.transaction_id;
    match attempt.state {
        PaymentState::Sending | PaymentState::Unknown => Plan::Look { strange: None },
        PaymentState::PostingThreeDs if attempt.posts > 0 => Plan::Look { strange: None },
        PaymentState::AwaitingThreeDs if is_of_this => Plan::LeavePage,
        PaymentState::Declined if is_of_this => {
            let known = attempt.decline.as_ref().and_then(|decline| decline.retry_after);
            match notice.retry_after {
                Some(until) if known.is_none_or(|known| known < until) => Plan::PutOff { until },
                _ => Plan::NothingNew,
            }
        }
        _ => Plan::NothingNew,
    }
}

fn let_go(notice: &Notice, attempt: &Payment, ours: &Identity) -> Plan {
    if let Some(differences) = ours.contradiction(&notice.told()) {
        return orphan(differences.to_string());
    }
    let is_of_this = attempt.transaction_id.is_some() && attempt.transaction_id == notice.transaction_id;
    match attempt.state {
        PaymentState::Authorized if is_of_this => Plan::Take { outcome: Outcome::Voided, strange: None },
        state if state.is_success() && is_of_this => orphan("let go, as the gateway says, of money that was taken"),
        PaymentState::Sending | PaymentState::Unknown => Plan::Look { strange: None },
        PaymentState::PostingThreeDs if attempt.posts > 0 => Plan::Look { strange: None },
        PaymentState::AwaitingThreeDs if is_of_this => Plan::LeavePage,
        _ => Plan::NothingNew,
    }
}
