//! `billing.v1.Payments`

use std::time::Duration;

use billing::payment::PaymentState;
use billing::store::payments::{Created, NewPayment, PaymentView, SubmitError};
use billing::tasks::{ChargePayment, CompleteThreeDs};
use billing::{PaymentId, Services, store};
use celeriac::{SendOptions, Task};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::{Extensions, Request, Response, Status};

use crate::caller::Caller;
use crate::convert;
use crate::deadline::Deadline;
use crate::error::ApiError;
use crate::gateway_rest::GatewayRest;
use crate::outage::Outages;
use crate::proto::payments_server::Payments;
use crate::proto::{CreatePaymentRequest, GetPaymentRequest, Payment, SubmitThreeDsRequest, WatchPaymentRequest};
use crate::streams::Streams;
use crate::validation::{self, NewPaymentForm, ThreeDsForm};
use crate::watch::{self, Watch, Watched};
use crate::writes::Writes;

/// Response header: an earlier call with this idempotency key made the payment.
pub(crate) const REPLAYED: &str = "idempotent-replayed";

/// How long an answer waits for the broker to take the message. The payment is stored already and the timetable sends
/// the message again, so a customer need not wait for a broker that is out of reach.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(2);

/// Broker outages as they show when tasks are sent.
static NOT_SENT: Outages = Outages::new();

