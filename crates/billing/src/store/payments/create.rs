//! A customer pays by a card just typed in.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::super::prepared::Prepare;
use super::super::{StoreError, events, tariffs};
use super::{PaymentView, story};
use crate::bill::{BillEvent, BillKind, BillStatus, PaymentType};
use crate::cipher::{Cipher, Place};
use crate::db::DbError;
use crate::models::{AccountRow, BillRow, NewBill, NewPaymentRow, PaymentRow, Tariff};
use crate::payment::Instrument;
use crate::schema::{account, bill, payment};
use crate::{AccountId, BillId, PaymentId, TariffId};

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
    /// Another attempt must end first.
    #[error("payment {payment_id} is in progress")]
    PaymentInProgress { payment_id: PaymentId },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for CreateError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Opens the bill, or takes the open one, and writes down the attempt. After this returns send
/// [`ChargePayment`](crate::tasks::ChargePayment).
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

async fn create_once(
    conn: &mut AsyncPgConnection,
    new: &NewPayment,
    digest: &[u8],
    cipher: &Cipher,
) -> Result<Created, CreateError> {
    conn.transaction(async |conn| {
        let account = lock_account(conn, new.account_id).await?;
        if let Some(payment) = replay(conn, &new.idempotency_key, digest).await? {
            return Ok(Created { payment, replayed: true });
        }
        let tariff = tariffs::get(conn, new.tariff_id)
            .await
            .map_err(StoreError::from)?
            .filter(|tariff| tariff.is_active || account.machine().continues(tariff.id))
            .ok_or(CreateError::UnknownTariff(new.tariff_id))?;
        if account.machine().is_paid_up(new.now) {
            return Err(CreateError::AlreadyActive);
        }
        let bill = bill_to_pay(conn, &account, &tariff, new, cipher).await?;
        let payment = start(conn, &bill, new, digest).await?;
        events::append(conn, vec![story::created(account.id, &payment)], new.now).await?;
        Ok(Created { payment: PaymentView::from_rows(&account, &bill, &payment), replayed: false })
    })
    .await
}

