//! Accepting an invitation: somebody new chooses a password.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::staff::password;
use billing::store::staff;
use secrecy::SecretString;

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
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Path(token): Path<String>) -> Answer {
    let (token, db) = (SecretString::from(token), &core.services.db);
    match staff::invited(&mut *db.conn().await?, &token, db.now()).await? {
        Some(invited) => Ok(make(&core, &viewer, invited.name, "", StatusCode::OK)),
        None => Ok(make(&core, &viewer, String::new(), "", StatusCode::NOT_FOUND)),
    }
}

fn make(core: &Core, viewer: &Viewer, name: String, wrong: &'static str, status: StatusCode) -> Response {
    let shell = Shell::new(core, Section::None, viewer);
    (status, html(&Page { shell, name, wrong })).into_response()
}

pub(crate) async fn accept(
    State(core): Shared,
    viewer: Viewer,
    Path(token): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let (token, db) = (SecretString::from(token), &core.services.db);
    let nothing = || make(&core, &viewer, String::new(), "", StatusCode::NOT_FOUND);
    // Nobody guesses a link: it is 244 random bits. So tries are not counted.
    let invited = staff::invited(&mut *db.conn().await?, &token, db.now()).await?;
    let Some(invited) = invited else { return Ok(nothing()) };
    let wrong = me::unfit(&form, &invited.name, viewer.lang);
    if !wrong.is_empty() {
        return Ok(make(&core, &viewer, invited.name, wrong, StatusCode::UNPROCESSABLE_ENTITY));
    }
    let chosen = SecretString::from(form.raw("new"));
    let hash = tokio::task::spawn_blocking(move || password::hash(&chosen)).await.map_err(|_| Problem::Defect)?;
    let accepted = staff::accept_invitation(&mut *db.conn().await?, &token, &hash, &viewer.address, db.now()).await?;
    // Signing in with it shows that it was typed as it was meant.
    Ok(if accepted.is_some() { Redirect::to("/login").into_response() } else { nothing() })
}
