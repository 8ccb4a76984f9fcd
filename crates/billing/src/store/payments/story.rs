//! What the log of events is told of a step of an attempt. Pure.

use chrono::{DateTime, Utc};

use super::effect::Effect;
use super::load::Locked;
use crate::account::AccountStatus;
use crate::bill::BillStatus;
use crate::decline::{Rule, Ruling};
use crate::event::{EventKind, NewEvent};
use crate::models::PaymentRow;
use crate::payment::{Payment, PaymentState};
use crate::{AccountId, BillId, PaymentId, TariffId};

/// How the three rows stood before the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    payment: PaymentState,
    bill: BillStatus,
    account: AccountStatus,
    /// The tariff that ran.
    tariff: Option<TariffId>,
    /// No further period is to be charged.
    is_cancelled: bool,
}

impl Standing {
    pub(super) fn of(rows: &Locked) -> Self {
        let (bill, account) = (rows.bill.status, &rows.account);
        Self {
            payment: rows.payment.state,
            bill,
            account: account.status,
            tariff: account.tariff_id.filter(|_| account.machine().is_running()),
            is_cancelled: account.cancel_at_period_end,
        }
    }
}

/// An attempt was written down.
pub(in crate::store) fn created(account_id: AccountId, payment: &PaymentRow) -> NewEvent {
    attempt_created(account_id, payment.bill_id, payment.id)
}

/// Likewise, by its ids.
pub(in crate::store) fn attempt_created(account_id: AccountId, bill_id: BillId, payment_id: PaymentId) -> NewEvent {
    NewEvent::of_account(EventKind::PaymentMoved, account_id)
        .bill(bill_id)
        .payment(payment_id)
        .states(None, PaymentState::Created.as_str())
}

/// An attempt that makes way for another of its bill.
pub(super) fn made_way(rows: &Locked, other: &PaymentRow, to: PaymentState) -> NewEvent {
    about(rows, EventKind::PaymentMoved).payment(other.id).states(Some(other.state.as_str()), to.as_str())
}

/// What moved: the attempt first, then what depends on it.
pub(super) fn moves(stood: Standing, rows: &Locked) -> Vec<NewEvent> {
    let mut story = Vec::new();
    let payment = &rows.payment;
    if stood.payment != payment.state {
        let states = (Some(stood.payment.as_str()), payment.state.as_str());
        let moved = about(rows, EventKind::PaymentMoved).states(states.0, states.1);
        story.push(match payment.reason_code {
            Some(code) if payment.state == PaymentState::Declined => moved.with("reason_code", code),
            _ => moved,
        });
    }
    if stood.bill != rows.bill.status {
        let states = (Some(stood.bill.as_str()), rows.bill.status.as_str());
        story.push(about(rows, EventKind::BillMoved).states(states.0, states.1));
    }
    if stood.account != rows.account.status {
        let states = (Some(stood.account.as_str()), rows.account.status.as_str());
        story.push(about(rows, EventKind::AccountMoved).states(states.0, states.1));
    }
    if !stood.is_cancelled && rows.account.cancel_at_period_end {
        let ends = about(rows, EventKind::AccessEnds);
        story.push(match rows.account.machine().expires_on() {
            Some(day) => ends.with("expires_on", day.to_string()),
            None => ends,
        });
    }
    story
}

/// Money that the gateway took beside an attempt's own, with the row it stands in.
pub(super) fn second_taken(first: &Locked, second: PaymentId) -> NewEvent {
    about(first, EventKind::PaymentMoved).payment(second).states(None, PaymentState::SucceededDuplicate.as_str())
}

/// A renewal that was due, and there is no card to charge.
pub(super) fn without_a_card(rows: &Locked, now: DateTime<Utc>) -> NewEvent {
    let rule = if rows.account.card_has_expired(now) { Rule::expired_card() } else { Rule::without_a_card() };
    refused(rows, None, &rule, rows.account.next_charge_at)
}

/// A renewal that was not sent through our own fault.
pub(super) fn not_charged(rows: &Locked) -> NewEvent {
    refused(rows, None, &Rule::not_charged(), rows.account.next_charge_at)
}

