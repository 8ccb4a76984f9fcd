//! Accepting an invitation: somebody new chooses a password.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::staff::password;
use billing::store::staff::{self, Staff};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Answer, Shared, me};
use crate::Core;
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::params::Params;

#[derive(Template)]
#[template(path = "invite.html")]
struct Page {
    shell: Shell,
    /// Empty: the link is worth nothing.
    name: String,
    wrong: &'static str,
    /// Where they come in with the company's account instead.
    provider: Option<String>,
    may_choose_password: bool,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Path(token): Path<String>) -> Answer {
    let (token, db) = (SecretString::from(token), &core.services.db);
    let invited = staff::invited(&mut *db.conn().await?, &token, db.now()).await?;
    Ok(make(&core, &viewer, invited.as_ref(), &token, ""))
}

fn make(core: &Core, viewer: &Viewer, invited: Option<&Staff>, link: &SecretString, wrong: &'static str) -> Response {
    let status = match (invited, wrong) {
        (None, _) => StatusCode::NOT_FOUND,
        (Some(_), "") => StatusCode::OK,
        (Some(_), _) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let page = Page {
        shell: Shell::new(core, Section::None, viewer),
        name: invited.map(|invited| invited.name.clone()).unwrap_or_default(),
        wrong,
        // Only what belongs to somebody is shown again.
        provider: core.oidc.as_ref().and(invited).map(|_| format!("/invite/{}/oidc", link.expose_secret())),
        may_choose_password: invited.is_some_and(|invited| may_choose_password(core, invited)),
    };
    (status, html(&page)).into_response()
}

fn may_choose_password(core: &Core, invited: &Staff) -> bool {
    invited.password_always || !core.wants_no_passwords()
}

pub(crate) async fn accept(
    State(core): Shared,
    viewer: Viewer,
    Path(token): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let (token, db) = (SecretString::from(token), &core.services.db);
    let nothing = || make(&core, &viewer, None, &token, "");
    // Nobody guesses a link: it is 244 random bits. So tries are not counted.
    let invited = staff::invited(&mut *db.conn().await?, &token, db.now()).await?;
    let Some(invited) = invited else { return Ok(nothing()) };
    if !may_choose_password(&core, &invited) {
        return Err(Problem::Right);
    }
    let wrong = me::unfit(&form, &invited.name, viewer.lang);
    if !wrong.is_empty() {
        return Ok(make(&core, &viewer, Some(&invited), &token, wrong));
    }
    let chosen = SecretString::from(form.raw("new"));
    let hash = tokio::task::spawn_blocking(move || password::hash(&chosen)).await.map_err(|_| Problem::Defect)?;
    let accepted = staff::accept_invitation(&mut *db.conn().await?, &token, &hash, &viewer.address, db.now()).await?;
    // Signing in with it shows that it was typed as it was meant.
    Ok(if accepted.is_some() { Redirect::to("/login").into_response() } else { nothing() })
}
