//! The shop's side of notifications: it listens, keeps what it hears, and replies as the test wants.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use cloudpayments_sandbox::Config;
use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::shop::until;

/// One notification as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: Method,
    /// `pay` of `/pay`.
    pub(crate) kind: String,
    pub(crate) headers: HeaderMap,
    pub(crate) query: String,
    pub(crate) body: Vec<u8>,
}

impl Heard {
    /// The fields of a form.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    pub(crate) fn field(&self, name: &str) -> String {
        self.form().remove(name).unwrap_or_else(|| panic!("{name} in {:?}", self.form()))
    }

    /// Are both signatures those of the terminal over `signed` and `plain`?
    pub(crate) fn is_signed(&self, signed: &[u8], plain: &[u8]) -> bool {
        let header = |name: &str| self.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        header("content-hmac") == Some(hmac(signed)) && header("x-content-hmac") == Some(hmac(plain))
    }
}

fn hmac(message: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"sk_sandbox").unwrap();
    mac.update(message);
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

#[derive(Default)]
struct Desk {
    heard: Vec<Heard>,
    /// What the next notifications of a kind get; then `{"code":0}`.
    replies: HashMap<String, VecDeque<(u16, String)>>,
}

pub(crate) struct Receiver {
    address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
}

impl Receiver {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::<Mutex<Desk>>::default();
        let router = Router::new().fallback(hear).with_state(Arc::clone(&desk));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, desk }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A sandbox that tells this receiver everything.
    pub(crate) fn config(&self) -> Config {
        Config { notifications_url: Some(self.url().parse().unwrap()), ..Config::for_tests() }
    }

    /// The next notification of this kind gets this reply.
    pub(crate) fn will_reply(&self, kind: &str, status: u16, body: &str) {
        self.desk.lock().replies.entry(kind.to_owned()).or_default().push_back((status, body.to_owned()));
    }

    /// What came so far, of these kinds or all.
    pub(crate) fn heard(&self, kinds: &[&str]) -> Vec<Heard> {
        let wanted = |heard: &&Heard| kinds.is_empty() || kinds.contains(&&*heard.kind);
        self.desk.lock().heard.iter().filter(wanted).cloned().collect()
    }

    pub(crate) async fn until_heard(&self, kinds: &[&str], count: usize) -> Vec<Heard> {
        until(async || Some(self.heard(kinds)).filter(|heard| heard.len() >= count)).await
    }
}

async fn hear(
    State(desk): State<Arc<Mutex<Desk>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let kind = uri.path().rsplit('/').next().unwrap().to_owned();
    let query = uri.query().unwrap_or_default().to_owned();
    let (status, reply) = {
        let mut desk = desk.lock();
        desk.heard.push(Heard { method, kind: kind.clone(), headers, query, body: body.to_vec() });
        let next = desk.replies.get_mut(&kind).and_then(VecDeque::pop_front);
        next.unwrap_or((200, "{\"code\":0}".to_owned()))
    };
    if reply == "never" {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    (StatusCode::from_u16(status).unwrap(), reply)
}