/// A renewal that came to nothing: why, in the customer's words, and when it is tried again.
fn refused(rows: &Locked, code: Option<i32>, rule: &Rule, retry_at: Option<DateTime<Utc>>) -> NewEvent {
    let refused = about(rows, EventKind::RenewalRefused);
    let refused = match code {
        Some(code) => refused.with("reason_code", code),
        None => refused,
    };
    let refused = in_words(refused, rule);
    match retry_at {
        Some(at) => refused.with("next_charge_at", at.to_rfc3339()),
        None => refused,
    }
}

/// The events of a step, in the order in which a reader understands them: what moved, then what follows from it.
pub(super) fn of_step(
    stood: Standing,
    rows: &Locked,
    after: &Payment,
    ruling: Option<&Ruling>,
    effects: &[Effect],
) -> Vec<NewEvent> {
    let mut story = moves(stood, rows);
    if stood.payment != after.state {
        story.extend(verdict(rows, after));
    }
    story.extend(effects.iter().filter_map(|effect| of_effect(rows, after, ruling, effect)));
    story.extend(stood.tariff.zip(rows.account.tariff_id).and_then(|(old, new)| changed(rows, old, new)));
    story
}

fn changed(rows: &Locked, old: TariffId, new: TariffId) -> Option<NewEvent> {
    (old != new).then(|| about(rows, EventKind::TariffChanged).with("tariff_id", new.to_string()))
}

/// What its customer is told of an attempt that has ended.
fn verdict(rows: &Locked, after: &Payment) -> Option<NewEvent> {
    match after.state {
        PaymentState::Succeeded => Some(with_amount(about(rows, EventKind::PaymentSucceeded), after)),
        // A card that is not good was no payment.
        PaymentState::Declined if !after.verifies => {
            let code = after.decline.as_ref().map(|decline| decline.code).unwrap_or_default();
            Some(about(rows, EventKind::PaymentDeclined).with("reason_code", code))
        }
        _ => None,
    }
}

fn of_effect(rows: &Locked, after: &Payment, ruling: Option<&Ruling>, effect: &Effect) -> Option<NewEvent> {
    Some(match effect {
        Effect::AccessGranted { tariff_id, expires_on, .. } => about(rows, EventKind::AccessGranted)
            .with("tariff_id", tariff_id.to_string())
            .with("expires_on", expires_on.to_string()),
        Effect::TrialBegan { tariff_id, .. } => {
            let began = about(rows, EventKind::TrialBegan).with("tariff_id", tariff_id.to_string());
            match rows.account.machine().expires_on() {
                Some(day) => began.with("expires_on", day.to_string()),
                None => began,
            }
        }
        Effect::TrialRefused { why, .. } => about(rows, EventKind::TrialRefused).with("trial_refused", why.as_str()),
        Effect::CardReplaced { .. } => about(rows, EventKind::CardReplaced),
        Effect::CardNotKept { .. } => about(rows, EventKind::CardForgotten),
        Effect::RenewalRefused { retry_at, .. } => {
            let rule = match (ruling, after.state) {
                (Some(ruling), _) => ruling.rule.clone(),
                (None, PaymentState::Rejected | PaymentState::NotExecuted | PaymentState::Voided) => {
                    Rule::not_charged()
                }
                (None, _) => Rule::three_ds(),
            };
            refused(rows, after.decline.as_ref().map(|decline| decline.code), &rule, *retry_at)
        }
        // Each movement of it is told with its refund.
        Effect::GivenBack { .. } => return None,
        Effect::Held { payment_id, .. }
        | Effect::RefundOwed { payment_id, .. }
        | Effect::NeedsAttention { payment_id, .. } => about(rows, EventKind::NeedsAttention).payment(*payment_id),
    })
}

/// With what the customer is told: why, and what they can do.
pub(in crate::store) fn in_words(event: NewEvent, rule: &Rule) -> NewEvent {
    let wording = rule.wording();
    event.with("message_en", wording.en).with("message_ru", wording.ru).with("customer_action", rule.action.as_str())
}

fn with_amount(event: NewEvent, payment: &Payment) -> NewEvent {
    event.with("amount", payment.amount.get()).with("currency", payment.currency.as_str())
}

fn about(rows: &Locked, kind: EventKind) -> NewEvent {
    NewEvent::of_account(kind, rows.account.id).bill(rows.bill.id).payment(rows.payment.id)
}
