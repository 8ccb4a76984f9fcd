//! The way of one request to the gateway's API: who asks, how many at a time, what goes wrong, whose turn it is, what is
//! answered.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest as _, Request as HttpRequest},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use listener::Peer;
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::{
    Books, Gateway,
    faults::{Fault, FaultKind, Target},
    load::Handled,
};
use crate::{
    ledger::{Answer, Reply, command::Command, transaction::RequestId},
    wire::{
        params::{BadRequest, Params},
        request::{self, Endpoint, Request},
    },
};

/// Longest `X-Request-ID`, in bytes.
const MAX_REQUEST_ID: usize = 255;

/// A request that got past the door.
struct Call {
    endpoint: Endpoint,
    path: &'static str,
    request_id: Option<RequestId>,
    params: Params,
}

/// What leaves the sandbox.
enum Outcome {
    /// The gateway's answer, HTTP 200.
    Answer(String),
    /// A bare HTTP error.
    Error(StatusCode),
    /// HTTP 200, and not the gateway's language.
    Garbage,
    /// HTTP 200, and a refusal of something else than the request.
    Refusal,
    /// HTTP 200, and a refusal of the request as it is.
    Invalid,
    /// The connection is cut.
    Nothing,
}

/// Handles one request to `path`. The work is a task of its own: a client that hangs up does not stop a bank.
pub(crate) async fn handle(
    gateway: Arc<Gateway>,
    peer: Peer,
    endpoint: Endpoint,
    path: &'static str,
    request: HttpRequest,
) -> Response {
    if !gateway.knows(request.headers()) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"CloudPayments\"")])
            .into_response();
    }
    let headers = request.headers().clone();
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(rejection) => return rejection.into_response(),
    };
    let Ok(slot) = Arc::clone(&gateway.slots).try_acquire_owned() else {
        return Outcome::Error(StatusCode::TOO_MANY_REQUESTS).leave(&peer);
    };
    let call = match Call::read(endpoint, path, &headers, &body) {
        Ok(call) => call,
        Err(bad_request) => {
            let reply = Reply { answer: Answer::Refused(bad_request.0), at: gateway.clock.now() };
            return Outcome::Answer(gateway.print(&gateway.books.lock(), &reply)).leave(&peer);
        }
    };
    let handled = Handled::begin(&gateway);
    let work = tokio::spawn(async move {
        let (_slot, _handled) = (slot, handled);
        gateway.work(&call).await
    });
    let outcome = work.await.unwrap_or_else(|error| {
        tracing::error!(%error, path, "a request of the sandbox failed");
        Outcome::Error(StatusCode::INTERNAL_SERVER_ERROR)
    });
    outcome.leave(&peer)
}

impl Call {
    fn read(endpoint: Endpoint, path: &'static str, headers: &HeaderMap, body: &[u8]) -> Result<Self, BadRequest> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let request_id = match text("x-request-id").map(str::trim) {
            Some(id) if id.is_empty() || id.len() > MAX_REQUEST_ID => {
                return Err(BadRequest::about(
                    "X-Request-ID",
                    format_args!("must have 1 to {MAX_REQUEST_ID} ASCII characters"),
                ));
            }
            id => id.filter(|_| !endpoint.only_looks()).map(|id| RequestId(id.to_owned())),
        };
        let params = Params::parse(text(header::CONTENT_TYPE.as_str()), body)?;
        Ok(Self { endpoint, path, request_id, params })
    }
}

/// The sandbox is going down.
struct GoingDown;

