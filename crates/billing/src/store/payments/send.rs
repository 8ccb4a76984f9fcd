//! Before a request leaves: what is written down so that a crash at any point is recognised.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;

use super::super::StoreError;
use super::{PaymentView, PostOrder};
use crate::cipher::Cipher;
use crate::payment::PaymentState;
use crate::resolve::ResolvePolicy;
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId};

/// Everything the gateway must be told to charge.
#[derive(Debug, Clone)]
pub struct ChargeOrder {
    pub payment_id: PaymentId,
    pub bill_id: BillId,
    pub account_id: AccountId,
    pub amount: Kopecks,
    pub currency: Currency,
    /// `X-Request-ID`: the same for every sending of this attempt.
    pub request_id: String,
    /// `InvoiceId`: one per attempt.
    pub invoice_no: i64,
    pub instrument: ChargeInstrument,
    /// The customer's; a renewal has none.
    pub ip_address: Option<String>,
    pub description: String,
    pub first_sent_at: DateTime<Utc>,
    /// 1 for the first sending.
    pub resend_no: i32,
}

/// What is charged.
#[derive(Debug, Clone)]
pub enum ChargeInstrument {
    Cryptogram(SecretString),
    Token(SecretString),
}

/// Whether to send.
#[derive(Debug, Clone)]
pub enum Begin {
    /// Committed as `sending`: send, once, and [`apply`](super::apply) what comes of it.
    Send(Box<ChargeOrder>),
    /// Somebody else sends it, it is over, or it was withdrawn by the last look.
    NotNow(PaymentState),
}

/// Whether and what to repeat.
#[derive(Debug, Clone)]
pub enum Resend {
    Charge(Box<ChargeOrder>),
    ThreeDs(PostOrder),
    NotNow(PaymentState),
}

/// Whether to ask the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolve {
    /// In doubt: ask.
    Look(Box<PaymentView>),
    /// Not in doubt, or its sender may still be waiting for the answer.
    NotNow(PaymentState),
}

/// `created` → `sending`, after a last look: does the bill still owe it, is the account still to be charged?
///
/// # Errors
/// [`StoreError`].
pub async fn begin_sending(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Begin, StoreError> {
    let _ = (conn, id, cipher, now);
    todo!()
}

/// `unknown` → `sending` (or `posting_3ds`), if the policy allows the identical request to be repeated at `now`.
///
/// # Errors
/// [`StoreError`].
pub async fn begin_resend(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    policy: &ResolvePolicy,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Resend, StoreError> {
    let _ = (conn, id, policy, cipher, now);
    todo!()
}

/// A payment sent before `sent_before` whose answer nobody wrote down is in doubt from now on.
///
/// # Errors
/// [`StoreError`].
pub async fn begin_resolving(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    sent_before: DateTime<Utc>,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Resolve, StoreError> {
    let _ = (conn, id, sent_before, cipher, now);
    todo!()
}
