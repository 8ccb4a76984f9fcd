//! What every request passes before a handler sees it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::event::Source;
use billing::store::StoreError;
use billing::store::staff::{self, SessionKey};
use billing::trail::{self, Trail};
use http_body_util::{BodyExt as _, Limited};
use listener::Peer;
use secrecy::SecretString;
use url::form_urlencoded;
use uuid::Uuid;

use crate::access::{self, Access, Visitor};
use crate::oidc::Provider;
use crate::page::{Problem, Viewer, problem_page};
use crate::params::Params;
use crate::routes::Proof;
use crate::{Core, pages};

/// The longest body of a form, in bytes.
const MAX_FORM: usize = 64 * 1024;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Lets a request through to a handler that asks this of who comes. What a form says is among the extensions then.
/// Whatever is refused is refused before anything is looked up: to who may not see it, what is there and what is not are one.
pub(crate) async fn guard(
    State((core, method, needed, proof)): State<(Arc<Core>, Method, Access, Proof)>,
    request: Request,
    next: Next,
) -> Response {
    let request_id = Uuid::now_v7();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address().ip().to_string());
    let address = access::address(request.headers(), core.proxies, peer);
    let mut viewer = Viewer::new(request.headers(), address, request_id);
    let posts = method == Method::POST;
    if posts && !is_from_here(request.headers(), request.uri()) {
        return problem_page(&viewer, Problem::Foreign);
    }
    match visitor(&core, request.headers()).await {
        Ok(visitor) => viewer.come(visitor),
        Err(error) => return problem_page(&viewer, Problem::from(error)),
    }
    let may = viewer.visitor.as_ref().map_or(needed == Access::Open, |visitor| visitor.may(needed));
    if !may {
        return match (&viewer.visitor, posts) {
            (None, false) => {
                let back = request.uri().path_and_query().map_or("/", |path| path.as_str());
                let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("to", back).finish();
                Redirect::to(&format!("/login?{query}")).into_response()
            }
            (None, true) => problem_page(&viewer, Problem::SignIn),
            (Some(visitor), false) if visitor.waits_for_code => {
                let back = request.uri().path_and_query().map_or("/", |path| path.as_str());
                let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("to", back).finish();
                Redirect::to(&format!("/login/code?{query}")).into_response()
            }
            (Some(visitor), true) if visitor.waits_for_code => problem_page(&viewer, Problem::SignIn),
            (Some(visitor), false) if visitor.staff.is_one_time => Redirect::to("/me").into_response(),
            (Some(visitor), false) if visitor.lacks_factor => Redirect::to("/me/factor").into_response(),
            (Some(_), _) => problem_page(&viewer, Problem::Right),
        };
    }
    let (mut parts, body) = request.into_parts();
    if posts {
        let Ok(form) = Limited::new(body, MAX_FORM).collect().await else {
            return problem_page(&viewer, Problem::TooLong);
        };
        let form = Params::read(&form.to_bytes());
        if let Some(visitor) = viewer.visitor.as_ref().filter(|_| needed != Access::Open)
            && !access::is_same(form.get("csrf"), &visitor.csrf)
        {
            return problem_page(&viewer, Problem::Stale);
        }
        if proof == Proof::Password
            && let Err(problem) = proved(&core, &viewer, &form).await
        {
            return problem_page(&viewer, problem);
        }
        parts.extensions.insert(form);
    }
    parts.extensions.insert(viewer.clone());
    let trail = Trail { trace_id: Some(request_id.to_string()), ..Trail::of(Source::Staff) };
    let response = trail::follow(trail, next.run(Request::from_parts(parts, Body::empty()))).await;
    match response.extensions().get::<Problem>() {
        Some(problem) => problem_page(&viewer, *problem),
        None => response,
    }
}

/// Whether whoever sits there has shown within the last minutes who they are, or does so now.
async fn proved(core: &Core, viewer: &Viewer, form: &Params) -> Result<(), Problem> {
    let (visitor, db) = (viewer.visitor()?, &core.services.db);
    if visitor.is_proved(db.now()) {
        return Ok(());
    }
    if visitor.is_by_provider {
        return Err(Problem::Provider);
    }
    let name = &visitor.staff.name;
    let failures = [staff::Failure::of_name(name), staff::Failure::from_address(&viewer.address)];
    let (waits, hash) = {
        let mut conn = db.conn().await?;
        let waits = staff::waits_until(&mut conn, &failures, db.now()).await?;
        (waits, staff::by_name(&mut conn, name).await?.map(|(_, hash)| hash))
    };
    if waits.is_none() && pages::sign_in::verify(core, form.raw("password").into(), hash).await {
        return Ok(staff::prove(&mut *db.conn().await?, &visitor.key, db.now()).await?);
    }
    if !form.raw("password").is_empty() {
        staff::failed(&mut *db.conn().await?, &failures, db.now()).await?;
    }
    Err(Problem::Password)
}

/// Whose session it is.
async fn visitor(core: &Core, headers: &HeaderMap) -> Result<Option<Visitor>, StoreError> {
    let Some(cookie) = access::cookie(headers, access::cookie_name(core.https)) else { return Ok(None) };
    let cookie = SecretString::from(cookie);
    let db = &core.services.db;
    let visit = staff::visit(&mut *db.conn().await?, &SessionKey::of(&cookie), db.now()).await?;
    let issuer = core.oidc.as_ref().map(Provider::issuer);
    Ok(visit.map(|visit| Visitor::new(visit, &cookie, core.needs_factor, issuer)))
}

/// A browser says where a form comes from; other programs say nothing, and have no cookie that they did not mean to send.
fn is_from_here(headers: &HeaderMap, uri: &Uri) -> bool {
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
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if core.https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}
