//! What becomes of the kept card when another one was verified.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::{StoreError, cards};
use super::effect::Effect;
use super::load::Locked;
use super::trial::{self, Brought};
use crate::AccountId;
use crate::account::{AccountEvent, AccountStatus, KeptCard};
use crate::bill::BillStatus;
use crate::payment::{Payment, PaymentState};
use crate::schema::bill;

/// Once the money is held – or was taken, which it should not be – the card that was verified takes the place of the one
/// before it. A card that is refused changes nothing.
pub(super) async fn replace_card(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    before: &Payment,
    after: &Payment,
    brought: Brought,
    now: DateTime<Utc>,
) -> Result<KeptCard, StoreError> {
    let is_good = |state| matches!(state, PaymentState::Authorized | PaymentState::SucceededDuplicate);
    if !is_good(after.state) || is_good(before.state) || before.state == PaymentState::Verified {
        return Ok(KeptCard::Same);
    }
    if locked.bill.trial_days.is_some() {
        return trial::begin_verified(conn, locked, before, after, brought, now).await;
    }
    let (card, change) = cards::keep(conn, &locked.account, after, brought.sealed_token, now).await?;
    if card == KeptCard::Same {
        return Ok(card);
    }
    let account = locked.account.machine();
    let debt_waits = account.status == AccountStatus::Overdue && is_debt_waiting(conn, account.id).await?;
    let replaced = account.apply(AccountEvent::CardReplaced { card, debt_waits }, now)?;
    locked.save_account_and_card(conn, &replaced, change, now).await?;
    Ok(card)
}

/// Whether the account owes a bill that is not being charged.
async fn is_debt_waiting(conn: &mut AsyncPgConnection, id: AccountId) -> Result<bool, StoreError> {
    let waiting = bill::table.filter(bill::account_id.eq(id).and(bill::status.eq(BillStatus::NotPaid)));
    Ok(diesel::select(diesel::dsl::exists(waiting)).get_result(conn).await?)
}

/// What a verified card comes to.
pub(super) fn told(account_id: AccountId, kept: KeptCard) -> Option<Effect> {
    match kept {
        KeptCard::New => Some(Effect::CardReplaced { account_id }),
        KeptCard::None => Some(Effect::CardNotKept { account_id }),
        KeptCard::Same => None,
    }
}
