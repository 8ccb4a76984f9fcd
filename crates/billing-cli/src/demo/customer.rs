//! A customer, and the frontend and auth service that act for them, as gRPC clients.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use billing_api::proto::access_client::AccessClient;
use billing_api::proto::payments_client::PaymentsClient;
use billing_api::proto::refunds_client::RefundsClient;
use billing_api::proto::subscriptions_client::SubscriptionsClient;
use billing_api::proto::tariffs_client::TariffsClient;
use billing_api::proto::{
    AccountAccess, CancelRequest, ChangeTariffRequest, CheckAccessRequest, CloseAccountRequest, CreatePaymentRequest,
    ForgetCardRequest, GetPaymentRequest, GetRefundRequest, GetSubscriptionRequest, ListTariffsRequest, Payment,
    PaymentStatus, PreviewChangeRequest, Refund, RefundPaymentRequest, RefundStatus, RegisterAccountRequest,
    ReplaceCardRequest, ResumeRequest, SubmitThreeDsRequest, Subscription, Tariff, ThreeDs, Trial, WatchPaymentRequest,
};
use secrecy::{ExposeSecret as _, SecretString};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use uuid::Uuid;

/// The address that the bank's fraud checks are told (TEST-NET-3, RFC 5737).
const CUSTOMER_ADDRESS: &str = "203.0.113.7";

/// How long to wait between two looks at a refund.
const REFUND_POLL: Duration = Duration::from_millis(250);

/// The clients of the API: each has its own token and its own scopes.
#[derive(Clone)]
pub(super) struct Tokens {
    pub(super) frontend: SecretString,
    pub(super) auth: SecretString,
    pub(super) panel: SecretString,
}

/// The cinema, as its clients know it.
#[derive(Clone)]
pub(super) struct Cinema {
    channel: Channel,
    tokens: Tokens,
    /// How long anything may take before the demo gives up on it.
    patience: Duration,
}

/// An account at the cinema.
pub(super) struct Customer<'a> {
    cinema: &'a Cinema,
    pub account_id: String,
}

impl Cinema {
    pub(super) async fn connect(url: &str, tokens: Tokens, patience: Duration) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned()).context("DEMO_API_URL is not a URL")?;
        let channel = endpoint
            .connect_timeout(Duration::from_secs(5))
            .connect()
            .await
            .with_context(|| format!("cannot reach the API (DEMO_API_URL) at {url}"))?;
        Ok(Self { channel, tokens, patience })
    }

    /// What is on sale, cheapest first.
    pub(super) async fn tariffs(&self) -> anyhow::Result<Vec<Tariff>> {
        let mut client = TariffsClient::new(self.channel.clone());
        let request = self.as_frontend(ListTariffsRequest {})?;
        Ok(client.list_tariffs(request).await.map_err(told)?.into_inner().tariffs)
    }

    /// Registers a new account, as the auth service does when somebody signs up.
    pub(super) async fn sign_up(&self) -> anyhow::Result<Customer<'_>> {
        let account_id = Uuid::new_v4().to_string();
        let request = self.as_auth(RegisterAccountRequest { account_id: account_id.clone() })?;
        AccessClient::new(self.channel.clone()).register_account(request).await.map_err(told)?;
        Ok(Customer { cinema: self, account_id })
    }

    fn as_frontend<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        self.request(message, &self.tokens.frontend).context("DEMO_FRONTEND_TOKEN")
    }

    fn as_auth<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        self.request(message, &self.tokens.auth).context("DEMO_AUTH_TOKEN")
    }

    fn as_panel<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        self.request(message, &self.tokens.panel).context("DEMO_PANEL_TOKEN")
    }

    /// The staff gives money of a payment back, and looks at it until it is there.
    pub(super) async fn gives_back(&self, payment: &Payment, kopecks: i64, reason: &str) -> anyhow::Result<Refund> {
        let mut client = RefundsClient::new(self.channel.clone());
        let request = self.as_panel(RefundPaymentRequest {
            payment_id: payment.payment_id.clone(),
            amount_kopecks: kopecks,
            reason: reason.to_owned(),
            actor: "anna".to_owned(),
            actor_role: "accountant".to_owned(),
            idempotency_key: Uuid::new_v4().to_string(),
            ..RefundPaymentRequest::default()
        })?;
        let mut refund = client.refund_payment(request).await.map_err(told)?.into_inner();
        let until = tokio::time::Instant::now() + self.patience;
        while !matches!(refund.status(), RefundStatus::Succeeded | RefundStatus::Failed) {
            ensure!(tokio::time::Instant::now() < until, "the refund does not end: {refund:?}");
            tokio::time::sleep(REFUND_POLL).await;
            let request = self.as_panel(GetRefundRequest { refund_id: refund.refund_id.clone() })?;
            refund = client.get_refund(request).await.map_err(told)?.into_inner();
        }
        Ok(refund)
    }

    fn request<T>(&self, message: T, token: &SecretString) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        let mut value: MetadataValue<_> = format!("Bearer {}", token.expose_secret()).parse()?;
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
        request.set_timeout(self.patience);
        Ok(request)
    }
}

