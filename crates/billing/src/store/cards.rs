//! The cards of an account, and the one that is charged without the customer. Only here is it written which that is.
//!
//! A card's row is made when the attempt begins that is to bring it, and counts on from the cards before. Once a card is
//! kept, all before it have ended; once the customer wants none, all have. What an attempt brings is kept only while its
//! card's row has not ended: so what comes late from an older attempt brings no card back, whoever's clock says what.
//!
//! `account.payment_token` and `account.card` are the token and the mask of the kept card. They are written by a
//! [`CardChange`], which only this module makes, in the transaction of the row.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::StoreError;
use super::prepared::Prepare;
use crate::account::KeptCard;
use crate::models::AccountRow;
use crate::payment::{CardMask, Instrument, Payment};
use crate::schema::{account, attempt_card, card};
use crate::{AccountId, PaymentId};

/// What an account's row says of the card that is charged from now on, token and mask together; with nothing in it, none is.
#[derive(Debug, Default, AsChangeset)]
#[diesel(table_name = account, treat_none_as_null = true)]
pub(in crate::store) struct CardChange {
    #[diesel(column_name = payment_token)]
    sealed_token: Option<String>,
    card: Option<CardMask>,
}

/// How a card ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Replaced,
    Forgotten,
    NotKept,
}

impl Ended {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Forgotten => "forgotten",
            Self::NotKept => "not_kept",
        }
    }
}

/// An attempt by a card just typed in begins, in the transaction that writes it down: what it brings is the account's
/// newest card.
pub(in crate::store) async fn begin(
    conn: &mut AsyncPgConnection,
    account_id: AccountId,
    payment_id: PaymentId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    use diesel::sql_types::Uuid;
    let beginning = diesel::sql_query(
        "with begun as (
            insert into card (id, created_at, account_id, generation)
            select $1, $2, $3, coalesce(max(generation), 0) + 1 from card where account_id = $3
            returning id
        )
        insert into attempt_card (payment_id, card_id) select $4, id from begun",
    );
    beginning
        .bind::<Uuid, _>(uuid::Uuid::now_v7())
        .bind::<Timestamptz, _>(now)
        .bind::<Uuid, _>(account_id)
        .bind::<Uuid, _>(payment_id)
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// Names the kept card as the one that this attempt charges; `false`: none is kept. It is named when it is sent, so a
/// charge that waited charges the card that is kept by then.
pub(in crate::store) async fn name_kept(
    conn: &mut AsyncPgConnection,
    account_id: AccountId,
    payment_id: PaymentId,
) -> Result<bool, StoreError> {
    let kept = card::table.filter(card::account_id.eq(account_id).and(card::token.is_not_null()));
    let Some(kept) = kept.select(card::id).first::<uuid::Uuid>(conn).await.optional()? else { return Ok(false) };
    diesel::insert_into(attempt_card::table)
        .values((attempt_card::payment_id.eq(payment_id), attempt_card::card_id.eq(kept)))
        .on_conflict(attempt_card::payment_id)
        .do_update()
        .set(attempt_card::card_id.eq(kept))
        .prepared()
        .execute(conn)
        .await?;
    Ok(true)
}

/// Whether the card that this attempt charges, or is to bring, was neither replaced nor forgotten.
pub(in crate::store) async fn stands(conn: &mut AsyncPgConnection, payment_id: PaymentId) -> Result<bool, StoreError> {
    Ok(of_attempt(conn, payment_id).await?.is_some())
}

/// The card of an attempt that has not ended.
#[derive(Queryable)]
struct Standing {
    id: uuid::Uuid,
    generation: i32,
}

async fn of_attempt(conn: &mut AsyncPgConnection, payment_id: PaymentId) -> Result<Option<Standing>, StoreError> {
    let named = attempt_card::table.inner_join(card::table).filter(attempt_card::payment_id.eq(payment_id));
    let standing = named.filter(card::ended_at.is_null()).select((card::id, card::generation));
    Ok(standing.first(conn).await.optional()?)
}

/// What an attempt that went well leaves of the kept card, and what the account's row has to say of it.
///
/// A card just typed in takes the place of the one before it, also when the gateway gave no token for it: then no card is
/// kept, for the one before must not be charged any more.
pub(in crate::store) async fn keep(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    paid: &Payment,
    sealed_token: Option<String>,
    now: DateTime<Utc>,
) -> Result<(KeptCard, Option<CardChange>), StoreError> {
    let Some(own) = of_attempt(conn, paid.id).await? else { return Ok((KeptCard::Same, None)) };
    match (sealed_token, paid.instrument) {
        (None, Instrument::Token) => Ok((KeptCard::Same, None)),
        // The gateway gives the kept card another token, and need not say again what card it is.
        (Some(token), Instrument::Token) => {
            let mask = paid.card.clone().or_else(|| account.card.clone());
            Ok((KeptCard::New, Some(write(conn, &own, token, mask).await?)))
        }
        (Some(token), Instrument::Cryptogram) => {
            end_before(conn, account.id, &own, now).await?;
            Ok((KeptCard::New, Some(write(conn, &own, token, paid.card.clone()).await?)))
        }
        (None, Instrument::Cryptogram) => {
            end_before(conn, account.id, &own, now).await?;
            let ending = diesel::update(card::table.find(own.id)).set((
                card::ended_at.eq(now),
                card::ended.eq(Ended::NotKept.as_str()),
                card::mask.eq(paid.card.clone()),
            ));
            ending.prepared().execute(conn).await?;
            Ok((KeptCard::None, Some(CardChange::default())))
        }
    }
}

async fn write(
    conn: &mut AsyncPgConnection,
    own: &Standing,
    sealed_token: String,
    mask: Option<CardMask>,
) -> Result<CardChange, StoreError> {
    let writing = diesel::update(card::table.find(own.id)).set((card::token.eq(&sealed_token), card::mask.eq(&mask)));
    writing.prepared().execute(conn).await?;
    Ok(CardChange { sealed_token: Some(sealed_token), card: mask })
}

/// The cards before this one are charged no more, and none of them is kept if it comes late.
async fn end_before(
    conn: &mut AsyncPgConnection,
    account_id: AccountId,
    own: &Standing,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if own.generation > 1 {
        let before = card::table.filter(card::account_id.eq(account_id).and(card::generation.lt(own.generation)));
        let ending = diesel::update(before.filter(card::ended_at.is_null())).set((
            card::token.eq(None::<String>),
            card::ended_at.eq(now),
            card::ended.eq(Ended::Replaced.as_str()),
        ));
        ending.prepared().execute(conn).await?;
    }
    Ok(())
}

/// Wipes the kept card, and keeps none of those that attempts under way may bring.
pub(in crate::store) async fn forget(
    conn: &mut AsyncPgConnection,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let cards = card::table.filter(card::account_id.eq(account_id));
    diesel::update(cards.filter(card::ended_at.is_null()))
        .set((card::token.eq(None::<String>), card::ended_at.eq(now), card::ended.eq(Ended::Forgotten.as_str())))
        .execute(conn)
        .await?;
    diesel::update(cards).set(card::mask.eq(None::<CardMask>)).execute(conn).await?;
    diesel::update(account::table.find(account_id)).set(CardChange::default()).execute(conn).await?;
    Ok(())
}