pub(crate) struct PaymentsApi {
    pub(crate) services: Services,
    pub(crate) streams: Streams,
    /// How often a watched payment is looked at although nothing woke us.
    pub(crate) reread: Duration,
    pub(crate) writes: Writes,
    pub(crate) gateway_rest: GatewayRest,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Payments for PaymentsApi {
    type WatchPaymentStream = BoxStream<'static, Result<Payment, Status>>;

    async fn create_payment(&self, request: Request<CreatePaymentRequest>) -> Result<Response<Payment>, Status> {
        let (_, extensions, message) = request.into_parts();
        let mut form = NewPaymentForm::try_from(message)?;
        let caller = Caller::of(&extensions)?;
        caller.own(form.account_id)?;
        form.idempotency_key = caller.payment_key(form.idempotency_key);
        let creating = create(self.services.clone(), self.gateway_rest.clone(), form);
        let created = self.writes.finish(&extensions, creating).await?;
        let mut response = Response::new(convert::payment(created.payment));
        if created.replayed {
            response.metadata_mut().insert(REPLAYED, MetadataValue::from_static("true"));
        }
        Ok(response)
    }

    async fn get_payment(&self, request: Request<GetPaymentRequest>) -> Result<Response<Payment>, Status> {
        let id = validation::payment_id(&request.get_ref().payment_id)?;
        concerns(id);
        Ok(Response::new(watch::read(&self.services, id, Caller::of(request.extensions())?).await?))
    }

    async fn watch_payment(
        &self,
        request: Request<WatchPaymentRequest>,
    ) -> Result<Response<Self::WatchPaymentStream>, Status> {
        let id = validation::payment_id(&request.get_ref().payment_id)?;
        concerns(id);
        let watch = self.watch(id, request.extensions()).await?;
        Ok(Response::new(watch.into_stream().boxed()))
    }

    async fn submit_three_ds(&self, request: Request<SubmitThreeDsRequest>) -> Result<Response<Payment>, Status> {
        let (_, extensions, message) = request.into_parts();
        let form = ThreeDsForm::try_from(message)?;
        concerns(form.payment_id);
        // Whose it is never changes, so it need not be looked at under the lock.
        watch::read(&self.services, form.payment_id, Caller::of(&extensions)?).await?;
        let payment = self.writes.finish(&extensions, submit(self.services.clone(), form)).await?;
        Ok(Response::new(convert::payment(payment)))
    }
}

impl PaymentsApi {
    async fn watch(&self, id: PaymentId, extensions: &Extensions) -> Result<Watch, ApiError> {
        let caller = Caller::of(extensions)?;
        let deadline = Deadline::within(extensions)?;
        let permit = self.streams.open(caller)?;
        let watched = Watched { id, caller: caller.clone() };
        Watch::open(self.services.clone(), watched, self.reread, deadline, self.shutdown.clone(), permit).await
    }
}

/// What is logged of this request from here on names the payment.
fn concerns(id: PaymentId) {
    tracing::Span::current().record("payment_id", tracing::field::display(id));
}

/// Stores bill and payment, commits, and only then tells the workers: none can see a payment that is not there.
async fn create(services: Services, gateway: GatewayRest, form: NewPaymentForm) -> Result<Created, ApiError> {
    let new = NewPayment {
        account_id: form.account_id,
        tariff_id: form.tariff_id,
        cryptogram: form.cryptogram,
        ip_address: form.ip_address,
        idempotency_key: form.idempotency_key,
        trial: form.trial,
        now: services.db.now(),
    };
    let mut conn = services.db.conn().await?;
    let created = match gateway.until(&mut conn, new.now).await? {
        // What was begun before goes on all the same.
        Some(until) => store::payments::created_before(&mut conn, &new)
            .await?
            .ok_or_else(|| ApiError::gateway_rests(until, new.now))?,
        None => store::payments::create(&mut conn, new, &services.cipher).await?,
    };
    drop(conn);

    let PaymentView { id, account_id, state, .. } = created.payment;
    concerns(id);
    if !created.replayed {
        tracing::info!(%account_id, "payment created");
    }
    // Also when replayed: the first call may have failed to send it. A second message does no harm.
    if state == PaymentState::Created {
        wake_worker(&services, ChargePayment { payment_id: id }, ChargePayment::task_id(id)).await;
    }
    Ok(created)
}

async fn submit(services: Services, form: ThreeDsForm) -> Result<PaymentView, ApiError> {
    let ThreeDsForm { payment_id: id, md, pa_res } = form;
    let mut conn = services.db.conn().await?;
    let submitted =
        store::payments::submit_pa_res(&mut conn, id, md, pa_res, &services.cipher, services.db.now()).await;
    drop(conn);

    let payment = match submitted {
        Ok(payment) => {
            tracing::info!("3-D Secure answered");
            payment
        }
        Err(SubmitError::NotAwaiting(payment)) => posted_before(*payment, md)?,
        Err(error) => return Err(error.into()),
    };
    if payment.state == PaymentState::PostingThreeDs {
        wake_worker(&services, CompleteThreeDs { payment_id: id }, CompleteThreeDs::task_id(id)).await;
    }
    Ok(payment)
}

/// A payment that does not wait for 3-D Secure: fine if this very answer came before, for browsers post twice.
fn posted_before(payment: PaymentView, md: i64) -> Result<PaymentView, ApiError> {
    let was_posted = payment.state == PaymentState::PostingThreeDs || payment.posts > 0;
    match (was_posted, payment.transaction_id == Some(md)) {
        (true, true) => Ok(payment),
        (true, false) => Err(ApiError::WrongTransaction),
        (false, _) if payment.state == PaymentState::Abandoned => Err(ApiError::ThreeDsExpired),
        (false, _) => Err(ApiError::NotAwaitingThreeDs),
    }
}

/// Sends a task and waits for the broker's word, not for long. Failure is no error: the row is the truth, and the
/// timetable sends again what nobody has taken up.
pub(crate) async fn wake_worker<T: Task>(services: &Services, task: T, task_id: String) {
    let sent = services.app.send_with(task, SendOptions::new().task_id(task_id.as_str()));
    let error = match tokio::time::timeout(PUBLISH_PATIENCE, sent).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not confirmed within {PUBLISH_PATIENCE:?}"),
    };
    tracing::debug!(task = T::NAME, task_id, error, "not sent; the timetable will");
    if NOT_SENT.begins() {
        tracing::warn!(task = T::NAME, task_id, error, "tasks cannot be sent for now; the timetable will");
    }
}
