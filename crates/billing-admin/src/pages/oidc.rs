//! Signing in with a company's account: going to its provider, and coming back.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::store::staff::{self, By, ByProvider, Entry, Factor, Failure, Identity, IdentityError, SessionKey, Staff};
use serde_json::json;

use super::{Answer, Shared, back, session_cookie};
use crate::Core;
use crate::oidc::{Failed, Flow, Provider, Purpose, Told, forget_cookie};
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::When;

/// The longest code that is sent on, in bytes.
const MAX_CODE: usize = 4096;

/// Why somebody is not let in, or not shown to be who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// The provider says that they, or it, did not want to.
    Cancelled,
    /// What comes back is not of a sign-in that this browser has begun within the last minutes.
    Stale,
    /// It came back before.
    Used,
    /// The provider did not say who they are.
    Failed(Failed),
    /// The account is nobody's here.
    Unknown,
    Disabled,
    /// They come with another account.
    OtherAccount,
    /// The account is another person's.
    Taken,
    /// The link of the invitation is worth nothing.
    NotInvited,
    /// There were too many tries from this address.
    TooMany,
}

impl Refused {
    /// As the log and the audit log have it.
    const fn why(self) -> &'static str {
        match self {
            Self::Cancelled => "the provider did not let them",
            Self::Stale => "not begun in this browser, or too long ago",
            Self::Used => "it came back before",
            Self::Failed(Failed::Down) => "the provider does not answer",
            Self::Failed(Failed::Client) => "the provider refuses the panel",
            Self::Failed(Failed::Code) => "the provider does not take the code",
            Self::Failed(Failed::Token(why)) => why,
            Self::Failed(Failed::NotAsked) => "the provider did not ask again",
            Self::Unknown => "the account is nobody's here",
            Self::Disabled => "they are let in no more",
            Self::OtherAccount => "they come with another account",
            Self::Taken => "the account is another person's here",
            Self::NotInvited => "the invitation is worth nothing",
            Self::TooMany => "too many tries",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Failed(Failed::Down | Failed::Client) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// Somebody was known, or said to be: it stands in the audit log. What other sites can have browsers send does not.
    const fn is_audited(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Stale | Self::Failed(Failed::Down | Failed::Client) | Self::TooMany)
    }

    /// And somebody may be guessing: who does that waits, as with passwords.
    const fn is_counted(self) -> bool {
        self.is_audited() && !matches!(self, Self::Failed(Failed::NotAsked))
    }
}

