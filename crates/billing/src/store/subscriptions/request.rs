//! What every verb of a subscriber begins and ends with: the account's lock, the caller's key, the subscription behind it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::prepared::Prepare;
use super::super::{StoreError, accounts};
use super::{Subscription, of};
use crate::models::AccountRow;
use crate::schema::api_request;
use crate::{AccountId, Kopecks, PaymentId, TariffId};

/// Who asks, for whom, and under which key.
#[derive(Debug, Clone)]
pub struct Request {
    pub account_id: AccountId,
    /// The client's name: each has keys of its own.
    pub client: String,
    /// The same key with the same content is done once, however often it is asked for.
    pub idempotency_key: String,
    pub now: DateTime<Utc>,
}

/// The subscription behind the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub subscription: Subscription,
    /// An earlier call with the same key did it.
    pub replayed: bool,
}

/// Why nothing was done. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    #[error("there is no account {0}")]
    UnknownAccount(AccountId),
    /// The key was used for another verb, another account or other content.
    #[error("the idempotency key was used with other content")]
    IdempotencyConflict,
    /// Nothing was ever paid.
    #[error("the account has never had a subscription")]
    NoSubscription,
    /// What was paid is over: there is nothing to go on with.
    #[error("the subscription has ended")]
    Ended,
    /// A payment of the account must end first.
    #[error("payment {payment_id} is in progress")]
    PaymentInProgress { payment_id: PaymentId },
    /// There is no card that a renewal could be charged to.
    #[error("no card is kept that could be charged")]
    NoCard,
    /// The person has asked to be forgotten.
    #[error("the account is closed")]
    Closed,
    #[error("there is no tariff {0} on sale")]
    UnknownTariff(TariffId),
    /// It is cancelled: there is no next period.
    #[error("the subscription is cancelled")]
    Cancelled,
    /// It is the tariff that runs.
    #[error("the subscription runs under this tariff")]
    SameTariff,
    /// A renewal is owed or under way: it comes first.
    #[error("a renewal is owed or under way")]
    RenewalInProgress,
    /// A change at once is under way.
    #[error("a change of tariff is under way")]
    ChangeInProgress,
    /// The gateway's rule for charges without the customer.
    #[error("the card was charged as often as it may be, until {until}")]
    ChargedTooOften { until: DateTime<Utc> },
    /// Money of the present period is on its way back: what is left of it is known after that.
    #[error("a refund of the present period is not finished")]
    RefundInProgress,
    /// How much is left of what was paid only the gateway knows.
    #[error("a part of what was paid for the present period was given back")]
    PartiallyRefunded,
    #[error("the tariff is in another currency than what was paid")]
    OtherCurrency,
    /// What is left of the present period is worth as much as the tariff, or more.
    #[error("nothing is to be paid at once")]
    NotUpwards,
    /// It costs another amount than the customer was shown.
    #[error("the change costs {} now", .amount.get())]
    PreviewChanged { amount: Kopecks },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for VerbError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The account, locked until the end of the transaction.
pub(super) async fn lock(conn: &mut AsyncPgConnection, id: AccountId) -> Result<AccountRow, VerbError> {
    accounts::lock(conn, id).await?.ok_or(VerbError::UnknownAccount(id))
}

/// Whether this key is new, for a verb that needs an account (`row`, locked) which is not closed. `digest`: a fingerprint of
/// what the caller says besides the account, if anything. The same key under another lock waits for the other's end.
pub(super) async fn is_first(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    request: &Request,
    verb: &str,
    digest: Option<&[u8]>,
) -> Result<bool, VerbError> {
    let first = is_new_key(conn, request, verb, digest).await?;
    if first && row.closed_at.is_some() { Err(VerbError::Closed) } else { Ok(first) }
}

/// Likewise, for any account.
pub(super) async fn is_new_key(
    conn: &mut AsyncPgConnection,
    request: &Request,
    verb: &str,
    digest: Option<&[u8]>,
) -> Result<bool, VerbError> {
    let inserted = diesel::insert_into(api_request::table)
        .values((
            api_request::client.eq(&request.client),
            api_request::idempotency_key.eq(&request.idempotency_key),
            api_request::verb.eq(verb),
            api_request::account_id.eq(request.account_id),
            api_request::created_at.eq(request.now),
            api_request::digest.eq(digest),
        ))
        .on_conflict_do_nothing()
        .prepared()
        .execute(conn)
        .await?;
    if inserted > 0 {
        return Ok(true);
    }
    Ok(!is_known_key(conn, request, verb, digest).await?)
}

/// Whether an earlier call with the same content used this key. Writes nothing.
pub(super) async fn is_known_key(
    conn: &mut AsyncPgConnection,
    request: &Request,
    verb: &str,
    digest: Option<&[u8]>,
) -> Result<bool, VerbError> {
    let before: Option<(String, AccountId, Option<Vec<u8>>)> = api_request::table
        .find((&request.client, &request.idempotency_key))
        .select((api_request::verb, api_request::account_id, api_request::digest))
        .first(conn)
        .await
        .optional()?;
    match before {
        None => Ok(false),
        Some((of_verb, account_id, of_content))
            if (of_verb.as_str(), account_id, of_content.as_deref()) == (verb, request.account_id, digest) =>
        {
            Ok(true)
        }
        Some(_) => Err(VerbError::IdempotencyConflict),
    }
}

/// What is returned for a verb that was done, now or by an earlier call.
pub(super) async fn written(
    conn: &mut AsyncPgConnection,
    request: &Request,
    replayed: bool,
) -> Result<Written, VerbError> {
    let row = lock(conn, request.account_id).await?;
    Ok(Written { subscription: of(conn, row).await?, replayed })
}
