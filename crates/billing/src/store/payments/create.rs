//! A customer pays by a card just typed in.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::super::prepared::Prepare;
use super::super::{StoreError, accounts, cards, events, tariffs};
use super::bill::{NotPayable, bill_to_pay, make_room};
use super::trial::{self, NoTrial, may_try};
use super::{PaymentView, story};
use crate::cipher::Cipher;
use crate::db::DbError;
use crate::models::{AccountRow, BillRow, NewPaymentRow, PaymentRow, Tariff, Trial};
use crate::payment::Instrument;
use crate::schema::{account, bill, payment};
use crate::{AccountId, Kopecks, PaymentId, TariffId};

/// The longest cryptogram taken, in bytes. Real ones have some hundreds.
pub const MAX_CRYPTOGRAM: usize = 8 * 1024;
/// The longest idempotency key taken, in characters.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// What the customer asks for.
#[derive(Debug, Clone)]
pub struct NewPayment {
    pub account_id: AccountId,
    pub tariff_id: TariffId,
    pub cryptogram: SecretString,
    pub ip_address: IpAddr,
    /// The same key with the same content is the same payment, whoever asks and however often. At most
    /// [`MAX_IDEMPOTENCY_KEY`] characters; the caller has checked that.
    pub idempotency_key: String,
    /// The tariff is to be tried, for the terms that the customer was shown.
    pub trial: Option<Trial>,
    pub now: DateTime<Utc>,
}

/// The payment, made now or by an earlier call with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub payment: PaymentView,
    /// It was there already. (Its message may still have been lost: send it again if the state is `created`.)
    pub replayed: bool,
}

