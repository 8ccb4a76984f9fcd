//! What follows from a step of a payment outside its tables.

use chrono::{DateTime, NaiveDate, Utc};

use super::given_back::GivenBack;
use super::load::Locked;
use super::verified;
use crate::account::KeptCard;
use crate::bill::{BillKind, TrialRefusal};
use crate::payment::{Instrument, Payment, PaymentState};
use crate::{AccountId, PaymentId, TariffId};

/// What follows outside these tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The account may watch under this tariff until this day.
    AccessGranted { account_id: AccountId, tariff_id: TariffId, expires_on: NaiveDate },
    /// A trial begins.
    TrialBegan { account_id: AccountId, tariff_id: TariffId },
    /// No trial begins although the card is good.
    TrialRefused { account_id: AccountId, why: TrialRefusal },
    /// Another card was verified, and is charged from now on.
    CardReplaced { account_id: AccountId },
    /// The card that has paid, or was verified, cannot be kept: the customer must pay the next period themselves.
    CardNotKept { account_id: AccountId },
    /// The renewal was refused, and access goes on for the time of grace; or it came to nothing through our own fault.
    RenewalRefused { account_id: AccountId, retry_at: Option<DateTime<Utc>> },
    /// Money is held and not taken: the terminal works in two stages.
    Held { payment_id: PaymentId, transaction_id: i64 },
    /// Money was taken that nobody owes: it must go back.
    RefundOwed { payment_id: PaymentId, transaction_id: i64 },
    /// Money was taken and given back, all of it (`whole`) or a part, without us.
    GivenBack { payment_id: PaymentId, transaction_id: i64, whole: bool },
    /// A person must look: our request was wrong, or the gateway speaks of other money.
    NeedsAttention { payment_id: PaymentId, what: String },
}

impl Effect {
    /// Tells the log, loudly what a person must do something about.
    pub fn tell(&self) {
        match self {
            Effect::AccessGranted { account_id, expires_on, .. } => {
                tracing::info!(%account_id, %expires_on, "access granted");
            }
            Effect::TrialBegan { account_id, tariff_id } => {
                tracing::info!(%account_id, %tariff_id, "a trial begins");
            }
            Effect::TrialRefused { account_id, why } => {
                tracing::info!(%account_id, %why, "no trial begins");
            }
            Effect::CardReplaced { account_id } => {
                tracing::info!(%account_id, "another card was verified and is charged from now on");
            }
            Effect::CardNotKept { account_id } => {
                tracing::warn!(%account_id, "the card that has paid, or was verified, cannot be kept: nothing is charged by itself any more");
            }
            Effect::RenewalRefused { account_id, retry_at } => {
                tracing::info!(%account_id, ?retry_at, "renewal refused");
            }
            Effect::RefundOwed { payment_id, transaction_id } => {
                tracing::error!(%payment_id, transaction_id, "charged without a debt: it goes back by itself");
            }
            Effect::Held { payment_id, transaction_id } => {
                tracing::info!(%payment_id, transaction_id, "held, not taken yet");
            }
            Effect::GivenBack { payment_id, transaction_id, whole } => {
                tracing::warn!(%payment_id, transaction_id, whole, "taken and given back, before it was known here");
            }
            Effect::NeedsAttention { payment_id, what } => {
                tracing::error!(%payment_id, what, "a person must look at this payment");
            }
        }
    }
}

pub(super) fn effects_of(
    locked: &Locked,
    before: &Payment,
    after: &Payment,
    given_back: GivenBack,
    kept: KeptCard,
) -> Vec<Effect> {
    let is_back = after.transaction_id.filter(|_| given_back != GivenBack::Nothing && after.state.is_success());
    let whole = given_back == GivenBack::All;
    let back = is_back.map(|transaction_id| Effect::GivenBack { payment_id: after.id, transaction_id, whole });
    let follow = if is_back.is_some() && whole { Vec::new() } else { what_follows(locked, before, after, kept) };
    back.into_iter().chain(follow).collect()
}

fn what_follows(locked: &Locked, before: &Payment, after: &Payment, kept: KeptCard) -> Vec<Effect> {
    let account = &locked.account;
    let account_id = account.id;
    let is_renewal = after.instrument == Instrument::Token && locked.bill.kind != BillKind::Change;
    match after.state {
        PaymentState::Succeeded => {
            let granted = granted(locked);
            let began = locked.bill.trial_days.map(|_| trial_began(locked));
            // A kept card that was forgotten meanwhile is no news.
            let is_lost = account.payment_token.is_none() && after.instrument != Instrument::Token;
            let not_kept = is_lost.then_some(Effect::CardNotKept { account_id });
            granted.into_iter().chain(began).chain(not_kept).collect()
        }
        PaymentState::Authorized if after.verifies => of_verified(locked, kept),
        PaymentState::Authorized => {
            let held = |transaction_id| Effect::Held { payment_id: after.id, transaction_id };
            after.transaction_id.map(held).into_iter().chain(trial_refused(locked)).collect()
        }
        PaymentState::SucceededDuplicate => {
            let owed = |transaction_id| Effect::RefundOwed { payment_id: after.id, transaction_id };
            let refused = trial_refused(locked).filter(|_| !after.verifies);
            let verified = if after.verifies { of_verified(locked, kept) } else { Vec::new() };
            after.transaction_id.map(owed).into_iter().chain(refused).chain(verified).collect()
        }
        // Operators are told by `fault_of_ours`.
        PaymentState::Rejected | PaymentState::NotExecuted | PaymentState::Voided if is_renewal => {
            let machine = account.machine();
            let is_owed = machine.is_running()
                && !machine.cancel_at_period_end
                && locked.bill.period_no > machine.period_no
                && machine.closed_at.is_none();
            let refused = Effect::RenewalRefused { account_id, retry_at: account.next_charge_at };
            Some(refused).filter(|_| is_owed && before.state.is_live()).into_iter().collect()
        }
        PaymentState::Rejected => vec![alarm_of(after)],
        PaymentState::Declined | PaymentState::Abandoned if account.closed_at.is_some() => Vec::new(),
        PaymentState::Declined | PaymentState::Abandoned if before.state.is_live() && is_renewal => {
            vec![Effect::RenewalRefused { account_id, retry_at: account.next_charge_at }]
        }
        _ => Vec::new(),
    }
}

fn granted(locked: &Locked) -> Option<Effect> {
    let (account_id, tariff_id) = (locked.account.id, locked.bill.tariff_id);
    locked.account.expiration_dt.map(|expires_on| Effect::AccessGranted { account_id, tariff_id, expires_on })
}

fn trial_began(locked: &Locked) -> Effect {
    Effect::TrialBegan { account_id: locked.account.id, tariff_id: locked.bill.tariff_id }
}

fn trial_refused(locked: &Locked) -> Option<Effect> {
    locked.bill.trial_refused.map(|why| Effect::TrialRefused { account_id: locked.account.id, why })
}

/// What follows from a card that is good.
fn of_verified(locked: &Locked, kept: KeptCard) -> Vec<Effect> {
    match (locked.bill.trial_days, kept) {
        (None, _) => verified::told(locked.account.id, kept).into_iter().collect(),
        (Some(_), KeptCard::Same) => trial_refused(locked).into_iter().collect(),
        (Some(_), _) => granted(locked).into_iter().chain([trial_began(locked)]).collect(),
    }
}

pub(super) fn alarm_of(after: &Payment) -> Effect {
    let what = after.info.clone().unwrap_or_else(|| "the gateway rejected our request".to_owned());
    Effect::NeedsAttention { payment_id: after.id, what }
}
