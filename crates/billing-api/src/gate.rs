//! What happens to every request before its service sees it: it gets an id, its caller is checked, and its time and its
//! number are limited.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use billing::event::Source;
use billing::trail::{self, Trail};
use celeriac::trace::{Propagator, TRACEPARENT, TRACESTATE, TraceContext};
use futures_util::future::BoxFuture;
use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue, Request, Response};
use listener::{Peer, Place};
use secrecy::ExposeSecret as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::auth::{Clients, Shown};
use crate::browser::{self, Browsers};
use crate::caller::Caller;
use crate::deadline::Deadline;
use crate::denied::Denied;
use crate::error::ApiError;
use crate::per_client::{PerClient, Permit};
use crate::scope::{Requirement, Scope, requirement};

/// Names a request in the log. A caller may choose it; every response carries it.
pub(crate) const REQUEST_ID: &str = "x-request-id";
const MAX_REQUEST_ID: usize = 64;

/// Requests that need no token, of one connection at a time. A prober has one, and a client that follows the health of
/// its server one more.
const PUBLIC_PER_CONNECTION: usize = 4;
/// Streams that need no token, of all connections at a time. A single question about the health is no stream: it must be
/// answered also under load.
pub(crate) const PUBLIC_STREAMS: usize = 256;

/// Rules that are the same for every request.
pub(crate) struct Rules {
    pub(crate) clients: Clients,
    pub(crate) browsers: Option<Browsers>,
    /// How long a request may take when its caller sets no shorter deadline; a stream, until it is open.
    pub(crate) timeout: Duration,
    /// How many requests are served at once.
    pub(crate) in_flight: Arc<Semaphore>,
    /// How many of them are of one client, or of one account.
    pub(crate) of_one_client: PerClient,
    /// How many streams are open that need no token.
    pub(crate) public_streams: Arc<Semaphore>,
    /// What keeps traces, if something does.
    pub(crate) propagator: Option<Arc<dyn Propagator>>,
}

/// Counts as a request being served while any copy of it lives. Found in the extensions of a request, so that a write
/// counts until it is finished, also when its caller has gone.
#[derive(Clone)]
pub(crate) struct InFlight(#[expect(dead_code, reason = "held, not used")] Arc<(OwnedSemaphorePermit, Permit)>);

/// What a request that needs no token holds until its answer has ended.
#[derive(Default)]
struct Held {
    _place: Option<Place>,
    _stream: Option<OwnedSemaphorePermit>,
}

impl Rules {
    /// What the caller may do, or why not. A refusal costs no more than reading the headers, or at most one look at the keys
    /// of the auth service.
    async fn admit(&self, request: &mut Request<Body>) -> Result<Held, ApiError> {
        match requirement(request.uri().path()) {
            Requirement::Public { is_stream } => self.admit_anybody(request, is_stream),
            Requirement::Unknown => Err(ApiError::NoSuchMethod),
            Requirement::Scope(scope) => {
                let today = billing::clock::now().date_naive();
                let shown = self.clients.authorize(request.headers(), scope, today).map_err(ApiError::Denied)?;
                let caller = self.caller(shown, scope).await.map_err(ApiError::Denied)?;
                self.admit_caller(request, caller).map(|()| Held::default())
            }
        }
    }

    /// Takes a request into the trace that its caller began, and tells its id. A page begins none of ours: whoever reads it
    /// could have every request of his kept.
    fn join_trace(&self, headers: &HeaderMap, span: &Span) -> Option<String> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let of_a_page = headers.contains_key(ORIGIN);
        let from =
            text(TRACEPARENT).filter(|_| !of_a_page).and_then(|said| TraceContext::parse(said, text(TRACESTATE)));
        let place = match (&self.propagator, from) {
            (None, from) => from,
            (Some(propagator), from) => {
                if let Some(from) = &from {
                    propagator.continue_from(span, from);
                }
                propagator.context(span)
            }
        }?;
        span.record("trace_id", place.trace_id());
        Some(place.trace_id().to_owned())
    }

    async fn caller(&self, shown: Shown, scope: Scope) -> Result<Caller, Denied> {
        let (browsers, token) = match (shown, &self.browsers) {
            (Shown::Client(caller), _) => return Ok(caller),
            (Shown::Other(_), None) => return Err(Denied::UnknownToken),
            (Shown::Other(token), Some(browsers)) => (browsers, token),
        };
        let subject = browsers.verify(token.expose_secret()).await.map_err(Denied::Browser)?;
        if !browser::SCOPES.contains(&scope) {
            return Err(Denied::Scope(scope));
        }
        Ok(Caller::browser(subject))
    }

    fn admit_caller(&self, request: &mut Request<Body>, caller: Caller) -> Result<(), ApiError> {
        Span::current().record("client", &*caller.name);
        let one = Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| ApiError::Overloaded)?;
        let of_caller = self.of_one_client.take(&caller).map_err(|limit| ApiError::TooManyRequests { limit })?;
        // What is still open when the token expires ends with it.
        let deadline = request.extensions().get::<Deadline>().copied().unwrap_or(Deadline(None));
        request.extensions_mut().insert(deadline.no_later_than(caller.until));
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(InFlight(Arc::new((one, of_caller))));
        Ok(())
    }

    fn admit_anybody(&self, request: &Request<Body>, is_stream: bool) -> Result<Held, ApiError> {
        let place = match request.extensions().get::<Peer>() {
            Some(peer) => Some(peer.place(PUBLIC_PER_CONNECTION).ok_or(ApiError::TooManyPublic)?),
            None => None,
        };
        let stream = match is_stream {
            true => Some(Arc::clone(&self.public_streams).try_acquire_owned().map_err(|_| ApiError::TooManyPublic)?),
            false => None,
        };
        Ok(Held { _place: place, _stream: stream })
    }

    /// Serves one request, within its time.
    async fn serve<S>(&self, service: &mut S, mut request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let deadline = Deadline::of(request.headers());
        request.extensions_mut().insert(deadline);
        let held = match self.admit(&mut request).await {
            Ok(held) => held,
            Err(error) => return Status::from(error).into_http(),
        };
        let limit = Instant::now() + self.timeout;
        let deadline = deadline.0.map_or(limit, |deadline| deadline.min(limit));
        match tokio::time::timeout_at(deadline, service.call(request)).await {
            Ok(Ok(response)) => response.map(|body| Body::new(Holding { body, _held: held })),
            Ok(Err(never)) => match never {},
            Err(_) => Status::from(ApiError::DeadlineExceeded).into_http(),
        }
    }
}

