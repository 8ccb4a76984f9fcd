//! The frontend, the auth service and the gateway's ledger, as the tests use them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use billing_api::proto::access_client::AccessClient;
use billing_api::proto::payments_client::PaymentsClient;
use billing_api::proto::refunds_client::RefundsClient;
use billing_api::proto::subscriptions_client::SubscriptionsClient;
use billing_api::proto::tariffs_client::TariffsClient;
use billing_api::proto::{
    ChangeTariffRequest, CloseAccountRequest, CreatePaymentRequest, GetPaymentRequest, ListTariffsRequest, Payment,
    PaymentStatus, PreviewChangeRequest, Refund, RefundPaymentRequest, RegisterAccountRequest, ReplaceCardRequest,
    SubmitThreeDsRequest, Tariff, ThreeDs, period::Length,
};
use serde::Deserialize;
use serde_json::json;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

/// Pays without 3-D Secure.
pub(crate) const CARD: &str = "4000000000003055";
/// Pays once the customer has answered the bank's page.
pub(crate) const ASKS_THREE_DS: &str = "4242424242424242";

#[derive(Clone)]
pub(crate) struct Cinema {
    channel: Channel,
    http: reqwest::Client,
    sandbox: String,
    tariffs: Vec<Tariff>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    status: String,
    #[serde(rename = "type")]
    kind: String,
    json_data: Option<String>,
}

impl Cinema {
    pub(crate) async fn connect(api: SocketAddr, sandbox: SocketAddr) -> Self {
        // Whoever is first installs it; the others find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let channel = Endpoint::from_shared(format!("http://{api}")).unwrap().connect().await.unwrap();
        let answer = TariffsClient::new(channel.clone()).list_tariffs(as_frontend(ListTariffsRequest {})).await;
        let tariffs = answer.unwrap().into_inner().tariffs;
        Self { channel, http: reqwest::Client::new(), sandbox: format!("http://{sandbox}"), tariffs }
    }

    /// A new account.
    pub(crate) async fn sign_up(&self) -> String {
        let account_id = Uuid::new_v4().to_string();
        let mut request = Request::new(RegisterAccountRequest { account_id: account_id.clone() });
        request.metadata_mut().insert("authorization", "Bearer auth-dev".parse().unwrap());
        AccessClient::new(self.channel.clone()).register_account(request).await.unwrap();
        account_id
    }

    /// Asks to be forgotten.
    pub(crate) async fn close_account(&self, account_id: &str) {
        let request = CloseAccountRequest {
            account_id: account_id.to_owned(),
            access_ends_at_once: true,
            idempotency_key: Uuid::new_v4().to_string(),
        };
        SubscriptionsClient::new(self.channel.clone()).close_account(as_frontend(request)).await.unwrap();
    }

    /// The staff gives all of a payment back.
    pub(crate) async fn give_back(&self, payment_id: &str) -> Refund {
        let mut request = Request::new(RefundPaymentRequest {
            payment_id: payment_id.to_owned(),
            reason: "a test".to_owned(),
            actor: "anna".to_owned(),
            actor_role: "accountant".to_owned(),
            idempotency_key: Uuid::new_v4().to_string(),
            ..RefundPaymentRequest::default()
        });
        request.metadata_mut().insert("authorization", "Bearer panel-dev".parse().unwrap());
        RefundsClient::new(self.channel.clone()).refund_payment(request).await.unwrap().into_inner()
    }

    /// How many refunds the gateway has made.
    pub(crate) async fn refunds_made(&self) -> usize {
        let url = format!("{}/sandbox/ledger", self.sandbox);
        let entries: Vec<Entry> = self.http.get(url).send().await.unwrap().json().await.unwrap();
        entries.iter().filter(|entry| entry.kind == "Refund" && entry.status == "Completed").count()
    }

    /// A payment for a month, asked for again with the same key until the API answers.
    pub(crate) async fn pay(&self, account_id: &str) -> Payment {
        self.buy(account_id, CARD, Length::Months(1)).await
    }

