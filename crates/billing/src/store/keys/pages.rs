//! Everything that is sealed, a page at a time, and sealing it anew.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::super::notifications::NoticeKey;
use super::super::{StoreError, secrets};
use crate::cipher::{Cipher, CipherError, Place};
use crate::notification::NoticeKind;
use crate::schema::{account, bill, notification, receipt, secret, staff_factor};
use crate::staff::StaffId;
use crate::{AccountId, BillId, ReceiptId};

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// Kept cards, behind this account.
    Cards(Uuid),
    /// Cryptograms and answers of bank pages of what is being paid, behind this bill.
    Bills(Uuid),
    /// Likewise of cards that are verified.
    Verifications(Uuid),
    /// Tokens of what the gateway has told, until that has its effect: few, so they are one page.
    Notifications,
    /// Receipts of what has not ended, behind this one.
    Receipts(Uuid),
    /// Second factors of the staff: few, so they are one page.
    StaffFactors,
    /// The system's own.
    Own,
}

impl Cursor {
    pub const BEGIN: Self = Self::Cards(Uuid::nil());
}

/// A sealed secret, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub place: Place,
    /// The ciphertext: opens only with its key.
    pub text: String,
}

/// Some of what is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub sealed: Vec<Sealed>,
    /// `None`: this is the last one.
    pub next: Option<Cursor>,
}

/// What sealing a page anew came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    pub done: usize,
    /// Somebody was just working with the row, or has written another secret: it is looked at again in the next round.
    pub passed_over: usize,
    /// What does not open with any key that is configured, and why.
    pub lost: Vec<(Place, CipherError)>,
}

/// What is sealed from `from` on, of at most `limit` rows. Each page is read by an index, however many there are.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn page(conn: &mut AsyncPgConnection, from: Cursor, limit: i64) -> Result<Page, StoreError> {
    match from {
        Cursor::Cards(after) => cards(conn, after, limit).await,
        Cursor::Bills(after) => {
            let owed = sql::<Bool>("bill.status in ('Not paid', 'In work') and bill.kind <> 'verification'");
            bills(conn, owed, after, limit, Cursor::Bills, Cursor::Verifications(Uuid::nil())).await
        }
        Cursor::Verifications(after) => {
            let verified = sql::<Bool>("bill.kind = 'verification' and bill.status = 'In work'");
            bills(conn, verified, after, limit, Cursor::Verifications, Cursor::Notifications).await
        }
        Cursor::Notifications => notifications(conn).await,
        Cursor::Receipts(after) => receipts(conn, after, limit).await,
        Cursor::StaffFactors => staff_factors(conn).await,
        Cursor::Own => own(conn).await,
    }
}

async fn cards(conn: &mut AsyncPgConnection, after: Uuid, limit: i64) -> Result<Page, StoreError> {
    let rows: Vec<(AccountId, Option<String>)> = account::table
        .filter(account::id.gt(AccountId::from(after)))
        .order(account::id)
        .limit(limit)
        .select((account::id, account::payment_token))
        .load(conn)
        .await?;
    let next = rows.last().map(|(id, _)| Cursor::Cards(id.get())).filter(|_| is_full(rows.len(), limit));
    let kept = rows.into_iter().filter_map(|(id, token)| Some(Sealed { place: Place::Token(id), text: token? }));
    Ok(Page { sealed: kept.collect(), next: Some(next.unwrap_or(Cursor::Bills(Uuid::nil()))) })
}

async fn bills(
    conn: &mut AsyncPgConnection,
    which: diesel::expression::SqlLiteral<Bool>,
    after: Uuid,
    limit: i64,
    further: fn(Uuid) -> Cursor,
    then: Cursor,
) -> Result<Page, StoreError> {
    let rows: Vec<(BillId, Option<String>, Option<String>)> = bill::table
        .filter(which)
        .filter(bill::id.gt(BillId::from(after)))
        .order(bill::id)
        .limit(limit)
        .select((bill::id, bill::card_cryptogram_packet, bill::pa_res))
        .load(conn)
        .await?;
    let next = rows.last().map(|(id, ..)| further(id.get())).filter(|_| is_full(rows.len(), limit));
    let mut sealed = Vec::new();
    for (id, cryptogram, pa_res) in rows {
        sealed.extend(cryptogram.map(|text| Sealed { place: Place::Cryptogram(id), text }));
        sealed.extend(pa_res.map(|text| Sealed { place: Place::PaRes(id), text }));
    }
    Ok(Page { sealed, next: Some(next.unwrap_or(then)) })
}

