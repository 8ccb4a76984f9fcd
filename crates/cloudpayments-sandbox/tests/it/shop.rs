//! A merchant for the tests: a sandbox, an HTTP client, and the payments they make.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use cloudpayments_sandbox::{Config, Sandbox, cryptogram};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

pub(crate) const VISA: &str = "4000000000003055";
pub(crate) const VISA_3DS: &str = "4242424242424242";
pub(crate) const VISA_ONCE: &str = "4111111111111111";
pub(crate) const VISA_POOR: &str = "4000056655665556";

pub(crate) struct Shop {
    pub(crate) sandbox: Sandbox,
    pub(crate) http: Client,
}

/// An HTTP client of its own: connections are not shared between tests.
pub(crate) fn http_client() -> Client {
    static TLS: OnceLock<()> = OnceLock::new();
    TLS.get_or_init(|| {
        // Fails only if another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::with(Config::for_tests()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self { sandbox: Sandbox::start(config).await.unwrap(), http: http_client() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.sandbox.url() + path
    }

    /// An authorized request with a JSON body, not yet sent.
    pub(crate) fn request(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        let request = self.http.post(self.url(path)).basic_auth("pk_sandbox", Some("sk_sandbox"));
        request.header("Content-Type", "application/json").body(body.to_string())
    }

    /// The gateway's answer, which is always HTTP 200.
    pub(crate) async fn call(&self, path: &str, body: Value) -> Value {
        answer(self.request(path, &body).send().await.unwrap()).await
    }

    /// The same with `X-Request-ID`, as text: answers to one id are the same to the letter.
    pub(crate) async fn call_with_id(&self, path: &str, body: &Value, request_id: &str) -> String {
        let response = self.request(path, body).header("X-Request-ID", request_id).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap()
    }

    /// Pays ten roubles with a card.
    pub(crate) async fn pay(&self, card: &str) -> Value {
        self.call("/payments/cards/charge", charge(card)).await
    }

    /// A token of a card for `account`.
    pub(crate) async fn token(&self, card: &str) -> String {
        self.pay(card).await["Model"]["Token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn ledger(&self) -> Vec<Value> {
        self.http.get(self.url("/sandbox/ledger")).send().await.unwrap().json().await.unwrap()
    }

    /// Every notification of the sandbox and how far it is.
    pub(crate) async fn notifications(&self) -> Vec<Value> {
        self.http.get(self.url("/sandbox/notifications")).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until the sandbox has noted so many tries of notifications of a kind.
    pub(crate) async fn until_tried(&self, kind: &str, tries: usize) {
        until(async || {
            let notices = self.notifications().await;
            let made = notices.iter().filter(|notice| notice["type"] == kind);
            (made.map(|notice| notice["tries"].as_u64().unwrap()).sum::<u64>() >= tries as u64).then_some(())
        })
        .await;
    }

    pub(crate) async fn order_fault(&self, fault: Value) {
        let response = self.http.post(self.url("/sandbox/faults")).json(&fault).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    }

    /// Waits until the ledger has so many operations.
    pub(crate) async fn until_ledger_has(&self, count: usize) -> Vec<Value> {
        until(async || Some(self.ledger().await).filter(|ledger| ledger.len() == count)).await
    }

    /// Waits until a request has met every fault ordered.
    pub(crate) async fn until_faults_are_used(&self) {
        let faults = async || self.http.get(self.url("/sandbox/faults")).send().await.unwrap().text().await.unwrap();
        until(async || (faults().await == "[]").then_some(())).await;
    }
}

pub(crate) async fn until<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let poll = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), poll).await.expect("it never came")
}

pub(crate) async fn answer(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    response.json().await.unwrap()
}

pub(crate) fn packet(card: &str) -> String {
    cryptogram(card, "12/30", "123").unwrap()
}

pub(crate) fn charge(card: &str) -> Value {
    json!({
        "Amount": 10,
        "Currency": "RUB",
        "IpAddress": "127.0.0.1",
        "CardCryptogramPacket": packet(card),
        "AccountId": "account",
        "InvoiceId": "invoice",
    })
}

pub(crate) fn token_charge(token: &str) -> Value {
    json!({ "Amount": 10, "AccountId": "account", "Token": token, "TrInitiatorCode": 0, "PaymentScheduled": 1 })
}

/// `Success`, status and reason code of an answer.
pub(crate) fn outcome(answer: &Value) -> (bool, &str, Option<i64>) {
    let model = &answer["Model"];
    (answer["Success"].as_bool().unwrap(), model["Status"].as_str().unwrap_or("-"), model["ReasonCode"].as_i64())
}

pub(crate) fn refusal(answer: &Value) -> &str {
    assert_eq!(answer["Success"], false);
    assert!(answer.get("Model").is_none(), "{answer}");
    answer["Message"].as_str().unwrap()
}

/// A form of a page, as a browser sees it.
#[derive(Debug)]
pub(crate) struct PageForm {
    pub(crate) action: String,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) buttons: Vec<(String, String)>,
}

impl PageForm {
    /// The only form of a page.
    pub(crate) fn of(html: &str) -> Self {
        let (_, form) = html.split_once("<form").expect("a form");
        let (form, rest) = form.split_once("</form>").expect("its end");
        assert!(!rest.contains("<form"), "one form");
        let action = attribute(form, "action").expect("an action");
        let tags = |name: &str| {
            form.split(name).skip(1).map(|tag| tag.split('>').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let named = |tag: &String| Some((attribute(tag, "name")?, attribute(tag, "value")?));
        Self {
            action,
            fields: tags("<input").iter().filter_map(named).collect(),
            buttons: tags("<button").iter().filter_map(named).collect(),
        }
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, value) = tag.split_once(&format!(" {name}=\""))?;
    let value = value.split('"').next()?;
    let unescaped = value.replace("&quot;", "\"").replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">");
    Some(unescaped.replace("&amp;", "&"))
}