    /// The same with another card, or for another time.
    pub(crate) async fn buy(&self, account_id: &str, card: &str, length: Length) -> Payment {
        self.buy_with(account_id, &self.cryptogram(card).await, length).await
    }

    pub(crate) async fn buy_with(&self, account_id: &str, cryptogram: &str, length: Length) -> Payment {
        let request = CreatePaymentRequest {
            account_id: account_id.to_owned(),
            tariff_id: self.tariff(length),
            card_cryptogram_packet: cryptogram.to_owned(),
            ip_address: "203.0.113.7".to_owned(),
            idempotency_key: Uuid::new_v4().to_string(),
            trial: None,
        };
        testkit::eventually(Duration::from_secs(60), async || {
            let answer = PaymentsClient::new(self.channel.clone()).create_payment(as_frontend(request.clone())).await;
            answer.map(tonic::Response::into_inner)
        })
        .await
    }

    /// The id of the tariff of this length.
    pub(crate) fn tariff(&self, length: Length) -> String {
        let sold = |tariff: &&Tariff| tariff.period.unwrap().length == Some(length);
        self.tariffs.iter().find(sold).expect("a seeded tariff").tariff_id.clone()
    }

    /// Gives another card, which is to be verified.
    pub(crate) async fn replace_card(&self, account_id: &str, card: &str) -> Payment {
        let request = ReplaceCardRequest {
            account_id: account_id.to_owned(),
            idempotency_key: Uuid::new_v4().to_string(),
            card_cryptogram_packet: self.cryptogram(card).await,
            ip_address: "203.0.113.7".to_owned(),
            pay_debt: false,
        };
        let answer = SubscriptionsClient::new(self.channel.clone()).replace_card(as_frontend(request)).await;
        answer.unwrap().into_inner()
    }

    /// Changes to a dearer tariff at once, for what the preview says; returns the payment.
    pub(crate) async fn change_at_once(&self, account_id: &str, length: Length) -> Payment {
        let (account_id, tariff_id) = (account_id.to_owned(), self.tariff(length));
        let mut subscriptions = SubscriptionsClient::new(self.channel.clone());
        let shown = PreviewChangeRequest { account_id: account_id.clone(), tariff_id: tariff_id.clone() };
        let shown = subscriptions.preview_change(as_frontend(shown)).await.unwrap().into_inner();
        let request = ChangeTariffRequest {
            account_id,
            tariff_id,
            idempotency_key: Uuid::new_v4().to_string(),
            at_once: true,
            previewed_amount_kopecks: shown.at_once_amount_kopecks,
        };
        let changed = subscriptions.change_tariff(as_frontend(request)).await.unwrap().into_inner();
        let payment = GetPaymentRequest { payment_id: changed.renewal_payment_id };
        PaymentsClient::new(self.channel.clone()).get_payment(as_frontend(payment)).await.unwrap().into_inner()
    }

    /// The payment once it is final.
    pub(crate) async fn outcome(&self, payment_id: &str, patience: Duration) -> Payment {
        self.once(payment_id, patience, |status| status as i32 >= PaymentStatus::Succeeded as i32).await
    }

    async fn once(&self, payment_id: &str, patience: Duration, is_it: fn(PaymentStatus) -> bool) -> Payment {
        testkit::eventually(patience, async || {
            let request = as_frontend(GetPaymentRequest { payment_id: payment_id.to_owned() });
            let answer = PaymentsClient::new(self.channel.clone()).get_payment(request).await;
            let payment = answer.map_err(|status| status.to_string())?.into_inner();
            if is_it(payment.status()) { Ok(payment) } else { Err(format!("{payment_id} is {:?}", payment.status())) }
        })
        .await
    }

    /// What the bank's page says (`MD`, `PaRes`) once the customer was asked and has confirmed there.
    pub(crate) async fn answered(&self, payment: &Payment, patience: Duration) -> (String, String) {
        let asked = self.once(&payment.payment_id, patience, |status| status == PaymentStatus::AwaitingThreeDs).await;
        let ThreeDs { pa_req, md, .. } = asked.three_ds.unwrap();
        let form = [("PaReq", &*pa_req), ("MD", &*md), ("TermUrl", "https://cinema.example/"), ("answer", "confirm")];
        let page = self.http.post(format!("{}/acs/answer", self.sandbox)).header("accept", "application/json");
        let answer = page.form(&form).send().await.unwrap().error_for_status().unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        (md, answer["PaRes"].as_str().unwrap().to_owned())
    }

