//! `billing.v1.Subscriptions`

use billing::bill::BillKind;
use billing::payment::PaymentState;
use billing::store::subscriptions::{self, NewCard, Replacing, Verb, Written};
use billing::tasks::ChargePayment;
use billing::{AccountId, Kopecks, PaymentId, Services, TariffId};
use tonic::metadata::MetadataValue;
use tonic::{Extensions, Request, Response, Status};

use crate::caller::Caller;
use crate::error::{ApiError, Resource};
use crate::gateway_rest::GatewayRest;
use crate::payments::{REPLAYED, wake_worker};
use crate::proto::subscriptions_server::Subscriptions;
use crate::proto::{
    Bill, CancelRequest, ChangePreview, ChangeTariffRequest, CloseAccountRequest, ForgetCardRequest, GetBillRequest,
    GetSubscriptionRequest, ListBillsRequest, ListBillsResponse, ListPaymentsRequest, ListPaymentsResponse, Payment,
    PreviewChangeRequest, ReplaceCardRequest, ResumeRequest, Subscription,
};
use crate::validation::{self, ChangeTariffForm, ReplaceCardForm, VerbForm};
use crate::writes::Writes;
use crate::{convert, explained};

pub(crate) struct SubscriptionsApi {
    pub(crate) services: Services,
    pub(crate) writes: Writes,
    pub(crate) gateway_rest: GatewayRest,
}

