//! Questions and orders to the gateway beside the charge: each is written down before it is made and after it has ended,
//! by a statement of its own, for no transaction is open around it. (A charge is written down with its payment.)

use billing::PaymentId;
use billing::store::StoreError;
use billing::store::gateway_calls::{self, CallId};
use cloudpayments::{Client, Error, Record, RequestId};

use crate::desk::Desk;
use crate::gateway;

/// The gateway, asked about one payment, or for a list.
pub(super) struct Calls<'a> {
    desk: &'a Desk,
    /// `None`: a list, or an operation that is no payment of ours.
    payment_id: Option<PaymentId>,
    pub(super) gateway: Client,
    record: Record,
}

impl<'a> Calls<'a> {
    pub(super) fn about(payment_id: impl Into<Option<PaymentId>>, desk: &'a Desk) -> Self {
        let (gateway, record) = desk.gateway.recorded();
        Self { desk, payment_id: payment_id.into(), gateway, record }
    }

    /// Makes one request, `asking` of [`Calls::gateway`]. That it cannot be written down now keeps nobody from asking.
    pub(super) async fn make<T>(
        &self,
        path: &str,
        request_id: Option<&RequestId>,
        asking: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let begun = self.begin(path, request_id).await;
        let answer = asking.await;
        let written = match begun {
            Ok(call) => self.end(call, &answer).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            let payment_id = self.payment_id.map(|id| id.to_string());
            tracing::warn!(payment_id, path, %error, "a call of the gateway could not be written down");
        }
        answer
    }

    async fn begin(&self, path: &str, request_id: Option<&RequestId>) -> Result<CallId, StoreError> {
        let mut conn = self.desk.services.db.conn().await?;
        let request_id = request_id.map(RequestId::as_str);
        gateway_calls::begin(&mut conn, self.payment_id, path, request_id, self.desk.now()).await
    }

    async fn end<T>(&self, call: CallId, answer: &Result<T, Error>) -> Result<(), StoreError> {
        let ended = gateway::ended(call, answer, self.record.take());
        let mut conn = self.desk.services.db.conn().await?;
        gateway_calls::end(&mut conn, &ended, self.desk.now()).await
    }
}
