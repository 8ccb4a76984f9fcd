//! The frontend, the auth service and the gateway's ledger, as the tests use them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use billing_api::proto::access_client::AccessClient;
use billing_api::proto::payments_client::PaymentsClient;
use billing_api::proto::tariffs_client::TariffsClient;
use billing_api::proto::{
    CreatePaymentRequest, GetPaymentRequest, ListTariffsRequest, Payment, PaymentStatus, RegisterAccountRequest,
    period::Length,
};
use serde::Deserialize;
use serde_json::json;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

/// Pays without 3-D Secure.
const CARD: &str = "4000000000003055";

#[derive(Clone)]
pub(crate) struct Cinema {
    channel: Channel,
    http: reqwest::Client,
    sandbox: String,
    tariff_id: String,
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
        let monthly = tariffs.into_iter().find(|tariff| tariff.period.unwrap().length == Some(Length::Months(1)));
        let tariff_id = monthly.expect("the seeded tariff of a month").tariff_id;
        Self { channel, http: reqwest::Client::new(), sandbox: format!("http://{sandbox}"), tariff_id }
    }

    /// A new account.
    pub(crate) async fn sign_up(&self) -> String {
        let account_id = Uuid::new_v4().to_string();
        let mut request = Request::new(RegisterAccountRequest { account_id: account_id.clone() });
        request.metadata_mut().insert("authorization", "Bearer auth-dev".parse().unwrap());
        AccessClient::new(self.channel.clone()).register_account(request).await.unwrap();
        account_id
    }

    /// A payment for a month, asked for again with the same key until the API answers.
    pub(crate) async fn pay(&self, account_id: &str) -> Payment {
        let request = CreatePaymentRequest {
            account_id: account_id.to_owned(),
            tariff_id: self.tariff_id.clone(),
            card_cryptogram_packet: self.cryptogram().await,
            ip_address: "203.0.113.7".to_owned(),
            idempotency_key: Uuid::new_v4().to_string(),
        };
        testkit::eventually(Duration::from_secs(60), async || {
            let answer = PaymentsClient::new(self.channel.clone()).create_payment(as_frontend(request.clone())).await;
            answer.map(tonic::Response::into_inner)
        })
        .await
    }

    /// The payment once it is final.
    pub(crate) async fn outcome(&self, payment_id: &str, patience: Duration) -> Payment {
        testkit::eventually(patience, async || {
            let request = as_frontend(GetPaymentRequest { payment_id: payment_id.to_owned() });
            let answer = PaymentsClient::new(self.channel.clone()).get_payment(request).await;
            let payment = answer.map_err(|status| status.to_string())?.into_inner();
            let is_final = payment.status() as i32 >= PaymentStatus::Succeeded as i32;
            if is_final { Ok(payment) } else { Err(format!("{payment_id} is {:?}", payment.status())) }
        })
        .await
    }

    /// The gateway charges this account but is slow to say so.
    pub(crate) async fn slow_answer(&self, account_id: &str, delay: Duration) {
        let fault = json!({
            "match": { "account_id": account_id }, "fault": "delay", "delay_ms": delay.as_millis() as u64, "times": 1
        });
        let answer = self.http.post(format!("{}/sandbox/faults", self.sandbox)).json(&fault).send().await;
        answer.unwrap().error_for_status().unwrap();
    }

    /// How often the gateway took money, by bill.
    pub(crate) async fn successes_by_bill(&self) -> HashMap<String, usize> {
        let answer = self.http.get(format!("{}/sandbox/ledger", self.sandbox)).send().await;
        let entries: Vec<Entry> = answer.unwrap().error_for_status().unwrap().json().await.unwrap();
        let mut successes = HashMap::new();
        for entry in entries.iter().filter(|entry| entry.kind == "Payment" && entry.status == "Completed") {
            let data: serde_json::Value = serde_json::from_str(entry.json_data.as_deref().unwrap()).unwrap();
            *successes.entry(data["bill_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        successes
    }

    async fn cryptogram(&self) -> String {
        let card = json!({ "card_number": CARD, "exp": "12/39", "cvv": "123" });
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
