//! What happens to every request before its service sees it: it gets an id, its caller is checked, and its time is
//! limited.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;
use uuid::Uuid;

use crate::auth::{Clients, Requirement, requirement};
use crate::deadline::Deadline;
use crate::error::ApiError;

/// Names a request in the log. A caller may choose it; every response carries it.
pub(crate) const REQUEST_ID: &str = "x-request-id";
const MAX_REQUEST_ID: usize = 64;

/// Rules that are the same for every request.
pub(crate) struct Rules {
    pub(crate) clients: Clients,
    /// How long a request may take when its caller sets no shorter deadline; a stream, until it is open.
    pub(crate) timeout: Duration,
    /// How many requests are served at once.
    pub(crate) in_flight: Arc<Semaphore>,
}

/// Counts as a request being served while any copy of it lives. Found in the extensions of a request, so that a write
/// counts until it is finished, also when its caller has gone.
#[derive(Clone)]
pub(crate) struct InFlight(#[expect(dead_code, reason = "held, not used")] Arc<OwnedSemaphorePermit>);

impl Rules {
    /// What the caller may do, or why not. A refusal costs no more than reading the headers.
    fn admit(&self, request: &mut Request<Body>) -> Result<(), ApiError> {
        match requirement(request.uri().path()) {
            // Health must answer also under load.
            Requirement::Public => Ok(()),
            Requirement::Unknown => Err(ApiError::NoSuchMethod),
            Requirement::Scope(scope) => {
                let today = billing::clock::now().date_naive();
                let caller = self.clients.authorize(request.headers(), scope, today).map_err(ApiError::Denied)?;
                tracing::Span::current().record("client", &*caller.name);
                let permit = Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| ApiError::Overloaded)?;
                request.extensions_mut().insert(caller);
                request.extensions_mut().insert(InFlight(Arc::new(permit)));
                Ok(())
            }
        }
    }

    /// Serves one request, within its time.
    async fn serve<S>(&self, service: &mut S, mut request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let deadline = Deadline::of(request.headers());
        request.extensions_mut().insert(deadline);
        if let Err(error) = self.admit(&mut request) {
            return Status::from(error).into_http();
        }
        let limit = Instant::now() + self.timeout;
        let deadline = deadline.0.map_or(limit, |deadline| deadline.min(limit));
        match tokio::time::timeout_at(deadline, service.call(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => Status::from(ApiError::DeadlineExceeded).into_http(),
        }
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
        let span = tracing::info_span!(
            "request",
            method = request.uri().path().trim_start_matches('/'),
            request_id = %id.to_str().unwrap_or_default(),
            client = tracing::field::Empty,
        );
        let received = Instant::now();
        Box::pin(
            async move {
                let mut response = rules.serve(&mut inner, request).await;
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
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if code == Code::Ok {
        tracing::debug!(?code, took_ms, "served");
    } else {
        tracing::info!(?code, took_ms, "refused");
    }
}