/// Why no payment was made. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("there is no account {0}")]
    UnknownAccount(AccountId),
    #[error("there is no tariff {0} on sale")]
    UnknownTariff(TariffId),
    /// The key was used for another request.
    #[error("the idempotency key was used with other content")]
    IdempotencyConflict,
    /// Nothing is owed.
    #[error("the account has an active subscription")]
    AlreadyActive,
    /// Its person has asked to be forgotten.
    #[error("the account is closed")]
    Closed,
    /// It cannot be tried.
    #[error(transparent)]
    NoTrial(#[from] NoTrial),
    /// Another attempt must end first. (One that waits for the bank's page is withdrawn instead.)
    #[error("payment {payment_id} is in progress")]
    PaymentInProgress { payment_id: PaymentId },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NotPayable> for CreateError {
    fn from(error: NotPayable) -> Self {
        match error {
            NotPayable::InProgress { payment_id } => Self::PaymentInProgress { payment_id },
            NotPayable::Store(error) => Self::Store(error),
        }
    }
}

impl From<diesel::result::Error> for CreateError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Opens the bill, or takes the open one, and writes down the attempt. After this returns send
/// [`ChargePayment`](crate::tasks::ChargePayment).
///
/// A customer who is on the bank's page and pays anew has left it: that attempt is withdrawn.
///
/// An open bill is taken again when it is for the same tariff and its period is still to be charged for; otherwise it is
/// void and a new one is opened. So an overdue customer pays the renewal that is owed – keeping the anchor, at the price
/// it was opened with – with whatever card, and a declined first purchase leaves a bill that the next card pays. (But who
/// buys anew buys what is offered now: after a change of the price that is another bill.)
///
/// # Errors
/// [`CreateError`].
pub async fn create(conn: &mut AsyncPgConnection, new: NewPayment, cipher: &Cipher) -> Result<Created, CreateError> {
    let digest = digest(&new);
    match create_once(conn, &new, &digest, cipher).await {
        // The key was used for another account a moment ago, under another lock: now it is there to be compared.
        Err(CreateError::Store(StoreError::Db(DbError::Query(error)))) if is_taken_key(&error) => {
            create_once(conn, &new, &digest, cipher).await
        }
        result => result,
    }
}

/// The payment that an earlier call with this key and content made. Writes nothing.
///
/// # Errors
/// [`CreateError::IdempotencyConflict`], [`CreateError::Store`].
pub async fn created_before(conn: &mut AsyncPgConnection, new: &NewPayment) -> Result<Option<Created>, CreateError> {
    let payment = replay(conn, &new.idempotency_key, &digest(new)).await?;
    Ok(payment.map(|payment| Created { payment, replayed: true }))
}

async fn create_once(
    conn: &mut AsyncPgConnection,
    new: &NewPayment,
    digest: &[u8],
    cipher: &Cipher,
) -> Result<Created, CreateError> {
    conn.transaction(async |conn| {
        let account = accounts::lock(conn, new.account_id).await?.ok_or(CreateError::UnknownAccount(new.account_id))?;
        if let Some(payment) = replay(conn, &new.idempotency_key, digest).await? {
            return Ok(Created { payment, replayed: true });
        }
        if account.closed_at.is_some() {
            return Err(CreateError::Closed);
        }
        let tariff = tariffs::get(conn, new.tariff_id, new.now)
            .await
            .map_err(StoreError::from)?
            .filter(|tariff| tariff.is_active || account.machine().continues(tariff.id))
            .ok_or(CreateError::UnknownTariff(new.tariff_id))?;
        if account.machine().is_paid_up(new.now) {
            return Err(CreateError::AlreadyActive);
        }
        let bill = match new.trial {
            Some(shown) => bill_to_try(conn, &account, &tariff, shown, new, cipher).await?,
            None => {
                leave_trial(conn, &account, new.now).await?;
                bill_to_pay(conn, &account, &tariff, new, cipher).await?
            }
        };
        let payment = start(conn, &bill, Some((new.idempotency_key.as_str(), digest)), new.now).await?;
        events::append(conn, vec![story::created(account.id, &payment)], new.now).await?;
        Ok(Created { payment: PaymentView::from_rows(&account, &bill, &payment), replayed: false })
    })
    .await
}

/// The bill by which a trial is to begin: paid, or only the verification of a card. A trial is for who has no subscription.
async fn bill_to_try(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    tariff: &Tariff,
    shown: Trial,
    new: &NewPayment,
    cipher: &Cipher,
) -> Result<BillRow, CreateError> {
    let machine = account.machine();
    if machine.is_running() {
        return Err(CreateError::AlreadyActive);
    }
    may_try(&machine, tariff, shown)?;
    // Also one that a card was replaced by: one card at a time is verified.
    if let Some(open) = trial::verified_now(conn, account.id).await? {
        make_room(conn, account, open, new.now).await?;
    }
    if shown.amount == Kopecks::ZERO {
        return Ok(trial::verification(conn, account, tariff, shown, new, cipher).await?);
    }
    let tried = tariff.tried(shown).map_err(StoreError::from)?;
    Ok(bill_to_pay(conn, account, &tried, new, cipher).await?)
}

/// Who buys while a card is verified for a trial has left that trial.
async fn leave_trial(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    now: DateTime<Utc>,
) -> Result<(), CreateError> {
    if account.machine().is_running() {
        return Ok(());
    }
    if let Some(open) = trial::verified_now(conn, account.id).await?.filter(|open| open.trial_days.is_some()) {
        make_room(conn, account, open, now).await?;
    }
    Ok(())
}

/// The payment an earlier call made with this key.
async fn replay(conn: &mut AsyncPgConnection, key: &str, digest: &[u8]) -> Result<Option<PaymentView>, CreateError> {
    let rows = account::table
        .inner_join(bill::table.inner_join(payment::table))
        .filter(payment::idempotency_key.eq(key))
        .select((AccountRow::as_select(), BillRow::as_select(), PaymentRow::as_select()))
        .first(conn)
        .await
        .optional()?;
    match rows {
        None => Ok(None),
        Some((account, bill, payment)) if payment.request_digest.as_deref() == Some(digest) => {
            Ok(Some(PaymentView::from_rows(&account, &bill, &payment)))
        }
        Some(_) => Err(CreateError::IdempotencyConflict),
    }
}

/// Writes down the attempt by a card just typed in, and the card that it is to bring. `key`: under which it was asked for,
/// with the fingerprint of what was, where that is not kept elsewhere.
pub(in crate::store) async fn start(
    conn: &mut AsyncPgConnection,
    bill: &BillRow,
    key: Option<(&str, &[u8])>,
    now: DateTime<Utc>,
) -> Result<PaymentRow, StoreError> {
    let row = NewPaymentRow {
        idempotency_key: key.map(|(key, _)| key.to_owned()),
        request_digest: key.map(|(_, digest)| digest.to_vec()),
        ..NewPaymentRow::created(bill.id, Instrument::Cryptogram, bill.amount, bill.currency, now)
    };
    let starting = diesel::insert_into(payment::table).values(row).returning(PaymentRow::as_returning());
    let started: PaymentRow = starting.prepared().get_result(conn).await?;
    cards::begin(conn, bill.account_id, started.id, now).await?;
    Ok(started)
}

fn digest(new: &NewPayment) -> Vec<u8> {
    let (account_id, tariff_id) = (new.account_id.get(), new.tariff_id.get());
    let ip_address = new.ip_address.to_string();
    let trial = new.trial.map(|trial| format!("{} {} {}", trial.days, trial.amount.get(), trial.currency));
    let mut parts = vec![
        account_id.as_bytes().as_slice(),
        tariff_id.as_bytes(),
        new.cryptogram.expose_secret().as_bytes(),
        ip_address.as_bytes(),
    ];
    parts.extend(trial.as_deref().map(str::as_bytes));
    fingerprint(&parts)
}

/// A fingerprint of everything in a request. Each part is preceded by its length, so that no two requests run together; a
/// cryptogram is random, so its share of the fingerprint gives nothing away.
pub(in crate::store) fn fingerprint(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

fn is_taken_key(error: &diesel::result::Error) -> bool {
    use diesel::result::{DatabaseErrorKind::UniqueViolation, Error::DatabaseError};
    matches!(error, DatabaseError(UniqueViolation, info) if info.constraint_name() == Some("payment_idempotency_key"))
}
