//! A payment that the customer's bank took back: access ends, the card is forgotten, and nothing is refunded any more.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::payments::load::lock_known;
use super::super::{StoreError, cards, events, journal};
use super::given_back::{about, take_access};
use crate::account::AccountEvent;
use crate::event::{EventKind, NewEvent};
use crate::ledger::{Return, ReturnedBy};
use crate::schema::{chargeback, payment};
use crate::{Kopecks, PaymentId};

/// A chargeback as the gateway lists it (`/chargebacks/list`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chargeback {
    /// `ChargeBackId`
    pub id: String,
    /// The payment's number at the gateway.
    pub transaction_id: i64,
    /// In minor units.
    pub amount: Kopecks,
    pub currency: String,
    /// `Type`, as in `Chargeback`.
    pub kind: String,
    /// `Operation`, as in `Presentment`.
    pub operation: String,
    pub at: DateTime<Utc>,
}

/// Whether the customer's bank took this payment back: then no money of it is refunded.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn is_barred(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<bool, StoreError> {
    let of_payment = chargeback::table.filter(chargeback::payment_id.eq(id));
    Ok(diesel::select(diesel::dsl::exists(of_payment)).get_result(conn).await?)
}

/// Writes a chargeback down. With the first of a payment the customer's access ends, whatever it was paid with, and the card
/// is forgotten. Told of again it changes nothing.
///
/// Returns the payment, and whether the chargeback was new; `None`: it is of no payment of ours.
///
/// # Errors
/// [`StoreError`].
pub async fn recognise_chargeback(
    conn: &mut AsyncPgConnection,
    told: &Chargeback,
    now: DateTime<Utc>,
) -> Result<Option<(PaymentId, bool)>, StoreError> {
    conn.transaction(async |conn| {
        let of_ours = payment::table.filter(payment::transaction_id.eq(told.transaction_id)).select(payment::id);
        let Some(payment_id): Option<PaymentId> = of_ours.first(conn).await.optional()? else { return Ok(None) };
        let mut locked = lock_known(conn, payment_id).await?;
        let is_first = !is_barred(conn, payment_id).await?;
        let written = diesel::insert_into(chargeback::table)
            .values((
                chargeback::id.eq(clip(&told.id, 128)),
                chargeback::created_at.eq(now),
                chargeback::payment_id.eq(payment_id),
                chargeback::transaction_id.eq(told.transaction_id),
                chargeback::amount.eq(told.amount),
                chargeback::currency.eq(clip(&told.currency, 8)),
                chargeback::kind.eq(clip(&told.kind, 64)),
                chargeback::operation.eq(clip(&told.operation, 64)),
                chargeback::at.eq(told.at),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
        if written == 0 {
            return Ok(Some((payment_id, false)));
        }
        let mut story = vec![
            about(&locked, EventKind::ChargebackReceived)
                .with("amount", told.amount.get())
                .with("operation", clip(&told.operation, 64)),
            about(&locked, EventKind::NeedsAttention).with("what", "a payment was charged back"),
        ];
        if is_first {
            let had_card = locked.account.payment_token.is_some();
            cards::forget(conn, locked.account.id, now).await?;
            locked = lock_known(conn, payment_id).await?;
            if had_card {
                story.push(NewEvent::of_account(EventKind::CardForgotten, locked.account.id));
            }
        }
        events::append(conn, story, now).await?;
        if is_first {
            take_access(conn, &mut locked, AccountEvent::AccessTakenBack, now).await?;
            let back = Return {
                key: format!("chargeback:{payment_id}"),
                by: ReturnedBy::Chargeback,
                amount: told.amount,
                transaction_id: None,
            };
            journal::enter_return(conn, payment_id, &back, locked.account.machine().time_zone, now).await?;
        }
        Ok(Some((payment_id, true)))
    })
    .await
}

fn clip(text: &str, most: usize) -> String {
    text.replace('\0', "").chars().take(most).collect()
}
