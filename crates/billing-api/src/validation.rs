//! From what came over the wire to what the domain takes.
//!
//! A request is read field by field, and every rule it breaks is told at once. Nothing but what passed here reaches
//! [`billing::store`].

mod fields;
mod payments;
mod reconciliation;
mod refunds;
mod rules;
mod subscriptions;
mod watching;

pub(crate) use self::fields::no_such_page;
pub(crate) use self::payments::{NewPaymentForm, ThreeDsForm, payment_id};
pub(crate) use self::reconciliation::{
    DifferencesForm, ResolveForm, RunForm, days, list_differences, resolve_difference, run_id, run_reconciliation,
};
pub(crate) use self::refunds::{RefundForm, approval, refund_id, refunds, withdrawal};
pub(crate) use self::subscriptions::{
    ChangeTariffForm, ReplaceCardForm, VerbForm, account_id, account_ids, bill_id, list, preview, verb,
};
pub(crate) use self::watching::{WatchEventsForm, resume_token, watch_events};

/// Longest message taken from the wire, in bytes: room for the largest PaRes and everything beside it.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;
