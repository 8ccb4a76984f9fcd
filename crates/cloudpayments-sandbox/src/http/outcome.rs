//! What leaves the sandbox.

use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use listener::Peer;

/// What leaves the sandbox.
pub(super) enum Outcome {
    /// The gateway's answer, HTTP 200.
    Answer(String),
    /// A bare HTTP error.
    Error(StatusCode),
    /// HTTP 200, and not the gateway's language.
    Garbage,
    /// HTTP 502 and a proxy's page.
    Page,
    /// HTTP 200, and a refusal of something else than the request.
    Refusal,
    /// HTTP 200, and a refusal of the request as it is.
    Invalid,
    /// The connection is cut.
    Nothing,
}

impl Outcome {
    pub(super) fn leave(self, peer: &Peer) -> Response {
        const JSON: (header::HeaderName, &str) = (header::CONTENT_TYPE, "application/json; charset=utf-8");
        match self {
            Self::Answer(body) => ([JSON], body).into_response(),
            Self::Error(status) => status.into_response(),
            Self::Garbage => ([JSON], "<html><body>502 Bad Gateway</body>").into_response(),
            Self::Page => {
                (StatusCode::BAD_GATEWAY, Html("<html><body><h1>502 Bad Gateway</h1></body></html>")).into_response()
            }
            Self::Refusal => ([JSON], r#"{"Success":false,"Message":"Internal error"}"#).into_response(),
            Self::Invalid => ([JSON], r#"{"Success":false,"Message":"Token is required"}"#).into_response(),
            Self::Nothing => {
                peer.cut();
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