impl From<Failed> for Refused {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

#[derive(Template)]
#[template(path = "oidc.html")]
struct Page {
    shell: Shell,
    /// `None`: they were asked again, and may go back to their form.
    refused: Option<Refused>,
    until: Option<When>,
    may_use_password: bool,
    /// Where they sign out there, to come with another account.
    another_account: Option<String>,
}

fn page(core: &Core, viewer: &Viewer, refused: Option<Refused>, until: Option<When>) -> Response {
    let shell = Shell::new(core, Section::None, viewer);
    let is_wrong_account = matches!(refused, Some(Refused::Unknown | Refused::OtherAccount | Refused::Taken));
    let page = Page {
        shell,
        refused,
        until,
        may_use_password: !core.wants_no_passwords(),
        another_account: core.oidc.as_ref().filter(|_| is_wrong_account).and_then(Provider::sign_out),
    };
    (refused.map_or(StatusCode::OK, Refused::status), html(&page)).into_response()
}

fn with_cookies(cookies: &[String], mut response: Response) -> Response {
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::from_str(cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

pub(crate) async fn sign_in(State(core): Shared, viewer: Viewer, headers: HeaderMap, Asked(query): Asked) -> Answer {
    go(&core, &viewer, &headers, Purpose::SignIn { to: back(query.get("to")).to_owned() }).await
}

/// An invitation is accepted with the company's account. Whether the link is worth anything is seen when they come back.
pub(crate) async fn accept(
    State(core): Shared,
    viewer: Viewer,
    headers: HeaderMap,
    Path(token): Path<String>,
) -> Answer {
    go(&core, &viewer, &headers, Purpose::Invitation(token.into())).await
}

/// Whoever is to do something delicate is asked again by the provider.
pub(crate) async fn again(State(core): Shared, viewer: Viewer, headers: HeaderMap) -> Answer {
    let visitor = viewer.visitor()?;
    if !visitor.is_by_provider {
        return Err(Problem::NotFound);
    }
    go(&core, &viewer, &headers, Purpose::Prove(visitor.key.clone())).await
}

async fn go(core: &Core, viewer: &Viewer, headers: &HeaderMap, purpose: Purpose) -> Answer {
    let provider = core.oidc.as_ref().ok_or(Problem::NotFound)?;
    let flow = Flow::begin(purpose, core.services.db.now());
    match provider.begin(&flow).await {
        Ok(there) => {
            let cookies = flow.cookies(headers, &core.services.cipher, core.https);
            Ok(with_cookies(&cookies, Redirect::to(there.as_str()).into_response()))
        }
        Err(failed) => Ok(page(core, viewer, Some(failed.into()), None)),
    }
}

/// Somebody comes back from the provider.
pub(crate) async fn callback(State(core): Shared, viewer: Viewer, headers: HeaderMap, Asked(query): Asked) -> Answer {
    let provider = core.oidc.as_ref().ok_or(Problem::NotFound)?;
    let (db, state) = (&core.services.db, query.get("state"));
    let begun = Flow::brought_back(&headers, state, &core.services.cipher, core.https, db.now());
    let Some(flow) = begun else { return refuse(&core, &viewer, None, Refused::Stale).await };
    let over = [forget_cookie(state, core.https)];
    let came = match tell(&core, provider, &viewer, &query, &flow).await {
        Ok(Ok(told)) => come(&core, &viewer, &headers, &flow, &told).await,
        Ok(Err(refused)) => refuse(&core, &viewer, None, refused).await,
        Err(problem) => Err(problem),
    };
    came.map(|response| with_cookies(&over, response))
}

/// Who it is, by what the provider says.
async fn tell(
    core: &Core,
    provider: &Provider,
    viewer: &Viewer,
    query: &Params,
    flow: &Flow,
) -> Result<Result<Told, Refused>, Problem> {
    let db = &core.services.db;
    {
        let mut conn = db.conn().await?;
        if staff::waits_until(&mut conn, &[Failure::from_address(&viewer.address)], db.now()).await?.is_some() {
            return Ok(Err(Refused::TooMany));
        }
        if !staff::use_state(&mut conn, &flow.state(), db.now()).await? {
            return Ok(Err(Refused::Used));
        }
    }
    if !query.get("error").is_empty() {
        let code: String = query.get("error").chars().filter(char::is_ascii_lowercase).take(40).collect();
        tracing::info!(code, "the provider of sign-in sends somebody back without having let them");
        return Ok(Err(Refused::Cancelled));
    }
    // Two providers may be mixed up by a third (RFC 9207).
    if !matches!(query.get("iss"), iss if iss.is_empty() || iss == provider.issuer()) {
        return Ok(Err(Refused::Failed(Failed::Token("it comes from another issuer (`iss`)"))));
    }
    let code = query.get("code");
    if code.is_empty() || code.len() > MAX_CODE {
        return Ok(Err(Refused::Failed(Failed::Code)));
    }
    Ok(provider.finish(code, flow, db.now()).await.map_err(Refused::Failed))
}

/// The provider says who it is.
async fn come(core: &Core, viewer: &Viewer, headers: &HeaderMap, flow: &Flow, told: &Told) -> Answer {
    let (db, identity, address) = (&core.services.db, &told.identity, &viewer.address);
    let mut conn = db.conn().await?;
    let owner = match &flow.purpose {
        Purpose::SignIn { .. } => {
            staff::identify(&mut conn, identity, told.verified_email.as_deref(), address, db.now()).await
        }
        Purpose::Invitation(link) => staff::accept_invitation_with(&mut conn, link, identity, address, db.now()).await,
        Purpose::Prove(session) => {
            drop(conn);
            return prove(core, viewer, identity, session).await;
        }
    };
    drop(conn);
    match owner {
        Ok(owner) => let_in(core, viewer, headers, &flow.purpose, &owner, &told.by).await,
        Err(error) => {
            let (who, refused) = match error {
                IdentityError::Store(error) => return Err(error.into()),
                IdentityError::Unknown => (None, Refused::Unknown),
                IdentityError::NotInvited => (None, Refused::NotInvited),
                IdentityError::Disabled(who) => (Some(who), Refused::Disabled),
                IdentityError::OtherAccount(who) => (Some(who), Refused::OtherAccount),
                IdentityError::Taken(who) => (Some(who), Refused::Taken),
            };
            refuse(core, viewer, Some((who.as_deref(), identity)), refused).await
        }
    }
}

async fn let_in(
    core: &Core,
    viewer: &Viewer,
    headers: &HeaderMap,
    purpose: &Purpose,
    owner: &Staff,
    by: &ByProvider,
) -> Answer {
    let db = &core.services.db;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let mut conn = db.conn().await?;
    if let Some(visitor) = &viewer.visitor {
        staff::end(&mut conn, &visitor.key).await?;
    }
    let cookie = staff::begin_by_provider(&mut conn, owner.id, by, &viewer.address, agent, db.now()).await?;
    if by.has_shown_factor || !matches!(staff::factor(&mut conn, owner.id).await?, Factor::Asked { .. }) {
        let entry = Entry::new("signed_in").after(json!({ "by": by.issuer, "second_factor": by.has_shown_factor }));
        staff::audit(&mut conn, &By::staff(owner, &viewer.address), &entry, db.now()).await?;
    }
    drop(conn);
    // Whoever has a second factor that the provider did not ask for is asked for it there.
    let to = match purpose {
        Purpose::SignIn { to } => back(to),
        Purpose::Invitation(_) | Purpose::Prove(_) => "/",
    };
    Ok(with_cookies(&[session_cookie(core, &cookie)], Redirect::to(to).into_response()))
}

/// In the session in which they were asked for it, and with the account of whose session it is.
async fn prove(core: &Core, viewer: &Viewer, identity: &Identity, session: &SessionKey) -> Answer {
    let db = &core.services.db;
    let Some(visitor) = viewer.visitor.as_ref().filter(|visitor| visitor.key == *session) else {
        return refuse(core, viewer, None, Refused::Stale).await;
    };
    let mut conn = db.conn().await?;
    let owner = staff::identity_owner(&mut conn, identity).await?;
    if owner.is_none_or(|owner| owner.id != visitor.staff.id) {
        drop(conn);
        return refuse(core, viewer, Some((Some(&visitor.staff), identity)), Refused::Taken).await;
    }
    staff::prove(&mut conn, session, db.now()).await?;
    staff::audit(&mut conn, &visitor.by(&viewer.address), &Entry::new("proved_again"), db.now()).await?;
    drop(conn);
    Ok(page(core, viewer, None, None))
}

/// Says why: to them, in the log, and in the audit log.
async fn refuse(core: &Core, viewer: &Viewer, who: Option<(Option<&Staff>, &Identity)>, refused: Refused) -> Answer {
    let (db, address) = (&core.services.db, &viewer.address);
    let (request, why) = (viewer.request_id.to_string(), refused.why());
    tracing::warn!(address, request, why, "somebody was not let in who came from the provider of sign-in");
    let failures = [Failure::from_address(address)];
    let mut conn = db.conn().await?;
    if refused.is_counted() {
        staff::failed(&mut conn, &failures, db.now()).await?;
    }
    if refused.is_audited() {
        let subject = who.map(|(_, identity)| identity.subject.as_str());
        let by = who.and_then(|(who, _)| who).map_or_else(|| By::nobody(address), |who| By::staff(who, address));
        let entry = Entry::new("sign_in_refused").reason(refused.why());
        let entry = match subject {
            Some(subject) => entry.target("identity", subject),
            None => entry,
        };
        staff::audit(&mut conn, &by, &entry, db.now()).await?;
    }
    let until = match refused {
        Refused::TooMany => staff::waits_until(&mut conn, &failures, db.now()).await?,
        _ => None,
    };
    drop(conn);
    let until = until.map(|until| Shell::new(core, Section::None, viewer).exactly(&until));
    Ok(page(core, viewer, Some(refused), until))
}