impl Gateway {
    /// Basic authentication: Public ID and API Secret.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let credentials = || {
            let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(encoded.trim()).ok())?
        };
        let expected = format!("{}:{}", self.terminal.public_id, self.api_secret.expose_secret());
        credentials().is_some_and(|given| given.ct_eq(expected.as_bytes()).into())
    }

    async fn work(&self, call: &Call) -> Outcome {
        let outcome = match self.fault_for(call) {
            None => self.process(call).await,
            Some(fault) => self.fail(&fault, call).await,
        };
        outcome.unwrap_or(Outcome::Nothing)
    }

    async fn fail(&self, fault: &Fault, call: &Call) -> Result<Outcome, GoingDown> {
        tracing::debug!(path = call.path, fault = ?fault.kind, "a fault was ordered for this request");
        let before = match fault.kind {
            FaultKind::DropBefore => Some(Outcome::Nothing),
            FaultKind::Error500Before => Some(Outcome::Error(StatusCode::INTERNAL_SERVER_ERROR)),
            FaultKind::Http429 => Some(Outcome::Error(StatusCode::TOO_MANY_REQUESTS)),
            FaultKind::Http401 => Some(Outcome::Error(StatusCode::UNAUTHORIZED)),
            FaultKind::InvalidBefore => Some(Outcome::Invalid),
            FaultKind::DelayBefore => {
                self.pause(fault.delay()).await?;
                return self.process(call).await;
            }
            FaultKind::Delay
            | FaultKind::DropAfter
            | FaultKind::Error500After
            | FaultKind::GarbageAfter
            | FaultKind::RefusalAfter => None,
        };
        if let Some(outcome) = before {
            self.pause(fault.delay()).await?;
            return Ok(outcome);
        }

        // A duplicate waits for the answer, so the turn is held until that is over too.
        let _turn = self.turn(call).await;
        let outcome = self.process_in_turn(call).await?;
        self.pause(fault.delay()).await?;
        Ok(match fault.kind {
            FaultKind::DropAfter => Outcome::Nothing,
            FaultKind::Error500After => Outcome::Error(StatusCode::INTERNAL_SERVER_ERROR),
            FaultKind::GarbageAfter => Outcome::Garbage,
            FaultKind::RefusalAfter => Outcome::Refusal,
            _ => outcome,
        })
    }

    async fn process(&self, call: &Call) -> Result<Outcome, GoingDown> {
        let _turn = self.turn(call).await;
        self.process_in_turn(call).await
    }

    async fn turn(&self, call: &Call) -> Option<super::turns::Turn> {
        match &call.request_id {
            Some(id) => Some(self.turns.take(id.clone()).await),
            None => None,
        }
    }

    async fn process_in_turn(&self, call: &Call) -> Result<Outcome, GoingDown> {
        self.pause(self.latency).await?;
        Ok(match self.answer(call).await {
            Ok(answer) => Outcome::Answer(answer),
            Err(error) => {
                // Not written, so not done: the books are as they were.
                tracing::error!(%error, "cannot write the ledger file");
                Outcome::Error(StatusCode::INTERNAL_SERVER_ERROR)
            }
        })
    }

    /// Check, decide, write down, apply, print.
    async fn answer(&self, call: &Call) -> io::Result<String> {
        let mut request = call.endpoint.read(&call.params, self.strict).map(|request| self.in_stages(request));
        if let Ok(Request::Command(command)) = &mut request {
            self.ask_shop(command, call.request_id.as_ref()).await?;
        }
        let mut books = self.books.lock();
        let now = self.clock.now();
        let answer = match request {
            Err(BadRequest(message)) => Answer::Refused(message),
            Ok(Request::Query(query)) => books.ledger.query(&query, now),
            Ok(Request::Command(command)) => {
                if let Some(id) = &call.request_id
                    && let Some(reply) = books.ledger.replay(id, now)
                {
                    tracing::debug!(
                        path = call.path,
                        request_id = id.0,
                        "the answer to this request id is given again"
                    );
                    return Ok(self.print(&books, &reply));
                }
                let decision = books.ledger.decide(&command, call.request_id.as_ref(), now);
                books.record(decision.changes)?;
                self.clock.ring();
                books.ledger.answer(decision.verdict)
            }
        };
        tracing::debug!(path = call.path, %answer, "answered");
        Ok(self.print(&books, &Reply { answer, at: now }))
    }

    /// A charge at a terminal of two stages is an authorization.
    fn in_stages(&self, mut request: Request) -> Request {
        if let Request::Command(command) = &mut request {
            match &mut **command {
                Command::ChargeCard(charge) => charge.purpose.two_stage |= self.two_stage,
                Command::ChargeToken(charge) => charge.purpose.two_stage |= self.two_stage,
                _ => {}
            }
        }
        request
    }

    fn print(&self, books: &Books, reply: &Reply) -> String {
        self.terminal.print(reply, books.ledger.secret())
    }

    /// The fault ordered for such a request. Requests about a transaction belong to its account and invoice.
    fn fault_for(&self, call: &Call) -> Option<Fault> {
        if self.faults.lock().is_empty() {
            return None;
        }
        let books = self.books.lock();
        let id = request::transaction_id(&call.params).ok();
        let (account_id, invoice_id) = id.and_then(|id| books.ledger.owner(id)).unwrap_or_else(|| {
            let named = |field| call.params.text(field).ok().flatten();
            (named("AccountId"), named("InvoiceId"))
        });
        self.faults.lock().take(Target { path: call.path, account_id, invoice_id })
    }

    async fn pause(&self, duration: Duration) -> Result<(), GoingDown> {
        if duration.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(duration) => Ok(()),
            () = self.shutdown.cancelled() => Err(GoingDown),
        }
    }
}

impl Books {
    /// Writes changes to the file and makes them true, or neither.
    pub(super) fn record(&mut self, changes: Vec<crate::ledger::Change>) -> io::Result<()> {
        if let Some(journal) = &mut self.journal
            && !changes.is_empty()
        {
            journal.append(&changes)?;
        }
        changes.into_iter().for_each(|change| self.ledger.apply(change));
        Ok(())
    }
}

impl Outcome {
    fn leave(self, peer: &Peer) -> Response {
        const JSON: (header::HeaderName, &str) = (header::CONTENT_TYPE, "application/json; charset=utf-8");
        match self {
            Self::Answer(body) => ([JSON], body).into_response(),
            Self::Error(status) => status.into_response(),
            Self::Garbage => ([JSON], "<html><body>502 Bad Gateway</body>").into_response(),
            Self::Refusal => ([JSON], r#"{"Success":false,"Message":"Internal error"}"#).into_response(),
            Self::Invalid => ([JSON], r#"{"Success":false,"Message":"Token is required"}"#).into_response(),
            Self::Nothing => {
                peer.cut();
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
