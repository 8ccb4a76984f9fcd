//! The sandbox's controls of notifications: see what was told, tell it again.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::Gateway;
use crate::notification::outbox::{Delivery, NoticeId, State as Delivered};

impl Delivered {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::UnderWay => "under_way",
            Self::Accepted => "accepted",
            Self::GivenUp => "given_up",
            Self::Withheld => "withheld",
        }
    }
}

fn entry(delivery: &Delivery) -> Value {
    let due = match delivery.state {
        Delivered::Waiting(at) => Some(at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        _ => None,
    };
    let notice = &delivery.notice;
    json!({
        "id": notice.id,
        "type": notice.kind,
        "transaction_id": notice.transaction_id,
        "account_id": notice.account_id,
        "invoice_id": notice.invoice_id,
        "state": delivery.state.name(),
        "tries": delivery.tries,
        "last": delivery.last.as_ref().map(|tried| tried.outcome.describe()),
        "next_at": due,
    })
}

/// `GET /sandbox/notifications`: every notification, oldest first.
pub(crate) async fn list(State(gateway): State<Arc<Gateway>>) -> Json<Vec<Value>> {
    Json(gateway.books.lock().ledger.outbox().deliveries().map(entry).collect())
}

/// `POST /sandbox/notifications/{id}/send`: once more, now, and how it ended.
pub(crate) async fn send(State(gateway): State<Arc<Gateway>>, Path(id): Path<u64>) -> Response {
    let known = gateway.books.lock().ledger.outbox().get(NoticeId(id)).is_some();
    match gateway.send_again(NoticeId(id)).await {
        Some(outcome) => Json(json!({ "outcome": outcome.describe() })).into_response(),
        None if known => (StatusCode::CONFLICT, Json(json!({ "error": "it is being sent" }))).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({ "error": "there is no such notification" }))).into_response(),
    }
}
