//! Signing in and out.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use billing::staff::{self, password};
use billing::store::StoreError;
use billing::store::staff::{
    By, Entry, Factor, Failure, Staff, audit, begin, by_name, end, factor, failed, succeeded, waits_until,
};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;

use super::{Answer, Shared, back, session_cookie, set_cookie};
use crate::Core;
use crate::access::cookie_name;
use crate::oidc::Provider;
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::When;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    shell: Shell,
    to: String,
    name: String,
    is_wrong: bool,
    until: Option<When>,
    /// Where they sign in with the company's account.
    provider: Option<String>,
    wants_no_passwords: bool,
    /// Where they may sign out of that as well: they have just signed out here.
    sign_out: Option<String>,
}

impl Page {
    fn new(core: &Core, viewer: &Viewer, to: &str) -> Self {
        let way = url::form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
        Self {
            shell: Shell::new(core, Section::None, viewer),
            to: to.to_owned(),
            name: String::new(),
            is_wrong: false,
            until: None,
            provider: core.oidc.is_some().then(|| format!("/login/oidc?{way}")),
            wants_no_passwords: core.wants_no_passwords(),
            sign_out: None,
        }
    }
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Response {
    let has_left = !query.get("left").is_empty();
    let sign_out = core.oidc.as_ref().filter(|_| has_left).and_then(Provider::sign_out);
    html(&Page { sign_out, ..Page::new(&core, &viewer, query.get("to")) })
}

/// For a name that nobody has, and for a password that is not theirs, the same is said after the same time.
pub(crate) async fn sign_in(
    State(core): Shared,
    viewer: Viewer,
    headers: HeaderMap,
    Extension(form): Extension<Params>,
) -> Answer {
    let typed = form.get("name");
    let name = staff::name(typed).unwrap_or_default();
    let failures = [Failure::of_name(&name), Failure::from_address(&viewer.address)];
    let db = &core.services.db;
    let page = |is_wrong, until| {
        html(&Page { name: typed.to_owned(), is_wrong, until, ..Page::new(&core, &viewer, form.get("to")) })
    };
    let (waits, found) = {
        let mut conn = db.conn().await?;
        (waits_until(&mut conn, &failures, db.now()).await?, by_name(&mut conn, &name).await?)
    };
    if let Some(until) = waits {
        let shell = Shell::new(&core, Section::None, &viewer);
        let until = shell.exactly(&until);
        return Ok((StatusCode::TOO_MANY_REQUESTS, page(false, Some(until))).into_response());
    }
    let may_come = |found: &Staff| found.disabled_at.is_none() && (found.password_always || !core.wants_no_passwords());
    let (found, hash) = match found {
        Some((found, hash)) if may_come(&found) => (Some(found), Some(hash)),
        _ => (None, None),
    };
    let is_right = verify(&core, form.raw("password").into(), hash).await;
    let mut conn = db.conn().await?;
    let Some(found) = found.filter(|_| is_right) else {
        failed(&mut conn, &failures, db.now()).await?;
        tracing::warn!(address = viewer.address, "somebody could not sign in");
        return Ok((StatusCode::FORBIDDEN, page(true, None)).into_response());
    };
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let cookie = begin(&mut conn, found.id, &viewer.address, agent, db.now()).await?;
    if !matches!(factor(&mut conn, found.id).await?, Factor::Asked { .. }) {
        come_in(&mut conn, &found, &viewer, db.now()).await?;
    }
    // Whoever has a second factor is asked for it there.
    Ok(set_cookie(&session_cookie(&core, &cookie), if found.is_one_time { "/me" } else { back(form.get("to")) }))
}

/// They have shown all that is asked of them.
pub(super) async fn come_in(
    conn: &mut AsyncPgConnection,
    staff: &Staff,
    viewer: &Viewer,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    succeeded(conn, &Failure::of_name(&staff.name)).await?;
    audit(conn, &By::staff(staff, &viewer.address), &Entry::new("signed_in"), now).await
}

/// On a thread of its own, and not many at a time.
pub(crate) async fn verify(core: &Core, given: SecretString, hash: Option<String>) -> bool {
    let permit = core.passwords.clone().acquire_owned().await;
    let verifying = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        password::verify(&given, hash.as_deref())
    });
    verifying.await.unwrap_or_default()
}

pub(crate) async fn sign_out(State(core): Shared, viewer: Viewer) -> Answer {
    let visitor = viewer.visitor()?;
    end(&mut *core.services.db.conn().await?, &visitor.key).await.map_err(Problem::from)?;
    let secure = if core.https { "; Secure" } else { "" };
    let cookie = format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{secure}", cookie_name(core.https));
    Ok(set_cookie(&cookie, if visitor.is_by_provider { "/login?left=1" } else { "/login" }))
}
