//! The second factor: showing it when coming in, setting it up, and the codes for whoever has lost the phone.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::staff::totp;
use billing::store::staff::{self, Code, Factor, Failure};
use qrcode::QrCode;
use qrcode::render::svg;
use secrecy::{ExposeSecret as _, SecretString};

use super::sign_in::come_in;
use super::{Answer, Shared, back, session_cookie, set_cookie};
use crate::Core;
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::When;

/// Stands beside the name in the app.
const ISSUER: &str = "Billing";
/// The width of the picture that a phone reads, in pixels.
const PICTURE: u32 = 220;

#[derive(Template)]
#[template(path = "code.html")]
struct Ask {
    shell: Shell,
    to: String,
    is_wrong: bool,
    until: Option<When>,
}

pub(crate) async fn ask(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    if !viewer.visitor()?.waits_for_code {
        return Ok(Redirect::to(back(query.get("to"))).into_response());
    }
    let shell = Shell::new(&core, Section::None, &viewer);
    Ok(html(&Ask { shell, to: query.get("to").to_owned(), is_wrong: false, until: None }))
}

/// A code is tried: one that is right opens the pages. Tries are counted by themselves, so that whoever knows the password
/// cannot begin to count anew with it.
pub(crate) async fn show(State(core): Shared, viewer: Viewer, Extension(form): Extension<Params>) -> Answer {
    let (visitor, db) = (viewer.visitor()?, &core.services.db);
    let failures = [Failure::of_code(&visitor.staff.name), Failure::from_address(&viewer.address)];
    let page = |is_wrong, until| {
        let shell = Shell::new(&core, Section::None, &viewer);
        html(&Ask { shell, to: form.get("to").to_owned(), is_wrong, until })
    };
    let mut conn = db.conn().await?;
    if let Some(until) = staff::waits_until(&mut conn, &failures, db.now()).await? {
        let until = Shell::new(&core, Section::None, &viewer).exactly(&until);
        return Ok((StatusCode::TOO_MANY_REQUESTS, page(false, Some(until))).into_response());
    }
    let id = visitor.staff.id;
    if staff::use_code(&mut conn, id, form.get("code"), &core.services.cipher, db.now()).await? == Code::Wrong {
        staff::failed(&mut conn, &failures, db.now()).await?;
        tracing::warn!(address = viewer.address, "somebody could not show the second factor");
        return Ok((StatusCode::FORBIDDEN, page(true, None)).into_response());
    }
    staff::succeeded(&mut conn, &failures[0]).await?;
    come_in(&mut conn, &visitor.staff, &viewer, db.now()).await?;
    let cookie = staff::renew(&mut conn, &visitor.key, db.now()).await?;
    Ok(set_cookie(&session_cookie(&core, &cookie), back(form.get("to"))))
}

#[derive(Template)]
#[template(path = "factor.html")]
struct Page {
    shell: Shell,
    factor: Factor,
    since: Option<When>,
    offered: Option<Offered>,
    /// Shown this once.
    codes: Vec<Shown>,
    wrong: &'static str,
}

/// A secret as it is shown to its owner.
struct Offered {
    secret: Shown,
    picture: String,
}

/// A secret that its owner sees.
struct Shown(SecretString);

impl Shown {
    fn text(&self) -> &str {
        self.0.expose_secret()
    }

    /// In groups of four, to be typed in.
    fn grouped(&self) -> String {
        let letters: Vec<char> = self.text().chars().collect();
        letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
    }
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer) -> Answer {
    make(&core, &viewer, "", Vec::new()).await
}

async fn make(core: &Core, viewer: &Viewer, wrong: &'static str, codes: Vec<SecretString>) -> Answer {
    let staff = &viewer.visitor()?.staff;
    let mut conn = core.services.db.conn().await?;
    let factor = staff::factor(&mut conn, staff.id).await?;
    let offered = staff::offered_factor(&mut conn, staff.id, &core.services.cipher).await?;
    drop(conn);
    let offered = offered.map(|secret| {
        let address = totp::address(&secret, ISSUER, &staff.name);
        Offered { picture: picture(&address), secret: Shown(secret) }
    });
    let shell = Shell::new(core, Section::Me, viewer);
    let since = match factor {
        Factor::Asked { since, .. } => Some(shell.when(&since)),
        Factor::None | Factor::Shown => None,
    };
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let codes = codes.into_iter().map(Shown).collect();
    Ok((status, html(&Page { shell, factor, since, offered, codes, wrong })).into_response())
}

/// Without the declaration of a document, which has no place inside a page.
fn picture(address: &SecretString) -> String {
    let Ok(code) = QrCode::new(address.expose_secret()) else { return String::new() };
    let picture = code.render::<svg::Color>().min_dimensions(PICTURE, PICTURE).build();
    picture.find("<svg").map_or_else(String::new, |at| picture[at..].to_owned())
}

fn to_page() -> Response {
    Redirect::to("/me/factor").into_response()
}

pub(crate) async fn begin(State(core): Shared, viewer: Viewer) -> Answer {
    let (visitor, db) = (viewer.visitor()?, &core.services.db);
    if visitor.staff.is_one_time {
        return Err(Problem::Right);
    }
    staff::offer_factor(&mut *db.conn().await?, visitor.staff.id, &core.services.cipher, db.now()).await?;
    Ok(to_page())
}

pub(crate) async fn confirm(State(core): Shared, viewer: Viewer, Extension(form): Extension<Params>) -> Answer {
    let (visitor, db) = (viewer.visitor()?, &core.services.db);
    let by = visitor.by(&viewer.address);
    let (id, code, cipher) = (visitor.staff.id, form.get("code"), &core.services.cipher);
    let confirmed = staff::confirm_factor(&mut *db.conn().await?, id, code, cipher, &by, db.now()).await?;
    match confirmed {
        Some(codes) => make(&core, &viewer, "", codes).await,
        None => {
            let wrong = viewer.lang.of(
                "This is not the code that the app shows now. Is the clock of the phone right?",
                "Это не тот код, который сейчас показывает приложение. Верны ли часы телефона?",
            );
            make(&core, &viewer, wrong, Vec::new()).await
        }
    }
}

pub(crate) async fn renew_codes(State(core): Shared, viewer: Viewer) -> Answer {
    let (visitor, db) = (viewer.visitor()?, &core.services.db);
    let mut conn = db.conn().await?;
    if !matches!(staff::factor(&mut conn, visitor.staff.id).await?, Factor::Asked { .. }) {
        return Ok(to_page());
    }
    let by = visitor.by(&viewer.address);
    let codes = staff::renew_recovery_codes(&mut conn, visitor.staff.id, &by, db.now()).await?;
    drop(conn);
    make(&core, &viewer, "", codes).await
}

pub(crate) async fn remove(State(core): Shared, viewer: Viewer) -> Answer {
    let (visitor, db) = (viewer.visitor()?, &core.services.db);
    let by = visitor.by(&viewer.address);
    staff::remove_factor(&mut *db.conn().await?, visitor.staff.id, &by, db.now()).await?;
    Ok(to_page())
}
