//! The gateway's side of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use billing::payment::PaymentState;
use billing::payment::identity::Terminal;
use billing::store::payments::{self, Begin, PaymentView};
use billing::{PaymentId, clock};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use reqwest::header::CONTENT_TYPE;
use ring::hmac;
use tokio_util::sync::CancellationToken;

use crate::world::World;

pub(crate) const API_SECRET: &str = "sk_notifications";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

impl World {
    /// With a port for notifications, on a test terminal.
    pub(crate) async fn notified() -> Self {
        Self::notified_with(|_| {}).await
    }

    pub(crate) async fn notified_with(change: impl FnOnce(&mut billing_api::NotificationsConfig)) -> Self {
        Self::with(|api| {
            api.notifications = settings();
            change(&mut api.notifications);
        })
        .await
    }

    pub(crate) fn notification_url(&self, kind: &str) -> String {
        format!("http://{}/notifications/{kind}", self.notifications.expect("notifications are taken"))
    }

    /// Posts a form as the gateway does.
    pub(crate) async fn notify(&self, kind: &str, form: &str) -> Reply {
        let (raw, decoded) = (sign(form.as_bytes()), sign(decoded(form).as_bytes()));
        self.post(kind, form.to_owned(), &[("Content-HMAC", &raw), ("X-Content-HMAC", &decoded)]).await
    }

    /// Posts a body with these headers.
    pub(crate) async fn post(&self, kind: &str, body: impl Into<reqwest::Body>, headers: &[(&str, &str)]) -> Reply {
        let mut request = http_client().post(self.notification_url(kind)).header(CONTENT_TYPE, FORM).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::of(request.send().await.expect("an HTTP response")).await
    }

    /// A payment of a new account whose request is on its way to the gateway.
    pub(crate) async fn sending(&self) -> PaymentView {
        let id: PaymentId = self.payment().await.payment_id.parse().expect("an id");
        let mut conn = self.services.db.conn().await.expect("the database answers");
        let begun = payments::begin_sending(&mut conn, id, &self.services.cipher, clock::now()).await.expect("begun");
        assert!(matches!(begun, Begin::Send(_)), "{begun:?}");
        payments::get(&mut conn, id).await.expect("read").expect("it is there")
    }

    pub(crate) async fn state_of(&self, id: PaymentId) -> PaymentState {
        let mut conn = self.services.db.conn().await.expect("the database answers");
        payments::get(&mut conn, id).await.expect("read").expect("it is there").state
    }

    pub(crate) async fn view(&self, payment_id: &str) -> PaymentView {
        let mut conn = self.services.db.conn().await.expect("the database answers");
        payments::get(&mut conn, payment_id.parse().expect("an id")).await.expect("read").expect("it is there")
    }

    /// Does to the rows what no caller can.
    pub(crate) async fn change(&self, statement: &str) {
        let mut conn = self.services.db.conn().await.expect("the database answers");
        diesel::sql_query(statement).execute(&mut conn).await.expect("changed");
    }

    /// All rows that a payment touches, to see whether anything has changed.
    pub(crate) async fn everything(&self) -> String {
        let mut all = String::new();
        for table in ["account", "bill", "payment", "orphan", "event", "notification"] {
            let rows = self.text(&format!("select json_agg(t order by t::text) from {table} t")).await;
            all.push_str(&rows.unwrap_or_default());
        }
        all
    }

    /// Rows of a table, or of a table with a condition.
    pub(crate) async fn count(&self, from: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let mut conn = self.services.db.conn().await.expect("the database answers");
        let query = diesel::sql_query(format!("select count(*) as n from {from}"));
        query.get_result::<Count>(&mut conn).await.expect("a count").n
    }

    /// One value as text.
    pub(crate) async fn text(&self, select: &str) -> Option<String> {
        #[derive(QueryableByName)]
        struct Value {
            #[diesel(sql_type = Nullable<Text>)]
            value: Option<String>,
        }
        let mut conn = self.services.db.conn().await.expect("the database answers");
        let query = diesel::sql_query(format!("select ({select})::text as value"));
        query.get_result::<Value>(&mut conn).await.expect("a value").value
    }
}

