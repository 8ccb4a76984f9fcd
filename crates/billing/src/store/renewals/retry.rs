//! A renewal that was refused, tried again before its time because somebody of the staff asks for it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::chunk::Chunk;
use super::{charges_of, open_bills_of};
use crate::bill::{BillKind, BillStatus};
use crate::breaker::Circuit;
use crate::decline::left_alone_until;
use crate::schema::payment;
use crate::store::{StoreError, accounts, circuits, tariffs};
use crate::{AccountId, PaymentId};

/// Why a renewal is not tried again now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRetry {
    /// No try was refused, or none is planned: by the rules only the customer can pay it.
    #[error("no further try of a refused renewal is planned")]
    NotPlanned,
    #[error("no card is kept that could be charged")]
    NoCard,
    #[error("it is being charged")]
    InWork,
    /// The card was charged twice within 24 hours.
    #[error("the card is left alone until {0}")]
    CardRests(DateTime<Utc>),
    /// The gateway has said with the last refusal when it may be tried again.
    #[error("the gateway allows no try before {0}")]
    GatewayForbids(DateTime<Utc>),
    /// The gateway is left alone, a restore is not reconciled, or the account has money there that no row is of.
    #[error("nothing is charged before {0}")]
    GatewayRests(DateTime<Utc>),
}

/// Opens the next try of a refused renewal now, by the rules of the timetable but for the time it was planned for. After this
/// returns send [`ChargeRenewal`](crate::tasks::ChargeRenewal) for it.
///
/// # Errors
/// [`StoreError`]; within, why it is not tried.
pub(in crate::store) async fn retry_now(
    conn: &mut AsyncPgConnection,
    id: AccountId,
    now: DateTime<Utc>,
) -> Result<Result<PaymentId, NoRetry>, StoreError> {
    conn.transaction(async |conn| {
        let Some(row) = accounts::lock(conn, id).await? else { return Ok(Err(NoRetry::NotPlanned)) };
        let account = row.machine();
        let one = std::slice::from_ref(&row);
        let Some(open) = open_bills_of(conn, one).await?.remove(&id).filter(|bill| bill.kind == BillKind::Renewal)
        else {
            return Ok(Err(NoRetry::NotPlanned));
        };
        if open.status == BillStatus::InWork {
            return Ok(Err(NoRetry::InWork));
        }
        let was_tried = account.declines > 0 || account.faults > 0;
        if account.next_charge_at.is_none() || !was_tried || !account.renews() {
            let is_cardless = account.is_running() && !account.can_be_charged();
            return Ok(Err(if is_cardless { NoRetry::NoCard } else { NoRetry::NotPlanned }));
        }
        if row.card_has_expired(now) {
            return Ok(Err(NoRetry::NoCard));
        }
        let charges = charges_of(conn, one, now).await?.remove(&id).unwrap_or_default();
        if let Some(until) = left_alone_until(&charges, now) {
            return Ok(Err(NoRetry::CardRests(until)));
        }
        let of_bill = payment::table.filter(payment::bill_id.eq(open.id));
        let forbidden: Option<Option<DateTime<Utc>>> =
            of_bill.order(payment::created_at.desc()).select(payment::retry_after).first(conn).await.optional()?;
        if let Some(until) = forbidden.flatten().filter(|until| *until > now) {
            return Ok(Err(NoRetry::GatewayForbids(until)));
        }
        if let Some(until) = circuits::waits_until(conn, &[Circuit::Gateway, Circuit::KeptCards], Some(id), now).await?
        {
            return Ok(Err(NoRetry::GatewayRests(until)));
        }
        let tariffs = tariffs::price_list(conn, account.next_tariff_id()).await?;
        let tariff = account.next_tariff_id().and_then(|tariff| tariffs.get(tariff, now));
        let mut chunk = Chunk::at(now);
        chunk.plan(&account, tariff.as_ref(), Some(open), false)?;
        let opened = chunk.write(conn).await?;
        Ok(opened.into_iter().next().ok_or(NoRetry::NotPlanned))
    })
    .await
}
