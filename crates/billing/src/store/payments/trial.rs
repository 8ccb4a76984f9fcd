//! Trials: how one is asked for, and whether it begins.
//!
//! An account has one trial and a card has one, for ever: a row of `trial`, written in the transaction in which the trial
//! begins. Which card it is is known only from the gateway's response, so of two accounts with one card the unique index
//! decides, and the other is refused: a hold is let go, and what was taken is nobody's debt and goes back.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::prepared::Prepare;
use super::super::{StoreError, cards, secrets};
use super::bill::{NotPayable, make_room, next_purchase_no, open_of, void};
use super::create::NewPayment;
use super::load::Locked;
use crate::account::{Account, AccountEvent, KeptCard};
use crate::bill::{BillKind, BillStatus, TrialRefusal};
use crate::card::CardHash;
use crate::cipher::Cipher;
use crate::models::{AccountRow, BillRow, NewBill, Tariff, Trial};
use crate::payment::{Outcome, Payment};
use crate::period::{Period, PeriodError};
use crate::schema::{bill, trial};
use crate::{AccountId, Kopecks};

/// Why a trial cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTrial {
    /// The tariff has none.
    #[error("the tariff cannot be tried")]
    NotOffered,
    /// The customer was shown other terms.
    #[error("the tariff may be tried for other terms now")]
    Changed(Trial),
    /// The account has had its trial.
    #[error("the account has had its trial")]
    Used,
}

/// Whether the account may ask for this trial of the tariff.
pub(super) fn may_try(account: &Account, tariff: &Tariff, shown: Trial) -> Result<(), NoTrial> {
    match tariff.trial() {
        None => Err(NoTrial::NotOffered),
        _ if account.trial_period_no.is_some() => Err(NoTrial::Used),
        Some(offered) if offered != shown => Err(NoTrial::Changed(offered)),
        Some(_) => Ok(()),
    }
}

/// The bill of a trial for nothing: the card is verified by it. Whatever else the customer had begun to buy is given up.
pub(super) async fn verification(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    tariff: &Tariff,
    trial: Trial,
    new: &NewPayment,
    cipher: &Cipher,
) -> Result<BillRow, NotPayable> {
    if let Some(open) = open_of(conn, account.id).await? {
        let open =
            if open.status == BillStatus::InWork { make_room(conn, account, open, new.now).await? } else { open };
        if open.status.is_open() {
            void(conn, account.id, &open, new.now).await?;
        }
    }
    let opening = NewBill {
        amount: Kopecks::new(10_i64.pow(trial.currency.decimals())),
        currency: trial.currency,
        paid_period: None,
        trial_days: Some(trial.days),
        ..NewBill::of_tariff(account.id, tariff, BillKind::Verification, 0, new.now)
    };
    let opening = opening.by_cryptogram(&new.cryptogram, new.ip_address, cipher);
    let opening = diesel::insert_into(bill::table).values(opening).returning(BillRow::as_returning());
    Ok(opening.prepared().get_result(conn).await?)
}

/// The verification of a card that is under way; there is at most one.
pub(in crate::store) async fn verified_now(
    conn: &mut AsyncPgConnection,
    id: AccountId,
) -> Result<Option<BillRow>, StoreError> {
    let verifications = bill::table.filter(bill::account_id.eq(id).and(bill::kind.eq(BillKind::Verification)));
    let open = verifications.filter(bill::status.eq(BillStatus::InWork)).select(BillRow::as_select());
    Ok(open.first(conn).await.optional()?)
}

/// The card that an outcome speaks of, if a trial depends on it.
pub(super) async fn card_of(
    conn: &mut AsyncPgConnection,
    bill: &BillRow,
    outcome: &Outcome,
    cipher: &Cipher,
) -> Result<Option<CardHash>, StoreError> {
    let Some(card) = outcome.card().filter(|_| bill.trial_days.is_some()) else { return Ok(None) };
    let key = secrets::get(conn, secrets::CARD_KEY, cipher).await?;
    let hash = CardHash::of(card, &key);
    if hash.is_none() {
        tracing::warn!(bill = %bill.id, "the gateway does not say which card it is: its trial is counted by account alone");
    }
    Ok(hash)
}

