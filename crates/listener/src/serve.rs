//! From a port to requests.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use crate::activity::{Activity, Overdue, Peer};
use crate::admission::{Admission, Admitted};
use crate::body::{Answer, Body};
use crate::limits::{
    CONNECTION_WINDOW, FAREWELL, HEADERS, HTTP1_BUFFER, PING_EVERY, PONG_WITHIN, SEND_BUFFER, STREAM_WINDOW,
};
use crate::stream::{Io, Stream};
use crate::{Descriptors, Limits};

/// How long to wait before the next connection is taken, when the system could not give us one.
const BREATHER: Duration = Duration::from_millis(100);
/// How often the log may say that connections are turned away.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// A port and its rules.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    descriptors: Arc<Descriptors>,
}

impl Listener {
    /// Connections of this port are held to these limits, and to the file descriptors of this process.
    #[must_use]
    pub fn new(tcp: TcpListener, limits: Limits) -> Self {
        Self { tcp, tls: None, limits, descriptors: Descriptors::of_this_process() }
    }

    /// Speaks TLS only.
    #[must_use]
    pub fn tls(self, config: Arc<ServerConfig>) -> Self {
        Self { tls: Some(config), ..self }
    }

    /// Counts on other descriptors than those of this process.
    #[must_use]
    pub fn descriptors(self, descriptors: Arc<Descriptors>) -> Self {
        Self { descriptors, ..self }
    }

    /// Answers HTTP/1 and HTTP/2 until `stop`, then takes no new connection and returns when the open ones have ended.
    /// Dropping the future ends them all.
    ///
    /// Requests have their [`Peer`] among the extensions.
    pub async fn serve<S, B>(self, service: S, stop: CancellationToken)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { tcp, tls, limits, descriptors } = self;
        let admission = Admission::new(limits.per_address, limits.in_all, descriptors);
        let shared = Arc::new(Shared { tls: tls.map(TlsAcceptor::from), limits, http: http(&limits), stop });
        let mut connections = JoinSet::new();
        let mut complaints = Complaints::default();
        loop {
            let (tcp, address) = tokio::select! {
                () = shared.stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = tcp.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        complaints.about(&error);
                        tokio::time::sleep(pause_after(&error)).await;
                        continue;
                    }
                },
            };
            match admission.admit(address.ip()) {
                Ok(admitted) => {
                    let connection = connection(tcp, address, admitted, Arc::clone(&shared), service.clone());
                    connections.spawn(connection);
                }
                Err(full) => complaints.about(&full),
            }
        }
        drop(tcp);
        while connections.join_next().await.is_some() {}
    }
}

/// What the connections of a listener have in common.
struct Shared {
    tls: Option<TlsAcceptor>,
    limits: Limits,
    http: auto::Builder<TokioExecutor>,
    stop: CancellationToken,
}

fn http(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // A head that does not come is silence, which has its limit without a line in the log for each.
    http.http1().header_read_timeout(None).max_buf_size(HTTP1_BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    http
}

/// One connection, from its first byte to its end.
async fn connection<S, B>(tcp: TcpStream, address: SocketAddr, admitted: Admitted, shared: Arc<Shared>, service: S)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (activity, peer) = (Arc::clone(&admitted.activity), Peer::new(address));
    let limits = shared.limits;
    // Answers are small and awaited: without this each waits for the acknowledgement of the one before.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let io = tokio::select! {
        io = secured(tcp, shared.tls.as_ref()) => io,
        _ = activity.overdue(&limits) => return,
        () = activity.evicted.cancelled() => return,
        () = shared.stop.cancelled() => return,
    };
    let io = match io {
        Ok(io) => io,
        Err(error) => {
            tracing::debug!(%address, %error, "no TLS handshake");
            return;
        }
    };
    let io = TokioIo::new(Stream::new(io, Arc::clone(&activity), peer.clone(), limits.stalled));
    let requests = Requests { service, activity: Arc::clone(&activity), peer, body: limits.body };
    let mut serving = pin!(shared.http.serve_connection(io, requests));
    let mut leaves_at = None;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%address, error, "a connection was lost");
                }
                return;
            }
            () = activity.evicted.cancelled() => return,
            overdue = activity.overdue(&limits), if leaves_at.is_none() => match overdue {
                Overdue::Handshake => return,
                Overdue::Idle => leaves_at = Some(Instant::now() + FAREWELL),
            },
            () = shared.stop.cancelled(), if leaves_at.is_none() => leaves_at = Some(Instant::now() + FAREWELL),
            () = until(leaves_at), if leaves_at.is_some() => {
                if activity.silence().is_some() {
                    return;
                }
                leaves_at = Some(Instant::now() + FAREWELL);
            }
        }
        if leaves_at.is_some() {
            serving.as_mut().graceful_shutdown();
        }
    }
}

async fn secured(tcp: TcpStream, tls: Option<&TlsAcceptor>) -> io::Result<Box<dyn Io>> {
    Ok(match tls {
        Some(tls) => Box::new(tls.accept(tcp).await?),
        None => Box::new(tcp),
    })
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Gives the requests of a connection to the service.
struct Requests<S> {
    service: S,
    activity: Arc<Activity>,
    peer: Peer,
    body: Duration,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Answer<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let under_way = self.activity.begin();
        let mut request = request.map(|incoming| Body::new(incoming, self.body));
        request.extensions_mut().insert(self.peer.clone());
        let service = self.service.clone();
        Box::pin(async move {
            let response = service.oneshot(request).await?;
            Ok(response.map(|body| Answer::new(body, under_way)))
        })
    }
}

/// Errors of a connection that ended before it was taken concern nobody else.
fn pause_after(error: &io::Error) -> Duration {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    match error.kind() {
        ConnectionAborted | ConnectionRefused | ConnectionReset => Duration::ZERO,
        _ => BREATHER,
    }
}

/// Says now and then that connections are turned away, however many.
#[derive(Default)]
struct Complaints {
    said: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    fn about(&mut self, reason: &dyn Error) {
        self.unsaid += 1;
        if self.said.is_some_and(|said| said.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        tracing::warn!(%reason, connections = self.unsaid, "connections are turned away");
        (self.said, self.unsaid) = (Some(Instant::now()), 0);
    }
}
