//! Another card takes the place of the kept one.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};

use super::super::payments::bill::{NotPayable, bill_to_pay, is_still_owed, make_room};
use super::super::payments::create::{fingerprint, start};
use super::super::payments::trial::verified_now;
use super::super::payments::{self, NewPayment, PaymentView, story};
use super::super::{StoreError, events, tariffs};
use super::request::{Request, VerbError, is_first, is_known_key, lock};
use super::verbs::{Withdraw, withdraw_renewal};
use super::{live_payment, open_bill};
use crate::account::AccountStatus;
use crate::bill::BillKind;
use crate::cipher::Cipher;
use crate::models::{AccountRow, BillRow, NewBill, Tariff};
use crate::payment::{Instrument, PaymentState};
use crate::schema::{api_request, bill};
use crate::{Kopecks, PaymentId};

const VERB: &str = "replace_card";

/// What its customer sees of a verification on the statement of the card.
const DESCRIPTION: &str = "Проверка карты";

/// A card just typed in, to be charged from now on.
#[derive(Debug, Clone)]
pub struct NewCard {
    pub cryptogram: SecretString,
    pub ip_address: IpAddr,
    /// A refused renewal is paid with it at once, if nothing else may be paying it.
    pub pay_debt: bool,
}

/// The payment that brings the new card: of the debt, or one that only verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacing {
    pub payment: PaymentView,
    /// An earlier call with the same key began it.
    pub replayed: bool,
}

/// Begins to replace the kept card. Until the new one is good the old one stays; once it is, the old one is charged no more.
/// After this returns send [`ChargePayment`](crate::tasks::ChargePayment).
///
/// A refused renewal is paid with the new card, at the price of its bill, if that is asked for and no other payment of it may
/// have taken money. Else the card is verified: one unit of the currency is held on it, and let go.
///
/// A customer who is on the bank's page with one card and comes with another has left it, as with any payment.
///
/// # Errors
/// [`VerbError`]: also while another card is being verified.
pub async fn replace_card(
    conn: &mut AsyncPgConnection,
    request: &Request,
    new: &NewCard,
    cipher: &Cipher,
) -> Result<Replacing, VerbError> {
    conn.transaction(async |conn| {
        let row = lock(conn, request.account_id).await?;
        if !is_first(conn, &row, request, VERB, Some(&digest(new))).await? {
            return Ok(Replacing { payment: begun_before(conn, request).await?, replayed: true });
        }
        match row.status {
            AccountStatus::Inactive => return Err(VerbError::NoSubscription),
            AccountStatus::Canceled => return Err(VerbError::Ended),
            AccountStatus::Active | AccountStatus::Overdue => {}
        }
        let tariff = match row.machine().next_tariff_id() {
            Some(id) => tariffs::get(conn, id, request.now).await.map_err(StoreError::from)?,
            None => None,
        };
        let tariff = tariff.ok_or(VerbError::NoSubscription)?;
        let bill = match debt(conn, &row, &tariff, request, new, cipher).await? {
            Some(owed) => owed,
            None => verification(conn, &row, &tariff, new, cipher, request.now).await?,
        };
        let payment = start(conn, &bill, None, request.now).await?;
        remember(conn, request, payment.id).await?;
        events::append(conn, vec![story::created(row.id, &payment)], request.now).await?;
        Ok(Replacing { payment: PaymentView::from_rows(&row, &bill, &payment), replayed: false })
    })
    .await
}

/// What an earlier call with this key and content began. Writes nothing.
///
/// # Errors
/// [`VerbError::IdempotencyConflict`], [`VerbError::Store`].
pub async fn replaced_before(
    conn: &mut AsyncPgConnection,
    request: &Request,
    new: &NewCard,
) -> Result<Option<Replacing>, VerbError> {
    if !is_known_key(conn, request, VERB, Some(&digest(new))).await? {
        return Ok(None);
    }
    Ok(Some(Replacing { payment: begun_before(conn, request).await?, replayed: true }))
}

fn digest(new: &NewCard) -> Vec<u8> {
    let (cryptogram, ip_address) = (new.cryptogram.expose_secret(), new.ip_address.to_string());
    fingerprint(&[cryptogram.as_bytes(), ip_address.as_bytes(), &[u8::from(new.pay_debt)]])
}

/// The refused renewal, taken for the new card. `None`: there is none, or its money may have been taken already.
async fn debt(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    tariff: &Tariff,
    request: &Request,
    new: &NewCard,
    cipher: &Cipher,
) -> Result<Option<BillRow>, VerbError> {
    let account = row.machine();
    if !new.pay_debt || account.status != AccountStatus::Overdue || account.cancel_at_period_end {
        return Ok(None);
    }
    let Some(open) = open_bill(conn, row.id).await? else { return Ok(None) };
    if open.kind != BillKind::Renewal || open.tariff_id != tariff.id || !is_still_owed(&open, &account, request.now) {
        return Ok(None);
    }
    match live_payment(conn, &open).await? {
        Some(live) if live.state == PaymentState::Created && live.instrument == Instrument::Token => {
            let story = withdraw_renewal(conn, row, Withdraw::Payment, request.now).await?;
            events::append(conn, story, request.now).await?;
        }
        // Its customer has left the bank's page.
        Some(live) if live.state == PaymentState::AwaitingThreeDs => {}
        Some(_) => return Ok(None),
        None => {}
    }
    let paying = NewPayment {
        account_id: row.id,
        tariff_id: tariff.id,
        cryptogram: new.cryptogram.clone(),
        ip_address: new.ip_address,
        idempotency_key: request.idempotency_key.clone(),
        trial: None,
        now: request.now,
    };
    Ok(Some(bill_to_pay(conn, row, tariff, &paying, cipher).await?))
}

/// A bill for nothing, to verify the card by.
async fn verification(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    tariff: &Tariff,
    new: &NewCard,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<BillRow, VerbError> {
    if let Some(open) = verified_now(conn, row.id).await? {
        make_room(conn, row, open, now).await?;
    }
    let opening = NewBill {
        amount: Kopecks::new(10_i64.pow(tariff.currency.decimals())),
        paid_period: None,
        description: DESCRIPTION.to_owned(),
        ..NewBill::of_tariff(row.id, tariff, BillKind::Verification, 0, now)
    };
    let opening = opening.by_cryptogram(&new.cryptogram, new.ip_address, cipher);
    let opening = diesel::insert_into(bill::table).values(opening).returning(BillRow::as_returning());
    Ok(opening.get_result(conn).await?)
}

async fn remember(conn: &mut AsyncPgConnection, request: &Request, id: PaymentId) -> Result<(), StoreError> {
    diesel::update(api_request::table.find((&request.client, &request.idempotency_key)))
        .set(api_request::payment_id.eq(id))
        .execute(conn)
        .await?;
    Ok(())
}

async fn begun_before(conn: &mut AsyncPgConnection, request: &Request) -> Result<PaymentView, VerbError> {
    let begun: Option<PaymentId> = api_request::table
        .find((&request.client, &request.idempotency_key))
        .select(api_request::payment_id)
        .first(conn)
        .await?;
    let begun = begun.ok_or(VerbError::IdempotencyConflict)?;
    Ok(payments::get(conn, begun).await?.ok_or(StoreError::UnknownPayment(begun))?)
}

impl From<NotPayable> for VerbError {
    fn from(error: NotPayable) -> Self {
        match error {
            NotPayable::InProgress { payment_id } => Self::PaymentInProgress { payment_id },
            NotPayable::Store(error) => Self::Store(error),
        }
    }
}