async fn notifications(conn: &mut AsyncPgConnection) -> Result<Page, StoreError> {
    let pending = notification::table.filter(notification::effect.is_null().and(notification::token.is_not_null()));
    let rows: Vec<(NoticeKind, String, Vec<u8>, Option<String>)> = pending
        .select((notification::kind, notification::gateway_id, notification::body_sha256, notification::token))
        .load(conn)
        .await?;
    let sealed = rows.into_iter().filter_map(|(kind, gateway_id, body, token)| {
        let key = NoticeKey { kind, gateway_id, body_sha256: body.try_into().ok()? };
        Some(Sealed { place: key.place(), text: token? })
    });
    Ok(Page { sealed: sealed.collect(), next: Some(Cursor::Receipts(Uuid::nil())) })
}

async fn receipts(conn: &mut AsyncPgConnection, after: Uuid, limit: i64) -> Result<Page, StoreError> {
    let rows: Vec<(ReceiptId, Option<String>)> = receipt::table
        .filter(receipt::sealed.is_not_null().and(receipt::id.gt(ReceiptId::from(after))))
        .order(receipt::id)
        .limit(limit)
        .select((receipt::id, receipt::sealed))
        .load(conn)
        .await?;
    let next = rows.last().map(|(id, _)| Cursor::Receipts(id.get())).filter(|_| is_full(rows.len(), limit));
    let sealed = rows.into_iter().filter_map(|(id, text)| Some(Sealed { place: Place::Receipt(id), text: text? }));
    Ok(Page { sealed: sealed.collect(), next: Some(next.unwrap_or(Cursor::StaffFactors)) })
}

async fn staff_factors(conn: &mut AsyncPgConnection) -> Result<Page, StoreError> {
    let rows: Vec<(StaffId, String)> =
        staff_factor::table.select((staff_factor::staff_id, staff_factor::sealed)).load(conn).await?;
    let sealed = rows.into_iter().map(|(id, text)| Sealed { place: Place::StaffFactor(id), text });
    Ok(Page { sealed: sealed.collect(), next: Some(Cursor::Own) })
}

async fn own(conn: &mut AsyncPgConnection) -> Result<Page, StoreError> {
    let rows: Vec<(String, String)> = secret::table.select((secret::name, secret::sealed)).load(conn).await?;
    let known = |name: &str| secrets::ALL.iter().copied().find(|known| *known == name);
    let own = rows.into_iter().filter_map(|(name, text)| Some(Sealed { place: Place::Own(known(&name)?), text }));
    Ok(Page { sealed: own.collect(), next: None })
}

fn is_full(rows: usize, limit: i64) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= limit)
}

/// A secret sealed anew, and the text that it takes the place of.
struct Change<Row> {
    row: Row,
    old: String,
    new: String,
}

/// Seals anew what the first key has not sealed, in one short transaction. Each is written only over the very text that was
/// read: what was written meanwhile stays. Rows that somebody is working with are passed over, nobody is waited for.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn reseal(conn: &mut AsyncPgConnection, sealed: &[Sealed], cipher: &Cipher) -> Result<Resealed, StoreError> {
    let (mut tokens, mut cryptograms, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut told, mut receipts, mut factors, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut lost = Vec::new();
    for Sealed { place, text } in sealed {
        let new = match cipher.reseal(*place, text) {
            Ok(Some(new)) => new,
            Ok(None) => continue,
            Err(error) => {
                lost.push((*place, error));
                continue;
            }
        };
        let old = text.clone();
        match *place {
            Place::Token(id) => tokens.push(Change { row: id.get(), old, new }),
            Place::Cryptogram(id) => cryptograms.push(Change { row: id.get(), old, new }),
            Place::PaRes(id) => answers.push(Change { row: id.get(), old, new }),
            // The text itself tells the row: no two are alike.
            Place::Notification(_) => told.push(Change { row: (), old, new }),
            Place::Receipt(id) => receipts.push(Change { row: id.get(), old, new }),
            Place::StaffFactor(id) => factors.push(Change { row: id.get(), old, new }),
            // In no row: browsers have it, for minutes.
            Place::SignIn(_) => {}
            Place::Own(name) => own.push(Change { row: name, old, new }),
        }
    }
    let planned =
        tokens.len() + cryptograms.len() + answers.len() + told.len() + receipts.len() + factors.len() + own.len();
    if planned == 0 {
        return Ok(Resealed { lost, ..Resealed::default() });
    }
    let done = conn
        .transaction(async |conn| {
            let mut done = write(conn, TOKENS, tokens).await?;
            done += write(conn, CRYPTOGRAMS, cryptograms).await?;
            done += write(conn, ANSWERS, answers).await?;
            done += write_told(conn, told).await?;
            done += write(conn, RECEIPTS, receipts).await?;
            done += write(conn, FACTORS, factors).await?;
            done += write_own(conn, own).await?;
            Ok::<_, StoreError>(done)
        })
        .await?;
    Ok(Resealed { done, passed_over: planned - done, lost })
}

