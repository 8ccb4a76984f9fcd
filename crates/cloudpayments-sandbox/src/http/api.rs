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
use chrono::TimeDelta;
use listener::Peer;
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::{
    Books, Gateway,
    faults::{Fault, FaultKind, Target},
    load::Handled,
    outcome::Outcome,
};
use crate::{
    ledger::{Answer, Reply, command::Command, transaction::RequestId},
    notification::outbox::NoticeId,
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
    let uri = request.uri().clone();
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(rejection) => return rejection.into_response(),
    };
    let Ok(slot) = Arc::clone(&gateway.slots).try_acquire_owned() else {
        return Outcome::Error(StatusCode::TOO_MANY_REQUESTS).leave(&peer);
    };
    let call = match Call::read(endpoint, path, uri.path(), &headers, &body) {
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
    fn read(
        endpoint: Endpoint,
        path: &'static str,
        asked: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, BadRequest> {
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
        let mut params = Params::parse(text(header::CONTENT_TYPE.as_str()), body)?;
        for (part, value) in path.split('/').zip(asked.split('/')) {
            if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                params.set(name, value);
            }
        }
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
            FaultKind::HtmlBefore => Some(Outcome::Page),
            FaultKind::DelayBefore => {
                self.pause(fault.delay()).await?;
                return self.process(call).await;
            }
            // Those of notifications do not come here.
            FaultKind::Delay
            | FaultKind::ClockSkew
            | FaultKind::HtmlAfter
            | FaultKind::NotificationLost
            | FaultKind::NotificationLate
            | FaultKind::NotificationDuplicate
            | FaultKind::NotificationEarly
            | FaultKind::NotificationReordered
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
        let outcome = self.process_in_turn(call, fault.skew()).await?;
        self.pause(fault.delay()).await?;
        Ok(match fault.kind {
            FaultKind::DropAfter => Outcome::Nothing,
            FaultKind::Error500After => Outcome::Error(StatusCode::INTERNAL_SERVER_ERROR),
            FaultKind::GarbageAfter => Outcome::Garbage,
            FaultKind::RefusalAfter => Outcome::Refusal,
            FaultKind::HtmlAfter => Outcome::Page,
            _ => outcome,
        })
    }

    async fn process(&self, call: &Call) -> Result<Outcome, GoingDown> {
        let _turn = self.turn(call).await;
        self.process_in_turn(call, TimeDelta::zero()).await
    }

    async fn turn(&self, call: &Call) -> Option<super::turns::Turn> {
        match &call.request_id {
            Some(id) => Some(self.turns.take(id.clone()).await),
            None => None,
        }
    }

    async fn process_in_turn(&self, call: &Call, skew: TimeDelta) -> Result<Outcome, GoingDown> {
        self.pause(self.latency).await?;
        Ok(match self.answer(call, skew).await {
            Ok(answer) => Outcome::Answer(answer),
            Err(error) => {
                // Not written, so not done: the books are as they were.
                tracing::error!(%error, "cannot write the ledger file");
                Outcome::Error(StatusCode::INTERNAL_SERVER_ERROR)
            }
        })
    }

    /// Check, decide, write down, apply, print.
    async fn answer(&self, call: &Call, skew: TimeDelta) -> io::Result<String> {
        let mut request = call.endpoint.read(&call.params, self.strict).map(|request| self.in_stages(request));
        if let Ok(Request::Command(command)) = &mut request {
            self.ask_shop(command, call.request_id.as_ref(), None).await?;
        }
        let (answer, early) = self.decide(call, request, skew)?;
        self.until_told(&early).await;
        Ok(answer)
    }

    /// The answer, and the notifications that are to be told before it.
    fn decide(
        &self,
        call: &Call,
        request: Result<Request, BadRequest>,
        skew: TimeDelta,
    ) -> io::Result<(String, Vec<NoticeId>)> {
        let mut books = self.books.lock();
        let now = self.clock.now() + skew;
        let mut early = Vec::new();
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
                    return Ok((self.print(&books, &reply), early));
                }
                let decision = books.ledger.decide(&command, call.request_id.as_ref(), now);
                early = self.record(&mut books, decision.changes)?;
                books.ledger.answer(decision.verdict)
            }
        };
        tracing::debug!(path = call.path, %answer, "answered");
        Ok((self.print(&books, &Reply { answer, at: now }), early))
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
        self.faults.lock().take(Target { path: call.path, account_id, invoice_id, notification: None })
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
