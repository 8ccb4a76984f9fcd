//! After the answer: attempt, bill and account move together.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};

use super::super::gateway_calls::{self, Ended};
use super::super::orphans::{self, Orphan};
use super::super::{StoreError, cards, circuits, declines, events, journal, notifications, refunds};
use super::load::{Locked, lock_known, other_live, save_payment};
use super::story::{self, Standing};
use super::trial::{self, Brought};
use super::{PaymentView, verified};
use crate::account::{AccountEvent, KeptCard};
use crate::bill::{BillEvent, BillKind, BillStatus, TrialRefusal};
use crate::breaker::{Circuit, CircuitState};
use crate::cipher::{Cipher, Place};
use crate::decline::{DeclineGroup, Ruling};
use crate::models::NewPaymentRow;
use crate::payment::{Instrument, Outcome, Payment, PaymentState, SecondTransaction};
use crate::schema::payment;
use crate::{AccountId, Kopecks, PaymentId, TariffId};

/// Where the payment stands now, and what others are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub payment: PaymentView,
    /// Empty when nothing changed.
    pub effects: Vec<Effect>,
}

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

/// Refunds may be known before what they are of: a payment that is found to be taken then is given back as far as they say.
async fn with_what_is_back(
    conn: &mut AsyncPgConnection,
    attempt: &Payment,
    outcome: Outcome,
) -> Result<Outcome, StoreError> {
    let is_known_to_be_whole = matches!(outcome, Outcome::Refunded { whole: true, .. });
    if attempt.state.is_success() || !is_taken(&outcome) || is_known_to_be_whole {
        return Ok(outcome);
    }
    let back = refunds::sum_of_payment(conn, attempt.id).await?;
    Ok(match outcome {
        Outcome::Completed { transaction_id, token, amount, currency, card } if back.get() > 0 => {
            Outcome::Refunded { transaction_id, token, amount, currency, card, whole: back >= amount }
        }
        Outcome::Refunded { transaction_id, token, amount, currency, card, .. } => {
            Outcome::Refunded { transaction_id, token, amount, currency, card, whole: back >= amount }
        }
        outcome => outcome,
    })
}

/// Money that nobody owes goes back by itself.
async fn owe_refunds(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    effects: &[Effect],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for effect in effects {
        let Effect::RefundOwed { payment_id, .. } = effect else { continue };
        let owed = payment::table.find(*payment_id).select((payment::id, payment::amount, payment::currency));
        let owed = owed.first(conn).await?;
        refunds::owe(conn, locked, owed, now).await?;
    }
    Ok(())
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

/// Whether the outcome is of money that was taken, and not given back in whole.
const fn is_taken(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Completed { .. } | Outcome::Refunded { whole: false, .. })
}

/// How much of the money is back with the customer already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivenBack {
    Nothing,
    Part,
    All,
}

impl GivenBack {
    const fn by(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Refunded { whole: true, .. } => Self::All,
            Outcome::Refunded { whole: false, .. } => Self::Part,
            _ => Self::Nothing,
        }
    }
}