    /// Hands the bank's answer over.
    pub(crate) async fn submit(&self, payment_id: &str, (md, pa_res): &(String, String)) {
        let answer = SubmitThreeDsRequest { payment_id: payment_id.to_owned(), md: md.clone(), pa_res: pa_res.clone() };
        PaymentsClient::new(self.channel.clone()).submit_three_ds(as_frontend(answer)).await.unwrap();
    }

    /// Support moves the end of a paid day to today: its renewal is due.
    pub(crate) async fn ends_today(&self, database: &tokio_postgres::Client, account_id: &str) {
        let sql = format!("update account set expiration_dt = expiration_dt - 1 where id = '{account_id}'");
        assert_eq!(database.execute(&sql, &[]).await.unwrap(), 1);
    }

    /// The gateway charges this account but is slow to say so.
    pub(crate) async fn slow_answer(&self, account_id: &str, delay: Duration) {
        let delay_ms = delay.as_millis() as u64;
        self.fault(json!({ "match": { "account_id": account_id }, "fault": "delay", "delay_ms": delay_ms })).await;
    }

    /// Orders a fault, as the sandbox takes it.
    pub(crate) async fn fault(&self, fault: serde_json::Value) {
        let answer = self.http.post(format!("{}/sandbox/faults", self.sandbox)).json(&fault).send().await;
        answer.unwrap().error_for_status().unwrap();
    }

    /// From now on the gateway is well.
    pub(crate) async fn no_faults(&self) {
        let cleared = self.http.delete(format!("{}/sandbox/faults", self.sandbox)).send().await;
        cleared.unwrap().error_for_status().unwrap();
    }

    /// The faults that nobody has met yet, as JSON.
    pub(crate) async fn faults(&self) -> String {
        self.http.get(format!("{}/sandbox/faults", self.sandbox)).send().await.unwrap().text().await.unwrap()
    }

    /// How often the gateway took money, by bill.
    pub(crate) async fn successes_by_bill(&self) -> HashMap<String, usize> {
        self.payments_by_bill("Completed").await
    }

    /// How many of the gateway's payments have come to this, by bill.
    pub(crate) async fn payments_by_bill(&self, status: &str) -> HashMap<String, usize> {
        let answer = self.http.get(format!("{}/sandbox/ledger", self.sandbox)).send().await;
        let entries: Vec<Entry> = answer.unwrap().error_for_status().unwrap().json().await.unwrap();
        let mut found = HashMap::new();
        for entry in entries.iter().filter(|entry| entry.kind == "Payment" && entry.status == status) {
            let data: serde_json::Value = serde_json::from_str(entry.json_data.as_deref().unwrap()).unwrap();
            *found.entry(data["bill_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        found
    }

    /// The tokens that the gateway has given.
    pub(crate) async fn tokens(&self) -> Vec<String> {
        let list = self.http.post(format!("{}/payments/tokens/list", self.sandbox)).json(&json!({ "PageNumber": 1 }));
        let answer = list.basic_auth("pk_sandbox", Some("sk_sandbox")).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let listed = answer["Model"].as_array().unwrap().iter();
        listed.map(|item| item["Token"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn cryptogram(&self, card: &str) -> String {
        let card = json!({ "card_number": card, "exp": "12/39", "cvv": "123" });
        let answer = self.http.post(format!("{}/sandbox/cryptogram", self.sandbox)).json(&card).send().await;
        let made: serde_json::Value = answer.unwrap().error_for_status().unwrap().json().await.unwrap();
        made["cryptogram"].as_str().unwrap().to_owned()
    }
}

fn as_frontend<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer frontend-dev".parse().unwrap());
    request
}
