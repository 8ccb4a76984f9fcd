//! What the demo asks of the gateway's sandbox: cryptograms, faults and the ledger.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;
use url::Url;

/// A client of the sandbox's control endpoints.
#[derive(Clone)]
pub(super) struct Sandbox {
    http: reqwest::Client,
    base: Url,
}

/// One transaction as the gateway has it.
#[derive(Debug, Deserialize)]
pub(super) struct LedgerEntry {
    pub account_id: Option<String>,
    pub status: String,
    /// `Payment` or `Refund`.
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Deserialize)]
struct Cryptogram {
    cryptogram: String,
}

impl Sandbox {
    pub(super) fn new(http: reqwest::Client, base: Url) -> Self {
        Self { http, base }
    }

    /// What the browser's checkout script would make of a card.
    pub(super) async fn cryptogram(&self, card_number: &str) -> anyhow::Result<String> {
        self.cryptogram_of(card_number, "12/39").await
    }

    /// Likewise, of one that expires then.
    pub(super) async fn cryptogram_of(&self, card_number: &str, expires: &str) -> anyhow::Result<String> {
        let card = json!({ "card_number": card_number, "exp": expires, "cvv": "123" });
        let answer: Cryptogram = self.post("sandbox/cryptogram", &card).await?.json().await?;
        Ok(answer.cryptogram)
    }

    /// Arranges one fault for the next charge of an account.
    pub(super) async fn fault(&self, account_id: &str, fault: &str, delay_ms: u64) -> anyhow::Result<()> {
        let order = json!({ "match": { "account_id": account_id }, "fault": fault, "delay_ms": delay_ms, "times": 1 });
        self.post("sandbox/faults", &order).await.map(drop)
    }

    /// The payments that were charged to an account.
    pub(super) async fn successes(&self, account_id: &str) -> anyhow::Result<usize> {
        let mut url = self.base.join("sandbox/ledger")?;
        url.query_pairs_mut().append_pair("account_id", account_id);
        let ledger: Vec<LedgerEntry> = self
            .http
            .get(url.clone())
            .send()
            .await
            .with_context(|| format!("{url}"))?
            .error_for_status()?
            .json()
            .await?;
        let charged = |entry: &&LedgerEntry| {
            entry.account_id.as_deref() == Some(account_id) && entry.kind == "Payment" && entry.status == "Completed"
        };
        Ok(ledger.iter().filter(charged).count())
    }

    async fn post(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<reqwest::Response> {
        let url = self.base.join(path)?;
        let answer = self.http.post(url.clone()).json(body).send().await;
        Ok(answer
            .with_context(|| format!("cannot reach the sandbox (DEMO_SANDBOX_URL) at {url}"))?
            .error_for_status()?)
    }
}