/// The gateway's number may stand on another row already: then what it says is not only of this attempt. A refusal is
/// taken without the number; anything else leaves the attempt in doubt until a person has decided.
async fn leave_what_is_anothers(
    conn: &mut AsyncPgConnection,
    attempt: &Payment,
    outcome: Outcome,
    effects: &mut Vec<Effect>,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Outcome, StoreError> {
    let Some(transaction_id) = outcome.transaction_id().filter(|id| attempt.transaction_id != Some(*id)) else {
        return Ok(outcome);
    };
    let others = payment::table.filter(payment::transaction_id.eq(transaction_id)).filter(payment::id.ne(attempt.id));
    let other: Option<PaymentId> = others.select(payment::id).first(conn).await.optional()?;
    // That of an attempt which has succeeded is what was written down as its second transaction.
    let Some(other) = other.filter(|_| !attempt.state.is_success()) else { return Ok(outcome) };
    let why = format!("transaction {transaction_id} of the gateway is payment {other}: a person must decide");
    effects.extend(set_aside(conn, attempt, &outcome, why.clone(), zone, now).await?);
    Ok(match outcome {
        Outcome::Declined { code, reason, cardholder_message, retry_after, .. } => {
            Outcome::Declined { transaction_id: None, code, reason, cardholder_message, retry_after }
        }
        _ => Outcome::Disputed { why },
    })
}

/// Keeps the operation for a person, who is told of it once.
async fn set_aside(
    conn: &mut AsyncPgConnection,
    attempt: &Payment,
    outcome: &Outcome,
    what: String,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Option<Effect>, StoreError> {
    let Some(transaction_id) = outcome.transaction_id() else { return Ok(None) };
    let (amount, currency) = outcome.money().unzip();
    let found = Orphan {
        payment_id: Some(attempt.id),
        transaction_id,
        what: what.clone(),
        status: Some(outcome.kind().name().to_owned()),
        invoice_id: None,
        account_id: None,
        amount,
        currency: currency.map(|currency| currency.to_string()),
        test_mode: None,
    };
    if !orphans::set_aside(conn, &found, now).await? {
        return Ok(None);
    }
    journal::enter_orphan(conn, &found, zone, now).await?;
    Ok(Some(Effect::NeedsAttention { payment_id: attempt.id, what }))
}

/// Money has come for an attempt believed dead, and another may be under way for the same bill. One that can take no
/// money any more – not sent yet, or waiting for a page whose answer we shall not pass on – makes way. One that may
/// take money stays, and what has come is the duplicate. Returns whether the way is clear.
async fn clear_the_way(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let Some(other) = other_live(conn, locked.bill.id, locked.payment.id).await? else { return Ok(true) };
    if !other.state.makes_way() {
        return Ok(false);
    }
    let why = format!("payment {} has paid the bill after all", locked.payment.id);
    let withdrawn = other
        .machine(&locked.bill)
        .apply(Outcome::Withdrawn { why }, now)
        .map_err(|source| StoreError::Illegal { id: other.id, source })?;
    save_payment(conn, &other, &withdrawn, now).await?;
    events::append(conn, vec![story::made_way(locked, &other, withdrawn.state)], now).await?;
    let bill = locked.bill.machine().apply(BillEvent::AttemptFailed, now)?;
    locked.save_bill(conn, bill, &withdrawn, now).await?;
    Ok(true)
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

fn effects_of(
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

fn alarm_of(after: &Payment) -> Effect {
    let what = after.info.clone().unwrap_or_else(|| "the gateway rejected our request".to_owned());
    Effect::NeedsAttention { payment_id: after.id, what }
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

/// The gateway took money twice for one attempt. The second transaction becomes a row of its own, with the money that the
/// gateway speaks of, so that no money is without a row; hearing of it again adds nothing.
async fn record_second(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    second: SecondTransaction,
    now: DateTime<Utc>,
) -> Result<Option<Effect>, StoreError> {
    let SecondTransaction { transaction_id, amount, currency } = second;
    let first = &locked.payment;
    if Kopecks::billable(amount.get()).is_err() {
        // No row of ours can hold it: it is kept with what differs.
        return Ok(None);
    }
    let row = NewPaymentRow {
        state: PaymentState::SucceededDuplicate,
        is_success: Some(true),
        request_id: format!("second:{transaction_id}"),
        transaction_id: Some(transaction_id),
        info: Some(format!("a second transaction of payment {}", first.id)),
        finished_at: Some(now),
        ..NewPaymentRow::created(first.bill_id, first.instrument, amount, currency, now)
    };
    let payment_id = row.id;
    let inserted = diesel::insert_into(payment::table).values(row).on_conflict_do_nothing().execute(conn).await?;
    if inserted == 0 {
        return Ok(None);
    }
    journal::enter_second(conn, locked, payment_id, second, now).await?;
    events::append(conn, vec![story::second_taken(locked, payment_id)], now).await?;
    Ok(Some(Effect::RefundOwed { payment_id, transaction_id }))
}