/// Whether a trial may begin with this bill: then nobody else's may, by this account or this card.
pub(super) async fn claim(
    conn: &mut AsyncPgConnection,
    bill: &BillRow,
    card: Option<CardHash>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let days = TimeDelta::days(bill.trial_days.unwrap_or_default().into());
    // Whoever claims the same card at this moment is waited for.
    let claiming = diesel::insert_into(trial::table)
        .values((
            trial::account_id.eq(bill.account_id),
            trial::bill_id.eq(bill.id),
            trial::began_at.eq(now),
            trial::ends_at.eq(now + days),
            trial::card_hash.eq(card.as_ref().map(CardHash::as_bytes)),
        ))
        .on_conflict_do_nothing();
    Ok(claiming.prepared().execute(conn).await? > 0)
}

/// Whether the card has had its trial.
pub(super) async fn is_used(conn: &mut AsyncPgConnection, card: Option<CardHash>) -> Result<bool, StoreError> {
    let Some(card) = card else { return Ok(false) };
    let used = trial::table.filter(trial::card_hash.eq(card.as_bytes()));
    Ok(diesel::select(diesel::dsl::exists(used)).get_result(conn).await?)
}

/// Writes down that no trial begins with this bill.
pub(super) async fn refuse(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    why: TrialRefusal,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let refusing = diesel::update(bill::table.find(locked.bill.id))
        .set((bill::trial_refused.eq(why), bill::updated_at.eq(now)))
        .returning(BillRow::as_returning());
    locked.bill = refusing.prepared().get_result(conn).await?;
    Ok(())
}

/// The card of a trial for nothing is good: the trial begins, unless the card or the account has had it, or the customer has
/// gone another way meanwhile. Returns what becomes of the kept card; where no trial begins, nothing.
pub(super) async fn begin_verified(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    before: &Payment,
    after: &Payment,
    brought: Brought,
    now: DateTime<Utc>,
) -> Result<KeptCard, StoreError> {
    let account = locked.account.machine();
    let is_wanted = before.state.is_live()
        && account.closed_at.is_none()
        && !account.is_running()
        && cards::stands(conn, after.id).await?;
    let refusal = match locked.bill.trial_days {
        _ if !is_wanted => Some(TrialRefusal::Late),
        _ if brought.sealed_token.is_none() => Some(TrialRefusal::NotKept),
        _ if !claim(conn, &locked.bill, brought.trial_card, now).await? => Some(TrialRefusal::Used),
        _ => None,
    };
    if let Some(why) = refusal {
        refuse(conn, locked, why, now).await?;
        return Ok(KeptCard::Same);
    }
    let (card, change) = cards::keep(conn, &locked.account, after, brought.sealed_token, now).await?;
    let begun = AccountEvent::TrialBegun {
        tariff_id: locked.bill.tariff_id,
        period: days(&locked.bill)?,
        period_no: next_purchase_no(conn, &account).await?,
        card,
    };
    locked.save_account_and_card(conn, &account.apply(begun, now)?, change, now).await?;
    Ok(card)
}

/// The length of the trial that is to begin with a bill.
fn days(bill: &BillRow) -> Result<Period, StoreError> {
    let days = bill.trial_days.and_then(|days| u32::try_from(days).ok()).ok_or(PeriodError::OutsideCalendar)?;
    Ok(Period::days(days)?)
}

/// What an outcome brings that is kept: sealed, or hashed.
#[derive(Debug, Default)]
pub(in crate::store) struct Brought {
    pub(super) sealed_token: Option<String>,
    /// The card, where a trial depends on it.
    pub(super) trial_card: Option<CardHash>,
}
