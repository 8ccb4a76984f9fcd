//! `billing.v1.Refunds`

use billing::models::RefundRow;
use billing::refund::RefundState;
use billing::store::refunds::{self, Ask, Requested};
use billing::tasks::RefundPayment;
use billing::{RefundId, Services, trail};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::caller::Caller;
use crate::convert;
use crate::error::{ApiError, Resource};
use crate::payments::{REPLAYED, wake_worker};
use crate::proto::refunds_server::Refunds;
use crate::proto::{
    ApproveRefundRequest, GetRefundRequest, ListRefundsRequest, ListRefundsResponse, Refund, RefundPaymentRequest,
    WithdrawRefundRequest,
};
use crate::validation::{self, RefundForm};
use crate::writes::Writes;

pub(crate) struct RefundsApi {
    pub(crate) services: Services,
    pub(crate) writes: Writes,
}

#[tonic::async_trait]
impl Refunds for RefundsApi {
    async fn refund_payment(&self, request: Request<RefundPaymentRequest>) -> Result<Response<Refund>, Status> {
        let (_, extensions, message) = request.into_parts();
        let form = RefundForm::try_from(message)?;
        let ask = Ask {
            payment_id: form.payment_id,
            amount: form.amount,
            effect: form.effect,
            reason: form.reason,
            who: form.actor,
            role: form.role,
            client: Caller::of(&extensions)?.name.to_string(),
            idempotency_key: form.idempotency_key,
            now: self.services.db.now(),
        };
        let services = self.services.clone();
        let asked = self.writes.finish(&extensions, by_staff(ask_for(services, ask))).await?;
        let mut response = Response::new(convert::refund(asked.refund));
        if asked.replayed {
            response.metadata_mut().insert(REPLAYED, MetadataValue::from_static("true"));
        }
        Ok(response)
    }

    async fn get_refund(&self, request: Request<GetRefundRequest>) -> Result<Response<Refund>, Status> {
        let id = validation::refund_id(&request.get_ref().refund_id)?;
        let mut conn = self.services.db.conn().await.map_err(ApiError::from)?;
        let found = refunds::get(&mut conn, id).await.map_err(ApiError::from)?;
        let found = found.ok_or_else(|| ApiError::not_found(Resource::Refund, &id))?;
        Ok(Response::new(convert::refund(found)))
    }

    async fn list_refunds(
        &self,
        request: Request<ListRefundsRequest>,
    ) -> Result<Response<ListRefundsResponse>, Status> {
        let mut listing = validation::refunds(request.get_ref())?;
        // One more tells whether there is another page.
        let page = usize::try_from(listing.limit).unwrap_or_default();
        listing.limit += 1;
        let mut conn = self.services.db.conn().await.map_err(ApiError::from)?;
        let mut rows = refunds::list(&mut conn, &listing).await.map_err(ApiError::from)?;
        let has_more = rows.len() > page;
        rows.truncate(page);
        let last = rows.last().filter(|_| has_more).map(|row| row.id.to_string());
        let refunds = rows.into_iter().map(convert::refund).collect();
        Ok(Response::new(ListRefundsResponse { refunds, next_page_token: last.unwrap_or_default() }))
    }

    async fn approve_refund(&self, request: Request<ApproveRefundRequest>) -> Result<Response<Refund>, Status> {
        let (_, extensions, message) = request.into_parts();
        let form = validation::approval(&message)?;
        let services = self.services.clone();
        let approving = async move {
            let mut conn = services.db.conn().await?;
            let row = refunds::approve(&mut conn, form.id, &form.actor, &form.role, services.db.now()).await?;
            drop(conn);
            tracing::info!(refund_id = %row.id, by = form.actor, "a refund is approved");
            wake(&services, &row).await;
            Ok(row)
        };
        let row = self.writes.finish(&extensions, by_staff(approving)).await?;
        Ok(Response::new(convert::refund(row)))
    }

    async fn withdraw_refund(&self, request: Request<WithdrawRefundRequest>) -> Result<Response<Refund>, Status> {
        let (_, extensions, message) = request.into_parts();
        let (id, actor): (RefundId, String) = validation::withdrawal(&message)?;
        let services = self.services.clone();
        let withdrawing = async move {
            let mut conn = services.db.conn().await?;
            let row = refunds::withdraw(&mut conn, id, &actor, services.db.now()).await?;
            tracing::info!(refund_id = %row.id, by = actor, "a refund is taken back");
            Ok(row)
        };
        let row = self.writes.finish(&extensions, by_staff(withdrawing)).await?;
        Ok(Response::new(convert::refund(row)))
    }
}

/// Whatever is written into the log of events is a person's doing.
async fn by_staff<T>(write: impl Future<Output = T>) -> T {
    let trail = trail::Trail { source: billing::event::Source::Staff, ..trail::current() };
    trail::follow(trail, write).await
}

/// Writes a refund down, commits, and only then tells the workers.
async fn ask_for(services: Services, ask: Ask) -> Result<Requested, ApiError> {
    let mut conn = services.db.conn().await?;
    let asked = refunds::request(&mut conn, &ask).await?;
    drop(conn);
    if !asked.replayed {
        let row = &asked.refund;
        tracing::info!(refund_id = %row.id, payment_id = %row.payment_id, amount = row.amount.get(), by = ask.who, "a refund is asked for");
    }
    // Also when replayed: the first call may have failed to send it. A second message does no harm.
    wake(&services, &asked.refund).await;
    Ok(asked)
}

async fn wake(services: &Services, row: &RefundRow) {
    if row.state == RefundState::Requested && !row.waits_for_approval() {
        wake_worker(services, RefundPayment { refund_id: row.id }, RefundPayment::task_id(row.id)).await;
    }
}