impl Customer<'_> {
    /// Starts a payment; the key makes it safe to ask again.
    pub(super) async fn pay(&self, tariff: &Tariff, cryptogram: &str, key: &str) -> anyhow::Result<Payment> {
        self.pay_or_try(tariff, None, cryptogram, key).await
    }

    /// Starts the trial of a tariff, for the terms that are shown.
    pub(super) async fn try_out(&self, tariff: &Tariff, cryptogram: &str) -> anyhow::Result<Payment> {
        let shown = tariff.trial.clone().context("the tariff has no trial")?;
        self.pay_or_try(tariff, Some(shown), cryptogram, &Uuid::new_v4().to_string()).await
    }

    async fn pay_or_try(
        &self,
        tariff: &Tariff,
        trial: Option<Trial>,
        cryptogram: &str,
        key: &str,
    ) -> anyhow::Result<Payment> {
        let request = self.cinema.as_frontend(CreatePaymentRequest {
            account_id: self.account_id.clone(),
            tariff_id: tariff.tariff_id.clone(),
            card_cryptogram_packet: cryptogram.to_owned(),
            ip_address: CUSTOMER_ADDRESS.to_owned(),
            idempotency_key: key.to_owned(),
            trial,
        })?;
        Ok(self.payments().create_payment(request).await.map_err(told)?.into_inner())
    }

    /// Gives another card; the payment is the one that brings it.
    pub(super) async fn replace_card(&self, cryptogram: &str, pay_debt: bool) -> anyhow::Result<Payment> {
        let request = self.cinema.as_frontend(ReplaceCardRequest {
            account_id: self.account_id.clone(),
            idempotency_key: Uuid::new_v4().to_string(),
            card_cryptogram_packet: cryptogram.to_owned(),
            ip_address: CUSTOMER_ADDRESS.to_owned(),
            pay_debt,
        })?;
        let mut client = SubscriptionsClient::new(self.cinema.channel.clone());
        Ok(client.replace_card(request).await.map_err(told)?.into_inner())
    }

    /// Follows a payment until it is final.
    pub(super) async fn outcome(&self, payment: &Payment) -> anyhow::Result<Payment> {
        self.watch(payment, is_final).await
    }

    /// Follows a payment until the bank wants to see the customer.
    pub(super) async fn three_ds(&self, payment: &Payment) -> anyhow::Result<ThreeDs> {
        let seen = self.watch(payment, |payment| payment.three_ds.is_some() || is_final(payment)).await?;
        let status = seen.status();
        seen.three_ds.with_context(|| format!("the bank did not ask: {}", status.as_str_name()))
    }

    /// Hands over what the bank's page sent back.
    pub(super) async fn submit_three_ds(&self, payment: &Payment, md: String, pa_res: String) -> anyhow::Result<()> {
        let message = SubmitThreeDsRequest { payment_id: payment.payment_id.clone(), md, pa_res };
        let request = self.cinema.as_frontend(message)?;
        self.payments().submit_three_ds(request).await.map(drop).map_err(told)
    }

    /// Changes to a dearer tariff at once, for what the preview says; returns that amount and the payment.
    pub(super) async fn change_at_once(&self, tariff: &Tariff) -> anyhow::Result<(i64, Payment)> {
        let mut subscriptions = SubscriptionsClient::new(self.cinema.channel.clone());
        let (account_id, tariff_id) = (self.account_id.clone(), tariff.tariff_id.clone());
        let message = PreviewChangeRequest { account_id: account_id.clone(), tariff_id: tariff_id.clone() };
        let shown = subscriptions.preview_change(self.cinema.as_frontend(message)?).await.map_err(told)?.into_inner();
        let previewed_amount_kopecks = shown.at_once_amount_kopecks;
        let idempotency_key = Uuid::new_v4().to_string();
        let message =
            ChangeTariffRequest { account_id, tariff_id, idempotency_key, at_once: true, previewed_amount_kopecks };
        let changed = subscriptions.change_tariff(self.cinema.as_frontend(message)?).await.map_err(told)?.into_inner();
        let asked = GetPaymentRequest { payment_id: changed.renewal_payment_id };
        let payment = self.payments().get_payment(self.cinema.as_frontend(asked)?).await.map_err(told)?.into_inner();
        Ok((previewed_amount_kopecks, payment))
    }

    /// What the auth service is told about this account.
    pub(super) async fn access(&self) -> anyhow::Result<AccountAccess> {
        let request = self.cinema.as_auth(CheckAccessRequest { account_id: self.account_id.clone() })?;
        let answer = AccessClient::new(self.cinema.channel.clone()).check_access(request).await;
        Ok(answer.map_err(told)?.into_inner())
    }

    /// What the account page shows.
    pub(super) async fn subscription(&self) -> anyhow::Result<Subscription> {
        let request = self.cinema.as_frontend(GetSubscriptionRequest { account_id: self.account_id.clone() })?;
        Ok(self.subscriptions().get_subscription(request).await.map_err(told)?.into_inner())
    }

    pub(super) async fn cancel(&self) -> anyhow::Result<Subscription> {
        let (account_id, idempotency_key) = self.verb();
        let request = self.cinema.as_frontend(CancelRequest { account_id, idempotency_key })?;
        Ok(self.subscriptions().cancel(request).await.map_err(told)?.into_inner())
    }

    pub(super) async fn resume(&self) -> anyhow::Result<Subscription> {
        let (account_id, idempotency_key) = self.verb();
        let request = self.cinema.as_frontend(ResumeRequest { account_id, idempotency_key })?;
        Ok(self.subscriptions().resume(request).await.map_err(told)?.into_inner())
    }

    pub(super) async fn forget_card(&self) -> anyhow::Result<Subscription> {
        let (account_id, idempotency_key) = self.verb();
        let request = self.cinema.as_frontend(ForgetCardRequest { account_id, idempotency_key })?;
        Ok(self.subscriptions().forget_card(request).await.map_err(told)?.into_inner())
    }

    /// Asks to be forgotten.
    pub(super) async fn close_account(&self, access_ends_at_once: bool) -> anyhow::Result<Subscription> {
        let (account_id, idempotency_key) = self.verb();
        let message = CloseAccountRequest { account_id, access_ends_at_once, idempotency_key };
        let request = self.cinema.as_frontend(message)?;
        Ok(self.subscriptions().close_account(request).await.map_err(told)?.into_inner())
    }

    fn verb(&self) -> (String, String) {
        (self.account_id.clone(), Uuid::new_v4().to_string())
    }

    fn subscriptions(&self) -> SubscriptionsClient<Channel> {
        SubscriptionsClient::new(self.cinema.channel.clone())
    }

    async fn watch(&self, payment: &Payment, enough: impl Fn(&Payment) -> bool) -> anyhow::Result<Payment> {
        let request = self.cinema.as_frontend(WatchPaymentRequest { payment_id: payment.payment_id.clone() })?;
        let mut changes = self.payments().watch_payment(request).await.map_err(told)?.into_inner();
        while let Some(seen) = changes.message().await.map_err(told)? {
            if enough(&seen) {
                return Ok(seen);
            }
        }
        anyhow::bail!("the stream of payment {} ended before the payment did", payment.payment_id)
    }

    fn payments(&self) -> PaymentsClient<Channel> {
        PaymentsClient::new(self.cinema.channel.clone())
    }
}

fn is_final(payment: &Payment) -> bool {
    matches!(
        payment.status(),
        PaymentStatus::Succeeded
            | PaymentStatus::Declined
            | PaymentStatus::Failed
            | PaymentStatus::Refunded
            | PaymentStatus::TrialRefused
            | PaymentStatus::Abandoned
            | PaymentStatus::Duplicate
    )
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn told(status: Status) -> anyhow::Error {
    anyhow::anyhow!("{:?}: {}", status.code(), status.message())
}
