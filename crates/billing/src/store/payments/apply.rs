//! After the answer: attempt, bill and account move together.

use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use secrecy::{ExposeSecret, SecretString};

use super::super::gateway_calls::{self, Ended};
use super::super::{StoreError, cards, circuits, declines, events, journal, notifications, refunds};
use super::conflicts::{clear_the_way, leave_what_is_anothers, record_second, set_aside};
use super::effect::{Effect, alarm_of, effects_of};
use super::given_back::{GivenBack, is_taken, owe_refunds, with_what_is_back};
use super::load::{Locked, lock_known};
use super::story::{self, Standing};
use super::trial::{self, Brought};
use super::{PaymentView, verified};
use crate::PaymentId;
use crate::account::{AccountEvent, KeptCard};
use crate::bill::{BillEvent, BillKind, BillStatus, TrialRefusal};
use crate::breaker::{Circuit, CircuitState};
use crate::cipher::{Cipher, Place};
use crate::decline::{DeclineGroup, Ruling};
use crate::payment::{Instrument, Outcome, Payment, PaymentState};

/// Where the payment stands now, and what others are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub payment: PaymentView,
    /// Empty when nothing changed.
    pub effects: Vec<Effect>,
}

/// Writes down what became of an attempt, in one transaction with its bill and account, and wipes the secrets it no
/// longer needs. News that change nothing are no error.
///
/// # Errors
/// [`StoreError`].
pub async fn apply(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    outcome: Outcome,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Applied, StoreError> {
    apply_answer(conn, id, outcome, None, cipher, now).await
}

/// Likewise, and ends the call whose response said so.
///
/// # Errors
/// [`StoreError`].
pub async fn apply_answer(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    outcome: Outcome,
    answered: Option<&Ended>,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Applied, StoreError> {
    conn.transaction(async |conn| {
        let locked = lock_known(conn, id).await?;
        if let Some(ended) = answered {
            gateway_calls::end(conn, ended, now).await?;
        }
        take(conn, locked, outcome, cipher, now).await
    })
    .await
}

/// Likewise, within a transaction that holds the locks: the token that came along is sealed for its account.
pub(in crate::store) async fn take(
    conn: &mut AsyncPgConnection,
    locked: Locked,
    outcome: Outcome,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Applied, StoreError> {
    let token = match &outcome {
        // What is only held, to be taken later, brings its token when it is taken – but for a verification, which
        // is never taken.
        Outcome::Authorized { token: Some(token), .. } if locked.bill.kind == BillKind::Verification && fits(token) => {
            Some(cipher.seal(Place::Token(locked.account.id), token))
        }
        Outcome::Completed { token: Some(token), .. } | Outcome::Refunded { token: Some(token), whole: false, .. }
            if fits(token) =>
        {
            Some(cipher.seal(Place::Token(locked.account.id), token))
        }
        _ => None,
    };
    let trial_card = trial::card_of(conn, &locked.bill, &outcome, cipher).await?;
    settle(conn, locked, outcome, Brought { sealed_token: token, trial_card }, now).await
}

/// The longest token that is kept, in bytes; the gateway's have some forty. One that would not fit into the column's
/// index must not keep the success from being written down: the account is then one without a card.
const MAX_TOKEN: usize = 1_024;

fn fits(token: &SecretString) -> bool {
    let length = token.expose_secret().len();
    if length > MAX_TOKEN {
        tracing::error!(length, "the gateway's token is too long to be kept");
    }
    length <= MAX_TOKEN
}

/// [`apply`], within a transaction that holds the locks.
pub(in crate::store) async fn settle(
    conn: &mut AsyncPgConnection,
    mut locked: Locked,
    outcome: Outcome,
    brought: Brought,
    now: DateTime<Utc>,
) -> Result<Applied, StoreError> {
    let stood = Standing::of(&locked);
    let is_closed = locked.account.closed_at.is_some();
    // Whoever asked to be forgotten leaves no new trace.
    let outcome = if is_closed { outcome.without_card() } else { outcome };
    let mut before = locked.attempt();
    let mut effects = Vec::new();
    if let Some(second) = before.second_transaction(&outcome) {
        effects.extend(record_second(conn, &locked, second, now).await?);
    }
    let zone = locked.account.machine().time_zone;
    let outcome = leave_what_is_anothers(conn, &before, outcome, &mut effects, zone, now).await?;
    // Nothing is bought for a closed account any more: what comes all the same goes back.
    before.owed = locked.bill.status.owes_after(outcome.kind()) && !(is_closed && is_taken(&outcome));
    if before.state.is_failure() && is_live_money(&outcome) {
        before.owed = before.owed && clear_the_way(conn, &mut locked, now).await?;
    }
    if let Some(what) = before.mismatch(&outcome) {
        effects.extend(set_aside(conn, &before, &outcome, what, zone, now).await?);
    }
    let outcome = with_what_is_back(conn, &before, outcome).await?;
    let outcome = with_retry_after(conn, outcome).await?;
    let begins = begins_paid_trial(&locked, &before, &outcome);
    if begins && !trial::claim(conn, &locked.bill, brought.trial_card, now).await? {
        // The money is nobody's debt: it goes back.
        before.owed = false;
        trial::refuse(conn, &mut locked, TrialRefusal::Used, now).await?;
    }
    if holds_for_trial(&locked, &before, &outcome) && trial::is_used(conn, brought.trial_card).await? {
        // Nothing is taken: the hold is let go.
        trial::refuse(conn, &mut locked, TrialRefusal::Used, now).await?;
    }
    let given_back = GivenBack::by(&outcome);
    let ruling = ruling(conn, &outcome).await?;
    let after = before.clone().apply(outcome, now).map_err(|source| StoreError::Illegal { id: before.id, source })?;
    if after == before {
        events::append(conn, story::of_step(stood, &locked, &after, None, &effects), now).await?;
        owe_refunds(conn, &locked, &effects, now).await?;
        return Ok(Applied { payment: PaymentView::of(&locked), effects });
    }
    let after = match &ruling {
        Some(ruling) if after.decline != before.decline => after.judged_as(ruling.rule.group),
        _ => after,
    };
    locked.save_payment(conn, &after, now).await?;
    settle_bill(conn, &mut locked, &before, &after, given_back, now).await?;
    let mut kept = KeptCard::Same;
    if after.verifies {
        kept = verified::replace_card(conn, &mut locked, &before, &after, brought, now).await?;
    } else if after.state == PaymentState::Succeeded {
        pay_account(conn, &mut locked, &after, brought.sealed_token, given_back, now).await?;
    } else if locked.bill.kind != BillKind::Change {
        // A change at once that fails is no refused renewal.
        let card_is_kept = after.instrument == Instrument::Token && cards::stands(conn, after.id).await?;
        let no = locked.bill.period_no;
        if let Some(event) = AccountEvent::of_failure(before.state, &after, ruling.as_ref(), no, card_is_kept) {
            let account = locked.account.machine().apply(event, now)?;
            locked.save_account(conn, &account, now).await?;
        }
    }
    if after.state.is_success() && !before.state.is_success() {
        journal::enter_success(conn, &locked, given_back == GivenBack::All, now).await?;
    }
    effects.extend(effects_of(&locked, &before, &after, given_back, kept));
    effects.extend(fault_of_ours(conn, &locked, &before, &after).await?);
    events::append(conn, story::of_step(stood, &locked, &after, ruling.as_ref(), &effects), now).await?;
    if given_back == GivenBack::All && after.state.is_success() {
        refunds::give_back_the_rest(conn, &locked, now).await?;
    }
    owe_refunds(conn, &locked, &effects, now).await?;
    Ok(Applied { payment: PaymentView::of(&locked), effects })
}

/// Whether this is the money of a trial that costs something. (What was given back in whole begins nothing.)
fn begins_paid_trial(locked: &Locked, before: &Payment, outcome: &Outcome) -> bool {
    locked.bill.trial_days.is_some()
        && !before.verifies
        && before.owed
        && !before.state.is_success()
        && is_taken(outcome)
        && before.mismatch(outcome).is_none()
}

/// Whether this is the hold of a trial that costs something, on a terminal that works in two stages.
fn holds_for_trial(locked: &Locked, before: &Payment, outcome: &Outcome) -> bool {
    locked.bill.trial_days.is_some()
        && !before.verifies
        && before.owed
        && before.state != PaymentState::Authorized
        && matches!(outcome, Outcome::Authorized { .. })
        && before.mismatch(outcome).is_none()
}

/// How a refusal is judged, by the rules of this moment.
async fn ruling(conn: &mut AsyncPgConnection, outcome: &Outcome) -> Result<Option<Ruling>, StoreError> {
    match outcome {
        Outcome::Declined { code, .. } => Ok(Some(declines::ruling(conn, *code).await?)),
        _ => Ok(None),
    }
}

/// A refusal with the time before which it may not be tried again, which only the notification of it tells.
async fn with_retry_after(conn: &mut AsyncPgConnection, outcome: Outcome) -> Result<Outcome, StoreError> {
    match outcome {
        Outcome::Declined { transaction_id: Some(number), code, reason, cardholder_message, retry_after: None } => {
            let retry_after = notifications::retry_after(conn, number).await?;
            let transaction_id = Some(number);
            Ok(Outcome::Declined { transaction_id, code, reason, cardholder_message, retry_after })
        }
        other => Ok(other),
    }
}

/// Whether the outcome is of money that is there to pay the bill.
const fn is_live_money(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Completed { .. } | Outcome::Authorized { .. } | Outcome::Refunded { whole: false, .. })
}

async fn settle_bill(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    before: &Payment,
    after: &Payment,
    given_back: GivenBack,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (bill, kind) = (locked.bill.machine(), locked.bill.kind);
    let bill = match (kind.event(before.state, after.state), given_back) {
        (Some(event @ BillEvent::AttemptSucceeded), GivenBack::Part | GivenBack::All) => {
            bill.apply(event, now)?.apply(BillEvent::Refunded { whole: given_back == GivenBack::All }, now)?
        }
        (Some(event), _) => bill.apply(event, now)?,
        (None, _) => bill,
    };
    let is_nobodys = locked.account.closed_at.is_some() || locked.bill.trial_refused.is_some();
    let owes_nothing = is_nobodys && bill.status == BillStatus::NotPaid;
    let bill = if owes_nothing { bill.apply(BillEvent::Voided, now)? } else { bill };
    locked.save_bill(conn, bill, after, now).await
}

async fn pay_account(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    after: &Payment,
    sealed_token: Option<String>,
    given_back: GivenBack,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (bill, account) = (&locked.bill, locked.account.machine());
    if given_back == GivenBack::All {
        // Whoever gave a renewal back does not want it charged again within the hour.
        let by_itself = after.instrument == Instrument::Token && bill.kind != BillKind::Change;
        let is_renewal = by_itself && account.is_running();
        let ends = is_renewal && !account.cancel_at_period_end && bill.period_no > account.period_no;
        return match ends {
            true => locked.save_account(conn, &account.apply(AccountEvent::CancelRequested, now)?, now).await,
            false => Ok(()),
        };
    }
    let Some(period) = bill.paid_period else { return Ok(()) };
    let (card, change) = cards::keep(conn, &locked.account, after, sealed_token, now).await?;
    let (tariff_id, period_no) = (bill.tariff_id, bill.period_no);
    let paid = match bill.trial_days {
        Some(_) => AccountEvent::TrialBegun { tariff_id, period, period_no, card },
        None => AccountEvent::Paid { kind: bill.kind, tariff_id, period, period_no, card },
    };
    locked.save_account_and_card(conn, &account.apply(paid, now)?, change, now).await
}

/// A renewal that came to nothing through our own fault is tried again: it is told once, when it is certain that it is not
/// the cause of many – that is the [circuit](crate::breaker)'s to tell, once for all of them.
async fn fault_of_ours(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    before: &Payment,
    after: &Payment,
) -> Result<Option<Effect>, StoreError> {
    let account = &locked.account;
    let misunderstood =
        matches!(after.state, PaymentState::Rejected | PaymentState::NotExecuted) && account.faults == 2;
    let misplaced = after.state == PaymentState::Declined
        && after.decline.as_ref().is_some_and(|decline| decline.group == DeclineGroup::Configuration)
        && account.declines == 1;
    if !before.state.is_live() || after.instrument != Instrument::Token || !(misunderstood || misplaced) {
        return Ok(None);
    }
    let kept_cards = circuits::get(conn, Circuit::KeptCards).await?;
    // All that failed in a row are its own tries.
    let own = account.faults.max(account.declines);
    let is_alone = kept_cards.state == CircuitState::Closed && kept_cards.failures <= own;
    Ok(is_alone.then(|| alarm_of(after)))
}
