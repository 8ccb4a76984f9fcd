//! From a request to a notification that is believed: its sender, its size, its time, its signature, its fields – in this
//! order, so that what is forged costs as little as it can.

use cloudpayments::notification::signature::{CONTENT_HMAC, SignatureError, Signatures, X_CONTENT_HMAC, verify};
use cloudpayments::notification::{Kind, Notification, ParseError, parse};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use listener::{Body, BodyError, Peer};
use secrecy::SecretString;

use super::NotificationsConfig;
use super::networks::sender;

/// The largest body that is taken, in bytes; real ones have two or three thousand.
pub(super) const MAX_BODY: usize = 128 * 1024;

/// The path of all of them, with the kind behind it.
pub(super) const PATH: &str = "/notifications/";

/// Why a request is refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("no such path")]
    UnknownPath,
    #[error("neither POST nor GET")]
    Method,
    #[error("its sender's network is not in NOTIFICATIONS_FROM")]
    Sender,
    #[error("larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the body did not come in time")]
    Late,
    #[error("the connection was lost")]
    Lost,
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Genuine, and not understood: a person must look, and the gateway tells it again.
    #[error("genuine, and not understood: {0}")]
    Unreadable(#[from] ParseError),
    #[error("too many at once")]
    Busy,
    #[error("not served in time, or the database is away")]
    Unavailable,
}

impl Refused {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Sender => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Lost | Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A notification that the gateway has signed.
pub(super) struct Genuine {
    pub(super) notification: Notification,
    /// The bytes that were signed.
    pub(super) message: Vec<u8>,
}

/// What kind the path names.
pub(super) fn kind(request: &Request<Body>) -> Result<Kind, Refused> {
    let name = request.uri().path().strip_prefix(PATH).ok_or(Refused::UnknownPath)?;
    name.trim_end_matches('/').parse().map_err(|_| Refused::UnknownPath)
}

/// Whether its sender may send any.
pub(super) fn may_send(request: &Request<Body>, config: &NotificationsConfig) -> Result<(), Refused> {
    if config.from.is_empty() {
        return Ok(());
    }
    let peer = request.extensions().get::<Peer>().ok_or(Refused::Sender)?.address().ip();
    let forwarded = request.headers().get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let sender = sender(peer, forwarded, &config.proxies);
    if config.from.iter().any(|network| network.contains(sender)) { Ok(()) } else { Err(Refused::Sender) }
}

/// Reads it, and believes it if it is signed.
pub(super) async fn genuine(
    kind: Kind,
    request: Request<Body>,
    api_secrets: &[SecretString],
) -> Result<Genuine, Refused> {
    let (head, body) = request.into_parts();
    // What is not even signed is not read.
    let signatures = signatures(&head.headers);
    if signatures.content_hmac.is_none() && signatures.x_content_hmac.is_none() {
        return Err(SignatureError::Missing.into());
    }
    let message = match head.method {
        Method::POST => read(body).await?,
        Method::GET => head.uri.query().unwrap_or_default().as_bytes().to_vec(),
        _ => return Err(Refused::Method),
    };
    verify(api_secrets, &message, signatures)?;
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.filter(|_| head.method == Method::POST);
    Ok(Genuine { notification: parse(kind, content_type, &message)?, message })
}

fn signatures(headers: &HeaderMap) -> Signatures<'_> {
    // One that is no text is there, and fits nothing.
    let value = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    Signatures { content_hmac: value(CONTENT_HMAC), x_content_hmac: value(X_CONTENT_HMAC) }
}

async fn read(body: Body) -> Result<Vec<u8>, Refused> {
    if http_body::Body::size_hint(&body).lower() > MAX_BODY as u64 {
        return Err(Refused::TooLarge);
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refused::TooLarge),
        Err(error) => match error.downcast_ref::<BodyError>() {
            Some(BodyError::Late(_)) => Err(Refused::Late),
            _ => Err(Refused::Lost),
        },
    }
}
