//! A listener that serves a few pages, and clients that speak bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::routing::{get, post};
use bytes::Bytes;
use listener::{Descriptors, Limits, Listener, Peer};
use rcgen::CertifiedKey;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// How long anything may take that should happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// A limit that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// Limits that no test reaches unless it says so.
pub(crate) fn limits() -> Limits {
    let long = Duration::from_secs(600);
    Limits { handshake: long, idle: long, body: long, stalled: long, ..Limits::default() }
}

/// A running listener.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    /// Lets the answers of `/slow` go on, one with each permit.
    pub(crate) slow: Arc<Semaphore>,
    pub(crate) serving: JoinHandle<()>,
    trusted: Option<Arc<rustls::ClientConfig>>,
}

impl World {
    pub(crate) async fn with(limits: Limits) -> Self {
        Self::on(limits, false, Descriptors::of(100_000)).await
    }

    pub(crate) async fn with_tls(limits: Limits) -> Self {
        Self::on(limits, true, Descriptors::of(100_000)).await
    }

    pub(crate) async fn on(limits: Limits, secure: bool, descriptors: Arc<Descriptors>) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = tcp.local_addr().expect("an address");
        let (stop, slow) = (CancellationToken::new(), Arc::new(Semaphore::new(0)));
        let mut listener = Listener::new(tcp, limits).descriptors(descriptors);
        let mut trusted = None;
        if secure {
            let (server, client) = certificates();
            listener = listener.tls(server);
            trusted = Some(client);
        }
        let serving = tokio::spawn(listener.serve(pages(Arc::clone(&slow)), stop.clone()));
        Self { address, stop, slow, serving, trusted }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the system accepts")
    }

    /// A connection whose TLS handshake is finished.
    pub(crate) async fn connect_tls(&self) -> TlsStream<TcpStream> {
        let connector = TlsConnector::from(Arc::clone(self.trusted.as_ref().expect("with TLS")));
        let name = ServerName::try_from("localhost").expect("a name");
        connector.connect(name, self.connect().await).await.expect("a handshake")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// `/` says hello, `/slow` waits for a permit, `/echo` gives the body back or says what was wrong with it, `/much` never
/// ends, `/cut` is never answered.
fn pages(slow: Arc<Semaphore>) -> Router {
    let slowly = move || {
        let slow = Arc::clone(&slow);
        async move { slow.acquire().await.map(SemaphorePermit::forget).map_or("closed", |()| "at last") }
    };
    let echo = |body: Body| async move {
        match axum::body::to_bytes(body, usize::MAX).await {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("no body: {error}"),
        }
    };
    let much = || async { Body::new(Endless) };
    let cut = |Extension(peer): Extension<Peer>| async move { peer.cut() };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(slowly))
        .route("/echo", post(echo))
        .route("/much", get(much))
        .route("/cut", get(cut))
}

struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[0; 16 * 1024])))))
    }
}

fn certificates() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a pair");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Sends a request of HTTP/1.1.
pub(crate) async fn ask(io: &mut (impl AsyncWrite + Unpin), path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    io.write_all(request.as_bytes()).await.expect("sent");
}

/// What comes until there is `text` in it; panics when the connection ends before.
pub(crate) async fn hear(io: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut heard = String::new();
    let hearing = async {
        while !heard.contains(text) {
            let mut piece = [0; 1024];
            let length = io.read(&mut piece).await.expect("no reset");
            assert!(length > 0, "it ended after {heard:?}");
            heard.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    };
    tokio::time::timeout(SOON, hearing).await.unwrap_or_else(|_| panic!("no {text:?}"));
    heard
}

/// Whether the connection is served: it answers a request.
pub(crate) async fn is_served(mut io: impl AsyncRead + AsyncWrite + Unpin) -> bool {
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut answer = [0; 15];
    let asking = async { io.write_all(request).await.is_ok() && io.read_exact(&mut answer).await.is_ok() };
    tokio::time::timeout(SOON, asking).await.expect("an answer or an end") && answer == *b"HTTP/1.1 200 OK"
}

/// Waits until the other side closes, whatever it says before.
pub(crate) async fn ended(io: &mut (impl AsyncRead + Unpin)) {
    let ending = async { while let Ok(1..) = io.read(&mut [0; 4096]).await {} };
    tokio::time::timeout(SOON, ending).await.expect("the connection is closed");
}