#[tonic::async_trait]
impl Subscriptions for SubscriptionsApi {
    async fn get_subscription(
        &self,
        request: Request<GetSubscriptionRequest>,
    ) -> Result<Response<Subscription>, Status> {
        let id = validation::account_id(&request.get_ref().account_id)?;
        Caller::of(request.extensions())?.own(id)?;
        let mut conn = self.services.db.conn().await.map_err(ApiError::from)?;
        let found = subscriptions::get(&mut conn, id).await.map_err(ApiError::from)?;
        drop(conn);
        let found = found.ok_or_else(|| ApiError::not_found(Resource::Account, &id))?;
        Ok(Response::new(explained::subscription(&found, &self.services.times, self.services.db.now())))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<Subscription>, Status> {
        let (_, extensions, message) = request.into_parts();
        let form = validation::verb(&message.account_id, &message.idempotency_key)?;
        self.write(&extensions, form, Asked::Verb(Verb::Cancel)).await
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<Subscription>, Status> {
        let (_, extensions, message) = request.into_parts();
        let form = validation::verb(&message.account_id, &message.idempotency_key)?;
        self.write(&extensions, form, Asked::Verb(Verb::Resume)).await
    }

    async fn forget_card(&self, request: Request<ForgetCardRequest>) -> Result<Response<Subscription>, Status> {
        let (_, extensions, message) = request.into_parts();
        let form = validation::verb(&message.account_id, &message.idempotency_key)?;
        self.write(&extensions, form, Asked::Verb(Verb::ForgetCard)).await
    }

    async fn change_tariff(&self, request: Request<ChangeTariffRequest>) -> Result<Response<Subscription>, Status> {
        let (_, extensions, message) = request.into_parts();
        let form = ChangeTariffForm::try_from(message)?;
        self.write(&extensions, form.verb, Asked::Tariff { id: form.tariff_id, at_once: form.at_once }).await
    }

    async fn preview_change(&self, request: Request<PreviewChangeRequest>) -> Result<Response<ChangePreview>, Status> {
        let (account_id, tariff_id) = validation::preview(request.get_ref())?;
        Caller::of(request.extensions())?.own(account_id)?;
        let mut conn = self.services.db.conn().await.map_err(ApiError::from)?;
        let preview = subscriptions::preview_change(&mut conn, account_id, tariff_id, self.services.db.now())
            .await
            .map_err(ApiError::from)?;
        drop(conn);
        Ok(Response::new(convert::preview(preview)))
    }

    async fn close_account(&self, request: Request<CloseAccountRequest>) -> Result<Response<Subscription>, Status> {
        let (_, extensions, message) = request.into_parts();
        let form = validation::verb(&message.account_id, &message.idempotency_key)?;
        let request = self.request(&extensions, form.account_id, form.idempotency_key)?;
        let closing = close(self.services.clone(), request, message.access_ends_at_once);
        Ok(self.answer(&self.writes.finish(&extensions, closing).await?))
    }

    async fn replace_card(&self, request: Request<ReplaceCardRequest>) -> Result<Response<Payment>, Status> {
        let (_, extensions, message) = request.into_parts();
        let form = ReplaceCardForm::try_from(message)?;
        let request = self.request(&extensions, form.account_id, form.idempotency_key)?;
        let new = NewCard { cryptogram: form.cryptogram, ip_address: form.ip_address, pay_debt: form.pay_debt };
        let replacing = replace(self.services.clone(), self.gateway_rest.clone(), request, new);
        let Replacing { payment, replayed } = self.writes.finish(&extensions, replacing).await?;
        Ok(answered(convert::payment(payment), replayed))
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let caller = Caller::of(request.extensions())?.clone();
        let request = request.into_inner();
        let form = validation::list(&request.account_id, request.page_size, &request.page_token)?;
        caller.own(form.account_id)?;
        let mut conn = self.services.db.conn().await.map_err(ApiError::from)?;
        let page = subscriptions::payments(&mut conn, form.account_id, form.before.map(Into::into), form.limit)
            .await
            .map_err(ApiError::from)?
            .ok_or_else(|| ApiError::not_found(Resource::Account, &form.account_id))?;
        Ok(Response::new(ListPaymentsResponse {
            payments: page.rows.into_iter().map(convert::payment).collect(),
            next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn list_bills(&self, request: Request<ListBillsRequest>) -> Result<Response<ListBillsResponse>, Status> {
        let caller = Caller::of(request.extensions())?.clone();
        let request = request.into_inner();
        let form = validation::list(&request.account_id, request.page_size, &request.page_token)?;
        caller.own(form.account_id)?;
        let mut conn = self.services.db.conn().await.map_err(ApiError::from)?;
        let page = subscriptions::bills(&mut conn, form.account_id, form.before.map(Into::into), form.limit)
            .await
            .map_err(ApiError::from)?
            .ok_or_else(|| ApiError::not_found(Resource::Account, &form.account_id))?;
        Ok(Response::new(ListBillsResponse {
            bills: page.rows.into_iter().map(convert::bill).collect(),
            next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn get_bill(&self, request: Request<GetBillRequest>) -> Result<Response<Bill>, Status> {
        let id = validation::bill_id(&request.get_ref().bill_id)?;
        let caller = Caller::of(request.extensions())?;
        let mut conn = self.services.db.conn().await.map_err(ApiError::from)?;
        let found = subscriptions::bill(&mut conn, id).await.map_err(ApiError::from)?;
        let found = found.filter(|bill| caller.sees(bill.account_id));
        let found = found.ok_or_else(|| ApiError::not_found(Resource::Bill, &id))?;
        Ok(Response::new(convert::bill(found)))
    }
}

impl SubscriptionsApi {
    /// What the caller asks for, which must be about an account of its own.
    fn request(
        &self,
        extensions: &Extensions,
        account_id: AccountId,
        idempotency_key: String,
    ) -> Result<subscriptions::Request, ApiError> {
        let caller = Caller::of(extensions)?;
        Ok(subscriptions::Request {
            account_id: caller.own(account_id)?,
            client: caller.name.to_string(),
            idempotency_key,
            now: self.services.db.now(),
        })
    }

    async fn write(
        &self,
        extensions: &Extensions,
        form: VerbForm,
        asked: Asked,
    ) -> Result<Response<Subscription>, Status> {
        let request = self.request(extensions, form.account_id, form.idempotency_key)?;
        let performing = perform(self.services.clone(), self.gateway_rest.clone(), request, asked);
        let written = self.writes.finish(extensions, performing).await?;
        Ok(self.answer(&written))
    }

    fn answer(&self, written: &Written) -> Response<Subscription> {
        let now = self.services.db.now();
        answered(explained::subscription(&written.subscription, &self.services.times, now), written.replayed)
    }
}

/// What a subscriber asks for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Verb(Verb),
    /// This tariff, from the next period on or for the amount that was shown.
    Tariff {
        id: TariffId,
        at_once: Option<Kopecks>,
    },
}

async fn perform(
    services: Services,
    gateway: GatewayRest,
    request: subscriptions::Request,
    asked: Asked,
) -> Result<Written, ApiError> {
    let mut conn = services.db.conn().await?;
    let written = match asked {
        Asked::Verb(verb) => subscriptions::perform(&mut conn, &request, verb).await?,
        Asked::Tariff { id, at_once: None } => subscriptions::change_tariff(&mut conn, &request, id).await?,
        Asked::Tariff { id, at_once: Some(shown) } => {
            match gateway.until(&mut conn, request.now).await? {
                // What was begun before goes on all the same.
                Some(until) => subscriptions::changed_before(&mut conn, &request, id, shown)
                    .await?
                    .ok_or_else(|| ApiError::gateway_rests(until, request.now))?,
                None => subscriptions::change_tariff_at_once(&mut conn, &request, id, shown).await?,
            }
        }
    };
    drop(conn);
    if !written.replayed {
        tracing::info!(account_id = %request.account_id, ?asked, "done for a subscriber");
        services.bell.ring();
    }
    // Also when replayed: the first call may have failed to send it. A second message does no harm.
    if let Some(id) = unsent_change(&written.subscription) {
        wake_worker(&services, ChargePayment { payment_id: id }, ChargePayment::task_id(id)).await;
    }
    Ok(written)
}

async fn close(services: Services, request: subscriptions::Request, at_once: bool) -> Result<Written, ApiError> {
    let mut conn = services.db.conn().await?;
    let written = subscriptions::close(&mut conn, &request, at_once).await?;
    drop(conn);
    if !written.replayed {
        tracing::info!(account_id = %request.account_id, at_once, "closed: its person asks to be forgotten");
        services.bell.ring();
    }
    Ok(written)
}

/// The payment of a change at once that was not sent yet. The customer waits for it as for a first payment.
fn unsent_change(subscription: &billing::store::subscriptions::Subscription) -> Option<PaymentId> {
    let open = subscription.open.as_ref().filter(|open| open.bill.kind == BillKind::Change)?;
    let (payment, _) = open.payment.as_ref()?;
    (payment.state == PaymentState::Created).then_some(payment.id)
}

/// Begins to replace a card, commits, and only then tells the workers.
async fn replace(
    services: Services,
    gateway: GatewayRest,
    request: subscriptions::Request,
    new: NewCard,
) -> Result<Replacing, ApiError> {
    let mut conn = services.db.conn().await?;
    let replacing = match gateway.until(&mut conn, request.now).await? {
        // What was begun before goes on all the same.
        Some(until) => subscriptions::replaced_before(&mut conn, &request, &new)
            .await?
            .ok_or_else(|| ApiError::gateway_rests(until, request.now))?,
        None => subscriptions::replace_card(&mut conn, &request, &new, &services.cipher).await?,
    };
    drop(conn);
    let id = replacing.payment.id;
    if !replacing.replayed {
        tracing::info!(account_id = %request.account_id, payment_id = %id, "a card is to be replaced");
        services.bell.ring();
    }
    // Also when replayed: the first call may have failed to send it. A second message does no harm.
    if replacing.payment.state == PaymentState::Created {
        wake_worker(&services, ChargePayment { payment_id: id }, ChargePayment::task_id(id)).await;
    }
    Ok(replacing)
}

fn answered<T>(message: T, replayed: bool) -> Response<T> {
    let mut response = Response::new(message);
    if replayed {
        response.metadata_mut().insert(REPLAYED, MetadataValue::from_static("true"));
    }
    response
}
