//! A customer pays by a card just typed in.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;

use super::super::StoreError;
use super::PaymentView;
use crate::cipher::Cipher;
use crate::{AccountId, PaymentId, TariffId};

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
/// # Errors
/// [`CreateError`].
pub async fn create(conn: &mut AsyncPgConnection, new: NewPayment, cipher: &Cipher) -> Result<Created, CreateError> {
    let _ = (conn, new, cipher);
    todo!()
}
