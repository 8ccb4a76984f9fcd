//! What every request passes before a handler sees it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::Instant;
use url::form_urlencoded;

use crate::Core;
use crate::access::{self, Access, Visitor};
use crate::page::{self, Problem};

/// The longest body of a form, in bytes.
const MAX_FORM: usize = 64 * 1024;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The fields of a form or of a query, in order; a name may stand there several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(pub(crate) Vec<(String, String)>);

impl Params {
    pub(crate) fn read(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first field of this name, without the blanks around it; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }

    /// The others, but for those that are empty.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        let stays = |(name, value): &&(String, String)| !names.contains(&name.as_str()) && !value.is_empty();
        Self(self.0.iter().filter(stays).cloned().collect())
    }

    /// As it stands in an address.
    pub(crate) fn written(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The query of the address.
pub(crate) struct Asked(pub(crate) Params);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Params::read(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// Lets a request through to a handler that asks this of who comes. What a form says is among the extensions then.
pub(crate) async fn guard(
    State((core, method, needed)): State<(Arc<Core>, Method, Access)>,
    request: Request,
    next: Next,
) -> Response {
    let posts = method == Method::POST;
    if posts && !is_from_here(request.headers(), request.uri()) {
        return page::refused(&core, Problem::Foreign);
    }
    let peer = peer(&request);
    let from = access::From { headers: request.headers(), uri: request.uri(), peer };
    let visitor = core.gate.visitor(&from, Instant::now(), true);
    let may = visitor.as_ref().map_or(Access::Open, |visitor| visitor.may);
    if may < needed {
        let needs_session = visitor.as_ref().is_none_or(|visitor| !visitor.is_signed_in);
        return match (needs_session, posts) {
            (true, false) => {
                // The router may be nested: what stands before our own path was taken off.
                let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
                let back = if path == "/" { core.base.clone() } else { format!("{}{path}", core.base) };
                let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("to", &back).finish();
                Redirect::to(&format!("{}/sign-in?{query}", core.base)).into_response()
            }
            (true, true) => page::refused(&core, Problem::SignIn),
            (false, _) => page::refused(&core, Problem::Right),
        };
    }
    let (mut parts, body) = request.into_parts();
    if posts {
        let Ok(form) = Limited::new(body, MAX_FORM).collect().await else {
            return page::refused(&core, Problem::TooLong);
        };
        let form = Params::read(&form.to_bytes());
        if let Some(visitor) = visitor.as_ref().filter(|_| needed > Access::Open)
            && !access::is_same(form.get("csrf"), &visitor.csrf)
        {
            return page::refused(&core, Problem::Stale);
        }
        parts.extensions.insert(form);
    }
    if let Some(visitor) = visitor {
        parts.extensions.insert::<Visitor>(visitor);
    }
    next.run(Request::from_parts(parts, Body::empty())).await
}

/// The other end, where the server tells it.
pub(crate) fn peer(request: &Request) -> Option<IpAddr> {
    let connected = request.extensions().get::<ConnectInfo<SocketAddr>>();
    connected.map(|ConnectInfo(address)| address.ip())
}

/// A browser says where a form comes from; other programs say nothing, and have no cookie that they did not mean to send.
fn is_from_here(headers: &HeaderMap, uri: &axum::http::Uri) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return false;
    }
    let Some(origin) = text("origin") else { return true };
    let origin = origin.split_once("://").map(|(_, host)| host);
    origin.is_some() && origin == access::host(headers, uri)
}

/// Nothing of others is loaded, nothing of ours is framed, stored or guessed.
pub(crate) async fn headers(State(core): State<Arc<Core>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if core.gate.https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

impl Problem {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Foreign | Self::SignIn | Self::Right | Self::Stale => StatusCode::FORBIDDEN,
        }
    }
}