/// The kept card has its token twice, in its own row and in that of its account; they are compared at the end of the
/// transaction. The accounts are locked in the order of their ids, and those that somebody else has at hand are left out.
const TOKENS: &str = "
    with free as (
        select id from account where id = any($1) order by id for update skip locked
    ), change as (
        select c.id, c.old, c.new from unnest($1, $2, $3) as c (id, old, new) join free using (id)
    ), kept as (
        update card set token = change.new from change where card.account_id = change.id and card.token = change.old
    )
    update account set payment_token = change.new from change
    where account.id = change.id and account.payment_token = change.old";

const CRYPTOGRAMS: &str = "
    with free as (
        select id from bill where id = any($1) order by id for no key update skip locked
    )
    update bill set card_cryptogram_packet = change.new
    from unnest($1, $2, $3) as change (id, old, new) join free using (id)
    where bill.id = change.id and bill.card_cryptogram_packet = change.old";

const ANSWERS: &str = "
    with free as (
        select id from bill where id = any($1) order by id for no key update skip locked
    )
    update bill set pa_res = change.new
    from unnest($1, $2, $3) as change (id, old, new) join free using (id)
    where bill.id = change.id and bill.pa_res = change.old";

const RECEIPTS: &str = "
    with free as (
        select id from receipt where id = any($1) order by id for no key update skip locked
    )
    update receipt set sealed = change.new
    from unnest($1, $2, $3) as change (id, old, new) join free using (id)
    where receipt.id = change.id and receipt.sealed = change.old";

const FACTORS: &str = "
    with free as (
        select staff_id from staff_factor where staff_id = any($1) order by staff_id for no key update skip locked
    )
    update staff_factor set sealed = change.new
    from unnest($1, $2, $3) as change (id, old, new) join free on free.staff_id = change.id
    where staff_factor.staff_id = change.id and staff_factor.sealed = change.old";

async fn write(conn: &mut AsyncPgConnection, statement: &str, changes: Vec<Change<Uuid>>) -> Result<usize, StoreError> {
    if changes.is_empty() {
        return Ok(0);
    }
    let (mut ids, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        ids.push(change.row);
        old.push(change.old);
        new.push(change.new);
    }
    let writing = diesel::sql_query(statement)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Text>, _>(old)
        .bind::<Array<Text>, _>(new);
    Ok(writing.execute(conn).await?)
}

async fn write_told(conn: &mut AsyncPgConnection, changes: Vec<Change<()>>) -> Result<usize, StoreError> {
    let mut done = 0;
    for Change { old, new, .. } in changes {
        let unchanged = notification::table.filter(notification::effect.is_null().and(notification::token.eq(old)));
        done += diesel::update(unchanged).set(notification::token.eq(new)).execute(conn).await?;
    }
    Ok(done)
}

async fn write_own(conn: &mut AsyncPgConnection, changes: Vec<Change<&'static str>>) -> Result<usize, StoreError> {
    let mut done = 0;
    for Change { row, old, new } in changes {
        let unchanged = secret::table.filter(secret::name.eq(row).and(secret::sealed.eq(old)));
        done += diesel::update(unchanged).set(secret::sealed.eq(new)).execute(conn).await?;
    }
    Ok(done)
}
