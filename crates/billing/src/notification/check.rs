//! The gateway asks, before it charges, whether it may: a second lock against double charges.

use super::Notice;
use crate::bill::BillStatus;
use crate::payment::PaymentState;
use crate::payment::identity::{Identity, Terminal};

/// The attempt that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub identity: Identity,
    pub state: PaymentState,
    pub bill: BillStatus,
    /// Its person has asked to be forgotten.
    pub is_closed: bool,
}

/// What is replied. All but [`Accepted`](Self::Accepted) decline the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckReply {
    Accepted,
    /// There is no such attempt.
    WrongInvoice,
    WrongAccount,
    WrongAmount,
    /// It is not under way, or not to be paid like this.
    NotAcceptable,
    /// Its bill waits for no money any more.
    Expired,
}

/// Whether the payment may be made.
#[must_use]
pub fn check(notice: &Notice, asked: Option<&Asked>) -> CheckReply {
    let Some(Asked { identity, state, bill, is_closed }) = asked else { return CheckReply::WrongInvoice };
    let told = notice.told();
    let is = |told: &Option<String>, ours: String| told.as_ref().is_some_and(|told| told.eq_ignore_ascii_case(&ours));
    if !is(&told.invoice_id, identity.invoice_no.to_string()) {
        return CheckReply::WrongInvoice;
    }
    let names_another = notice.ids.as_ref().is_some_and(|ids| !is(&ids.payment_id, identity.payment_id.to_string()));
    if names_another || !is(&told.account_id, identity.account_id.to_string()) {
        return CheckReply::WrongAccount;
    }
    if told.amount != Some(identity.amount) || !is(&told.currency, identity.currency.to_string()) {
        return CheckReply::WrongAmount;
    }
    if !bill.is_open() {
        return CheckReply::Expired;
    }
    let is_other_mode = told.test_mode.is_some_and(|test| test != (identity.terminal == Terminal::Test));
    match state {
        _ if *is_closed || is_other_mode || notice.is_other_operation => CheckReply::NotAcceptable,
        PaymentState::Sending
        | PaymentState::AwaitingThreeDs
        | PaymentState::PostingThreeDs
        | PaymentState::Unknown => CheckReply::Accepted,
        // It has its money: another charge under its number is one too many.
        PaymentState::Authorized | PaymentState::Succeeded | PaymentState::SucceededDuplicate => CheckReply::Expired,
        _ => CheckReply::NotAcceptable,
    }
}
