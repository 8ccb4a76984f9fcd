//! The HTTP client: one method per endpoint, one request per call, nothing retried.

mod config;
mod exchange;
mod pages;
mod tls;
mod transport;

use std::{fmt, sync::Arc};

use secrecy::SecretString;
use tracing::{Instrument as _, field::Empty};

use self::transport::Transport;
pub use self::{
    config::{ClientConfig, ConfigError},
    exchange::{Exchange, Record},
    pages::Pages,
};
use crate::{
    CardCharge, Charge, Chargeback, Error, ListRequest, ReceiptOrder, RequestId, TokenCharge, Transaction,
    TransactionPart, answer::Received, request::Body,
};

/// A client of one terminal of the gateway. Cheap to clone; clones share connections and the limit of
/// requests in flight.
///
/// Methods that move money want a [`RequestId`]: the same for every resend of an attempt, another for
/// every other attempt. Dropping a call does not stop it at the gateway: its outcome is then unknown.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    record: Option<Record>,
}

impl Client {
    /// A client; nothing is sent yet.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let transport = Arc::new(Transport::new(config)?);
        Ok(Self { transport, record: None })
    }

    /// The same client, which keeps what may be kept of each exchange.
    #[must_use]
    pub fn recorded(&self) -> (Self, Record) {
        let record = Record::default();
        (Self { transport: Arc::clone(&self.transport), record: Some(record.clone()) }, record)
    }

    /// Whether the gateway answers and knows us; gives the id of its answer (`/test`).
    pub async fn test(&self) -> Result<String, Error> {
        let nothing = Body::default().finish();
        self.post("/test", nothing, None, Received::test).await
    }

    /// Charges a card at once (`/payments/cards/charge`).
    pub async fn charge_card(&self, charge: &CardCharge, request_id: &RequestId) -> Result<Charge, Error> {
        self.order("/payments/cards/charge", charge.body(), request_id, Received::charge).await
    }

    /// Holds money on a card, to be confirmed or voided (`/payments/cards/auth`).
    pub async fn auth_card(&self, charge: &CardCharge, request_id: &RequestId) -> Result<Charge, Error> {
        self.order("/payments/cards/auth", charge.body(), request_id, Received::charge).await
    }

    /// Completes a charge after the customer passed 3-D Secure (`/payments/cards/post3ds`).
    pub async fn post_three_ds(
        &self,
        transaction_id: i64,
        pa_res: &SecretString,
        request_id: &RequestId,
    ) -> Result<Charge, Error> {
        let body = Body::default().field("TransactionId", &transaction_id).secret("PaRes", pa_res).finish();
        self.order("/payments/cards/post3ds", body, request_id, Received::charge).await
    }

    /// Charges a stored card (`/payments/tokens/charge`).
    pub async fn charge_token(&self, charge: &TokenCharge, request_id: &RequestId) -> Result<Charge, Error> {
        self.order("/payments/tokens/charge", charge.body(), request_id, Received::charge).await
    }

    /// Holds money on a stored card, to be confirmed or voided (`/payments/tokens/auth`).
    pub async fn auth_token(&self, charge: &TokenCharge, request_id: &RequestId) -> Result<Charge, Error> {
        self.order("/payments/tokens/auth", charge.body(), request_id, Received::charge).await
    }

    /// Takes held money, all of it or a part (`/payments/confirm`).
    pub async fn confirm(&self, part: &TransactionPart, request_id: &RequestId) -> Result<(), Error> {
        self.order("/payments/confirm", part.body(), request_id, Received::done).await
    }

    /// Lets held money go (`/payments/void`).
    pub async fn void(&self, transaction_id: i64, request_id: &RequestId) -> Result<(), Error> {
        self.order("/payments/void", only_id(transaction_id), request_id, Received::done).await
    }

    /// Gives money back, all of it or a part; the payment may be a year old at most. Returns the
    /// refund's own transaction id (`/payments/refund`).
    pub async fn refund(&self, part: &TransactionPart, request_id: &RequestId) -> Result<i64, Error> {
        self.order("/payments/refund", part.body(), request_id, Received::refund).await
    }

    /// Has the cash register asked for a receipt alone; returns the register's id of it. It is made later
    /// (`/kkt/receipt`).
    pub async fn receipt(&self, order: &ReceiptOrder, request_id: &RequestId) -> Result<String, Error> {
        self.order("/kkt/receipt", order.body()?, request_id, Received::receipt).await
    }

    /// A transaction by its id, or none if the gateway knows none (`/payments/get`).
    pub async fn get(&self, transaction_id: i64) -> Result<Option<Transaction>, Error> {
        self.post("/payments/get", only_id(transaction_id), None, Received::lookup).await
    }

    /// The last operation with that invoice number, be it a payment, a refund or a payout; none if
    /// there is none *yet*: a charge in progress may still arrive (`/v2/payments/find`).
    pub async fn find(&self, invoice_id: &str) -> Result<Option<Transaction>, Error> {
        let body = Body::default().field("InvoiceId", invoice_id).finish();
        self.post("/v2/payments/find", body, None, Received::lookup).await
    }

    /// One page of a list, counted from one; past the last page come empty ones (`/v2/payments/list`).
    pub async fn list(&self, request: &ListRequest, page: u32) -> Result<Vec<Transaction>, Error> {
        self.post("/v2/payments/list", request.body(page), None, Received::page).await
    }

    /// One page of the chargebacks of a stretch of time, counted from one; past the last page come empty ones
    /// (`/chargebacks/list`). The gateway tells those of a year at most.
    pub async fn chargebacks(&self, request: &ListRequest, page: u32) -> Result<Vec<Chargeback>, Error> {
        self.post("/chargebacks/list", request.body(page), None, Received::chargebacks).await
    }

    /// All pages of a list, one after the other.
    pub fn pages(&self, request: ListRequest) -> Pages {
        Pages::new(self.clone(), request)
    }

    async fn order<T>(
        &self,
        path: &'static str,
        body: Vec<u8>,
        request_id: &RequestId,
        read: impl FnOnce(&Received) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.post(path, body, Some(request_id), read).await
    }

    /// One request, in a span for whatever keeps traces.
    async fn post<T>(
        &self,
        path: &'static str,
        body: Vec<u8>,
        request_id: Option<&RequestId>,
        read: impl FnOnce(&Received) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let span = tracing::trace_span!("gateway", path, status = Empty, outcome = Empty);
        let answer = match self.exchange(path, body, request_id).instrument(span.clone()).await {
            Ok(received) => {
                span.record("status", received.status);
                read(&received)
            }
            Err(error) => Err(error),
        };
        span.record("outcome", answer.as_ref().err().map_or("ok", Error::kind));
        answer
    }

    async fn exchange(
        &self,
        path: &'static str,
        body: Vec<u8>,
        request_id: Option<&RequestId>,
    ) -> Result<Received, Error> {
        let Some(record) = &self.record else { return self.transport.post(path, body, request_id).await };
        let began = tokio::time::Instant::now();
        let received = self.transport.post(path, body.clone(), request_id).await;
        record.keep(Exchange::new(path, &body, received.as_ref().ok(), began.elapsed()));
        received
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.transport).finish()
    }
}

fn only_id(transaction_id: i64) -> Vec<u8> {
    Body::default().field("TransactionId", &transaction_id).finish()
}