/// The body of an answer, and what is given back when it has ended.
struct Holding {
    body: Body,
    _held: Held,
}

impl http_body::Body for Holding {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Puts the [`Rules`] before a service.
#[derive(Clone)]
pub(crate) struct GateLayer(pub(crate) Arc<Rules>);

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { rules: Arc::clone(&self.0), inner }
    }
}

#[derive(Clone)]
pub(crate) struct Gate<S> {
    rules: Arc<Rules>,
    inner: S,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let rules = Arc::clone(&self.rules);
        // The clone takes the place of the service that was polled ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);

        let id = request_id(&request);
        // Of this level, lines say whose they are however little `LOG` asks for.
        let span = tracing::error_span!(
            "request",
            method = request.uri().path().trim_start_matches('/'),
            request_id = %id.to_str().unwrap_or_default(),
            client = Empty,
            payment_id = Empty,
            trace_id = Empty,
            code = Empty,
        );
        let trace_id = rules.join_trace(request.headers(), &span);
        let trace_id = trace_id.or_else(|| id.to_str().ok().map(str::to_owned));
        let trail = Trail { trace_id, ..Trail::of(Source::Api) };
        let received = Instant::now();
        Box::pin(
            async move {
                let mut response = trail::follow(trail, rules.serve(&mut inner, request)).await;
                log(&response, received.elapsed());
                response.headers_mut().insert(REQUEST_ID, id);
                Ok(response)
            }
            .instrument(span),
        )
    }
}

/// The caller's own id if it is a decent one, else a new one.
fn request_id(request: &Request<Body>) -> HeaderValue {
    let decent = |value: &&HeaderValue| {
        (1..=MAX_REQUEST_ID).contains(&value.len())
            && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
    };
    request
        .headers()
        .get(REQUEST_ID)
        .filter(decent)
        .cloned()
        .unwrap_or_else(|| HeaderValue::try_from(Uuid::now_v7().to_string()).expect("a UUID is a header value"))
}

/// One line a request, before a stream sends its first message. Errors of ours have been logged with their cause.
fn log(response: &Response<Body>, took: Duration) {
    // A refusal has its status in the headers; what has none went well so far.
    let code = response.headers().get(Status::GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
    Span::current().record("code", tracing::field::debug(code));
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if code == Code::Ok {
        tracing::debug!(took_ms, "served");
    } else {
        tracing::info!(took_ms, "refused");
    }
}