async fn lock_account(conn: &mut AsyncPgConnection, id: AccountId) -> Result<AccountRow, CreateError> {
    account::table
        .find(id)
        .select(AccountRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?
        .ok_or(CreateError::UnknownAccount(id))
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

async fn bill_to_pay(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    tariff: &Tariff,
    new: &NewPayment,
    cipher: &Cipher,
) -> Result<BillRow, CreateError> {
    let bills = bill::table.filter(bill::account_id.eq(account.id));
    // Statuses are written out, here and below, as the index has them: a plan that is made once for all parameters
    // cannot know that it fits.
    let open: Option<BillRow> = bills
        .filter(sql::<Bool>("bill.status in ('Not paid', 'In work')"))
        .select(BillRow::as_select())
        .prepared()
        .get_result(conn)
        .await
        .optional()?;
    match open {
        Some(open) if open.status == BillStatus::InWork => {
            let live = payment::table.filter(payment::bill_id.eq(open.id)).filter(payment::is_success.is_null());
            let payment_id = live.select(payment::id).first(conn).await?;
            Err(CreateError::PaymentInProgress { payment_id })
        }
        Some(open) if fits(&open, account, tariff, new.now) => Ok(take(conn, open.id, new, cipher).await?),
        Some(open) => {
            let void = open.machine().apply(BillEvent::Voided, new.now).map_err(StoreError::from)?;
            diesel::update(bill::table.find(open.id))
                .set((bill::status.eq(void.status), bill::updated_at.eq(new.now)))
                .execute(conn)
                .await?;
            open_bill(conn, account, tariff, new, cipher).await
        }
        None => open_bill(conn, account, tariff, new, cipher).await,
    }
}

/// Whether an open bill is what the customer asks for now.
fn fits(open: &BillRow, account: &AccountRow, tariff: &Tariff, now: DateTime<Utc>) -> bool {
    let account = account.machine();
    let fits = match open.kind {
        BillKind::Primary => {
            let offered = (tariff.amount, tariff.currency, tariff.period);
            (open.amount, open.currency, open.paid_period) == offered && !account.continues(tariff.id)
        }
        // A debt: it keeps its price.
        BillKind::Renewal => account.continues(tariff.id) && account.still_owes(open.period_no, open.paid_period, now),
    };
    fits && open.tariff_id == tariff.id
}

/// Puts the attempt's secrets on an open bill.
async fn take(
    conn: &mut AsyncPgConnection,
    id: BillId,
    new: &NewPayment,
    cipher: &Cipher,
) -> Result<BillRow, CreateError> {
    Ok(diesel::update(bill::table.find(id))
        .set((
            bill::status.eq(BillStatus::InWork),
            bill::payment_type.eq(PaymentType::Cryptogram),
            bill::card_cryptogram_packet.eq(cipher.seal(Place::Cryptogram(id), &new.cryptogram)),
            bill::ip_address.eq(new.ip_address.to_string()),
            bill::updated_at.eq(new.now),
        ))
        .returning(BillRow::as_returning())
        .prepared()
        .get_result(conn)
        .await?)
}

async fn open_bill(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    tariff: &Tariff,
    new: &NewPayment,
    cipher: &Cipher,
) -> Result<BillRow, CreateError> {
    let (kind, period_no, skipped_periods) = what_for(conn, account, tariff, new.now).await?;
    let id = BillId::new();
    let row = NewBill {
        id,
        created_at: new.now,
        updated_at: new.now,
        status: BillStatus::InWork,
        amount: tariff.amount,
        account_id: account.id,
        paid_period: tariff.period,
        card_cryptogram_packet: Some(cipher.seal(Place::Cryptogram(id), &new.cryptogram)),
        ip_address: Some(new.ip_address.to_string()),
        payment_type: PaymentType::Cryptogram,
        currency: tariff.currency,
        tariff_id: tariff.id,
        description: tariff.name.clone(),
        kind,
        period_no,
        skipped_periods,
    };
    let opening = diesel::insert_into(bill::table).values(row).returning(BillRow::as_returning());
    Ok(opening.prepared().get_result(conn).await?)
}

/// What a new bill is for: its kind, its period, and how many periods before it are not charged. A running subscription
/// goes on under the same tariff; anything else is a purchase, whose period gets the number after all that were ever
/// billed – also after those that were given up.
async fn what_for(
    conn: &mut AsyncPgConnection,
    account: &AccountRow,
    tariff: &Tariff,
    now: DateTime<Utc>,
) -> Result<(BillKind, i32, i32), CreateError> {
    let machine = account.machine();
    if machine.continues(tariff.id) {
        let next = machine.next_period(tariff.period, now).map_err(StoreError::from)?;
        return Ok((BillKind::Renewal, next.no, next.skipped));
    }
    let billed = bill::table.filter(bill::account_id.eq(account.id)).filter(sql::<Bool>("bill.status <> 'Void'"));
    let last: Option<i32> = billed.select(max(bill::period_no)).prepared().get_result(conn).await?;
    Ok((BillKind::Primary, last.unwrap_or(0).max(machine.period_no).saturating_add(1), 0))
}

async fn start(
    conn: &mut AsyncPgConnection,
    bill: &BillRow,
    new: &NewPayment,
    digest: &[u8],
) -> Result<PaymentRow, CreateError> {
    let row = NewPaymentRow {
        idempotency_key: Some(new.idempotency_key.clone()),
        request_digest: Some(digest.to_vec()),
        ..NewPaymentRow::created(bill.id, Instrument::Cryptogram, bill.amount, bill.currency, new.now)
    };
    let starting = diesel::insert_into(payment::table).values(row).returning(PaymentRow::as_returning());
    Ok(starting.prepared().get_result(conn).await?)
}

/// A fingerprint of everything in the request. Each part is preceded by its length, so that no two requests run
/// together; a cryptogram is random, so its share of the fingerprint gives nothing away.
fn digest(new: &NewPayment) -> Vec<u8> {
    let (account_id, tariff_id) = (new.account_id.get(), new.tariff_id.get());
    let ip_address = new.ip_address.to_string();
    let parts: [&[u8]; 4] =
        [account_id.as_bytes(), tariff_id.as_bytes(), new.cryptogram.expose_secret().as_bytes(), ip_address.as_bytes()];
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
