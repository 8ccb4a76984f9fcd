//! The thin edge: HTTP in, HTTP out.

pub(crate) mod acs;
pub(crate) mod api;
mod cabinet;
mod check;
mod clock;
pub(crate) mod control;
mod dice;
pub(crate) mod faults;
mod html;
pub(crate) mod load;
pub(crate) mod notifications;
mod order_page;
mod outcome;
mod record;
pub(crate) mod sender;
mod statement;
mod timekeeper;
mod turns;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Extension, State},
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use listener::Peer;
use parking_lot::Mutex;
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use self::{faults::Faults, load::Load, sender::Post, turns::Turns};
use crate::{
    clock::Clock,
    journal::Journal,
    ledger::Ledger,
    wire::{answer::Terminal, request::Endpoint},
};

/// Largest request body, in bytes: a receipt with a few hundred items fits.
const MAX_BODY: usize = 256 * 1024;

/// The ledger and the file it lives in; changed together or not at all.
pub(crate) struct Books {
    pub(crate) ledger: Ledger,
    pub(crate) journal: Option<Journal>,
}

/// Everything the handlers share.
pub(crate) struct Gateway {
    pub(crate) terminal: Terminal,
    pub(crate) api_secret: SecretString,
    pub(crate) strict: bool,
    /// Every charge only holds the money.
    pub(crate) two_stage: bool,
    pub(crate) latency: Duration,
    pub(crate) clock: Clock,
    pub(crate) books: Mutex<Books>,
    pub(crate) faults: Mutex<Faults>,
    /// One permit for each request the gateway handles at a time.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) load: Load,
    pub(crate) turns: Arc<Turns>,
    pub(crate) post: Post,
    /// How long a shop may take to reply to a notification.
    pub(crate) reply_timeout: Duration,
    /// Somebody waits for a notification to have been sent.
    pub(crate) sent: Notify,
    pub(crate) shutdown: CancellationToken,
}

/// The gateway's API, the 3-D Secure page, and the sandbox's own page and controls.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new();
    for (path, endpoint) in Endpoint::ALL {
        let handler = move |State(gateway): State<Arc<Gateway>>, Extension(peer): Extension<Peer>, request| {
            api::handle(gateway, peer, endpoint, path, request)
        };
        router = router.route(path, post(handler));
    }
    router
        .route("/", get(|| async { Html(include_str!("../pages/index.html")) }))
        .route("/acs", get(acs::show_from_link).post(acs::show))
        .route("/acs/answer", post(acs::answer))
        .route("/sandbox/cards", get(control::cards))
        .route("/sandbox/cryptogram", post(control::cryptogram))
        .route("/sandbox/ledger", get(control::ledger))
        .route("/sandbox/load", get(control::load))
        .route("/sandbox/refunds", post(control::refund))
        .route("/sandbox/chargebacks", post(control::charge_back))
        .route("/sandbox/tokens", post(control::spoil_token))
        .route("/sandbox/clock", get(clock::show).post(clock::set))
        .route("/sandbox/notifications", get(notifications::list))
        .route("/sandbox/notifications/{id}/send", post(notifications::send))
        .route("/sandbox/faults", get(control::list_faults).post(control::add_fault).delete(control::clear_faults))
        .merge(statement::routes())
        .merge(order_page::routes())
        .fallback(not_emulated)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(gateway)
}

/// The real gateway has more methods than the sandbox.
async fn not_emulated() -> Response {
    let methods: Vec<_> = Endpoint::ALL.iter().map(|(path, _)| path).collect();
    let answer = json!({ "Success": false, "Message": "not emulated by the sandbox", "methods": methods });
    (StatusCode::NOT_FOUND, Json(answer)).into_response()
}
