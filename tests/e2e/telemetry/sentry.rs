//! A server that takes Sentry's envelopes: a line of JSON about each item, and the item.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use tokio::net::TcpListener;

#[derive(Clone)]
pub(super) struct Sentry {
    dsn: String,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Sentry {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let dsn = format!("http://public@{}/1", listener.local_addr().expect("it is bound"));
        let sentry = Self { dsn, bodies: Arc::default() };
        let serving = sentry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sentry = serving.clone();
                tokio::spawn(async move {
                    let take = service_fn(move |request| sentry.clone().take(request));
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), take).await;
                });
            }
        });
        sentry
    }

    pub(super) fn dsn(&self) -> &str {
        &self.dsn
    }

    async fn take(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let is_zipped = request.headers().get("content-encoding").is_some_and(|encoding| encoding == "gzip");
        let body = request.into_body().collect().await?.to_bytes();
        let mut text = String::new();
        if is_zipped {
            GzDecoder::new(&body[..]).read_to_string(&mut text).expect("a text");
        } else {
            text.push_str(&String::from_utf8_lossy(&body));
        }
        self.bodies.lock().expect("no test holds it").push(text);
        Ok(Response::new(Full::from("{}")))
    }

    /// Items of a type, in their order.
    fn items(&self, kind: &str) -> Vec<String> {
        let bodies = self.bodies.lock().expect("no test holds it");
        let mut items = Vec::new();
        for body in bodies.iter() {
            let mut lines = body.lines().skip(1);
            while let (Some(about), Some(item)) = (lines.next(), lines.next()) {
                let about: Value = serde_json::from_str(about).unwrap_or_default();
                if about["type"] == kind {
                    items.push(item.to_owned());
                }
            }
        }
        items
    }

    pub(super) fn reports(&self) -> Vec<String> {
        self.items("event")
    }

    pub(super) fn check_ins(&self) -> Vec<Value> {
        let items = self.items("check_in");
        items.iter().map(|item| serde_json::from_str(item).expect("JSON")).collect()
    }

    /// Everything that was taken.
    pub(super) fn told(&self) -> String {
        self.bodies.lock().expect("no test holds it").concat()
    }
}