/// Another API on the same database, with connections of its own.
pub(crate) struct SecondProcess {
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
}

impl SecondProcess {
    pub(crate) fn url(&self, kind: &str) -> String {
        format!("http://{}/notifications/{kind}", self.address)
    }
}

impl Drop for SecondProcess {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    pub(crate) async fn second_process(&self) -> SecondProcess {
        let config = billing_api::Config { notifications: settings(), ..crate::world::config() };
        let bound = billing_api::bind(config).await.expect("a free port");
        let address = bound.notifications_addr().expect("notifications are taken");
        let db = self.services.db.beside(8).expect("connections");
        let services = billing::Services { db, ..self.services.clone() };
        let shutdown = CancellationToken::new();
        tokio::spawn(bound.run(services, shutdown.clone()));
        SecondProcess { address, shutdown }
    }
}

/// Posts a form as the gateway does, wherever.
pub(crate) async fn post_signed(url: String, form: String) -> Reply {
    let request = http_client().post(url).header(CONTENT_TYPE, FORM).header("Content-HMAC", sign(form.as_bytes()));
    Reply::of(request.body(form).send().await.expect("an HTTP response")).await
}

/// Settings of the port for notifications.
pub(crate) fn settings() -> billing_api::NotificationsConfig {
    billing_api::NotificationsConfig {
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        api_secrets: Some(API_SECRET.into()),
        terminal: Some(Terminal::Test),
        ..crate::world::config().notifications
    }
}

/// What was replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        Self { status: response.status().as_u16(), body: response.text().await.expect("a body") }
    }

    pub(crate) fn accepted() -> Self {
        Self::code(0)
    }

    pub(crate) fn code(code: u8) -> Self {
        Self { status: 200, body: format!(r#"{{"code":{code}}}"#) }
    }
}

pub(crate) fn http_client() -> reqwest::Client {
    // The libraries of this process could use either of two. Another test may have named this one before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

pub(crate) fn sign(message: &[u8]) -> String {
    sign_with(API_SECRET, message)
}

pub(crate) fn sign_with(secret: &str, message: &[u8]) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message))
}

/// The whole text after URL-decoding, as `X-Content-HMAC` is over.
pub(crate) fn decoded(form: &str) -> String {
    let name_without_value = format!("{}=", form.replace('=', "%3D").replace('&', "%26"));
    let mut whole = url::form_urlencoded::parse(name_without_value.as_bytes());
    whole.next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

/// The form of a Pay that fits this payment, with these fields in place of its own.
pub(crate) fn pay(payment: &PaymentView, transaction_id: i64, instead: &[(&str, &str)]) -> String {
    let amount = format!("{}.{:02}", payment.amount.get() / 100, payment.amount.get() % 100);
    let transaction_id = transaction_id.to_string();
    let (invoice, account) = (payment.invoice_no.to_string(), payment.account_id.to_string());
    let data = format!(r#"{{"bill_id":"{}","payment_id":"{}"}}"#, payment.bill_id, payment.id);
    let own = [
        ("TransactionId", transaction_id.as_str()),
        ("Amount", &amount),
        ("Currency", payment.currency.as_str()),
        ("PaymentAmount", &amount),
        ("PaymentCurrency", payment.currency.as_str()),
        ("DateTime", "2026-11-01 00:00:05"),
        ("CardFirstSix", "424242"),
        ("CardLastFour", "4242"),
        ("CardType", "Visa"),
        ("CardExpDate", "12/30"),
        ("TestMode", "1"),
        ("Status", "Completed"),
        ("OperationType", "Payment"),
        ("GatewayName", "Test"),
        ("InvoiceId", &invoice),
        ("AccountId", &account),
        ("Token", "tk_0001"),
        ("Data", &data),
    ];
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in own {
        let value = instead.iter().find(|(other, _)| *other == name).map_or(value, |(_, value)| value);
        if !value.is_empty() {
            form.append_pair(name, value);
        }
    }
    for (name, value) in instead.iter().filter(|(other, _)| !own.iter().any(|(name, _)| name == other)) {
        form.append_pair(name, value);
    }
    form.finish()
}
