//! One's own page: password, language, theme, sessions.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::staff::password::{self, Weak};
use billing::store::staff::{self, Entry, Factor};
use secrecy::SecretString;

use super::sign_in::verify;
use super::{Answer, Shared, back, session_cookie, set_cookie};
use crate::lang::Lang;
use crate::page::{Problem, Section, Shell, THEME, Viewer, html};
use crate::params::Params;
use crate::show::When;

/// A year, in seconds.
const THEME_AGE: u32 = 31_536_000;

#[derive(Template)]
#[template(path = "me.html")]
struct Page {
    shell: Shell,
    name: String,
    role: &'static str,
    is_one_time: bool,
    /// They have one, and may use it.
    has_password: bool,
    lacks_factor: bool,
    factor: Factor,
    wrong: &'static str,
    sessions: Vec<Row>,
}

struct Row {
    began: When,
    used: When,
    address: String,
    agent: String,
    is_this: bool,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer) -> Answer {
    make(&core, &viewer, "").await
}

async fn make(core: &crate::Core, viewer: &Viewer, wrong: &'static str) -> Answer {
    let visitor = viewer.visitor()?;
    let shell = Shell::new(core, Section::Me, viewer);
    let mut conn = core.services.db.conn().await?;
    let sessions = staff::sessions(&mut conn, visitor.staff.id, shell.now).await?;
    let factor = staff::factor(&mut conn, visitor.staff.id).await?;
    let hash = staff::by_name(&mut conn, &visitor.staff.name).await?.map(|(_, hash)| hash);
    drop(conn);
    let may_use_it = visitor.staff.password_always || !core.wants_no_passwords();
    let has_password = may_use_it && hash.is_some_and(|hash| hash != password::NONE);
    let row = |session: staff::Session| Row {
        began: shell.when(&session.created_at),
        used: shell.when(&session.last_seen_at),
        is_this: session.key == visitor.key,
        address: session.address,
        agent: session.agent,
    };
    let sessions = sessions.into_iter().map(row).collect();
    let (name, is_one_time) = (visitor.staff.name.clone(), visitor.staff.is_one_time);
    let role = crate::words::role(visitor.staff.role, viewer.lang);
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok((
        status,
        html(&Page {
            shell,
            name,
            role,
            is_one_time,
            has_password,
            lacks_factor: visitor.lacks_factor,
            factor,
            wrong,
            sessions,
        }),
    )
        .into_response())
}

/// Why somebody of this name cannot choose what is typed as `new` and `again`; empty: they can.
pub(super) fn unfit(form: &Params, name: &str, lang: Lang) -> &'static str {
    if form.raw("new") != form.raw("again") {
        return lang.of("The two new passwords differ.", "Новые пароли не совпадают.");
    }
    match password::check(&SecretString::from(form.raw("new")), name) {
        Err(Weak::Length) => lang.of(
            "The new password needs at least 12 characters, and takes at most 256 bytes.",
            "Новый пароль должен быть не короче 12 символов и не длиннее 256 байт.",
        ),
        Err(Weak::Monotonous) => lang.of(
            "The new password repeats a few characters; nobody should guess it.",
            "Новый пароль состоит из нескольких повторяющихся символов, его легко угадать.",
        ),
        Err(Weak::Name) => lang.of("The new password contains your name.", "Новый пароль содержит ваше имя."),
        Ok(()) => "",
    }
}

pub(crate) async fn choose_password(State(core): Shared, viewer: Viewer, Extension(form): Extension<Params>) -> Answer {
    let visitor = viewer.visitor()?;
    let (name, lang) = (&visitor.staff.name, viewer.lang);
    let chosen = SecretString::from(form.raw("new"));
    let wrong = if form.raw("new") == form.raw("present") {
        lang.of("The new password is the present one.", "Новый пароль совпадает с прежним.")
    } else {
        unfit(&form, name, lang)
    };
    if !wrong.is_empty() {
        return make(&core, &viewer, wrong).await;
    }
    let db = &core.services.db;
    let failures = [staff::Failure::of_name(name), staff::Failure::from_address(&viewer.address)];
    let (waits, hash) = {
        let mut conn = db.conn().await?;
        let waits = staff::waits_until(&mut conn, &failures, db.now()).await?;
        (waits, staff::by_name(&mut conn, name).await?.map(|(_, hash)| hash))
    };
    if waits.is_some() || !verify(&core, form.raw("present").into(), hash).await {
        staff::failed(&mut *db.conn().await?, &failures, db.now()).await?;
        let wrong = lang.of("This is not your present password.", "Это не ваш действующий пароль.");
        return make(&core, &viewer, wrong).await;
    }
    let hash = tokio::task::spawn_blocking(move || password::hash(&chosen)).await.map_err(|_| Problem::Defect)?;
    let by = visitor.by(&viewer.address);
    let mut conn = db.conn().await?;
    staff::choose_password(&mut conn, visitor.staff.id, &hash, &visitor.key, &by, db.now()).await?;
    let cookie = staff::renew(&mut conn, &visitor.key, db.now()).await?;
    drop(conn);
    Ok(set_cookie(&session_cookie(&core, &cookie), "/"))
}

pub(crate) async fn choose_language(
    State(core): Shared,
    viewer: Viewer,
    headers: HeaderMap,
    Extension(form): Extension<Params>,
) -> Answer {
    let visitor = viewer.visitor()?;
    if let Some(lang) = Lang::named(form.get("language")) {
        let mut conn = core.services.db.conn().await?;
        staff::choose_language(&mut conn, visitor.staff.id, lang.code()).await?;
    }
    Ok(Redirect::to(&from(&headers)).into_response())
}

pub(crate) async fn choose_theme(headers: HeaderMap, Extension(form): Extension<Params>) -> Response {
    let theme = match form.get("theme") {
        theme @ ("light" | "dark") => theme,
        _ => "auto",
    };
    set_cookie(&format!("{THEME}={theme}; Path=/; SameSite=Lax; Max-Age={THEME_AGE}"), &from(&headers))
}

/// The page on which the form stood.
fn from(headers: &HeaderMap) -> String {
    let from = headers.get(header::REFERER).and_then(|from| from.to_str().ok()).unwrap_or_default();
    let path = url::Url::parse(from).map_or_else(
        |_| String::new(),
        |url| {
            let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
            format!("{}{query}", url.path())
        },
    );
    back(&path).to_owned()
}

pub(crate) async fn sign_out_everywhere(State(core): Shared, viewer: Viewer) -> Answer {
    let visitor = viewer.visitor()?;
    let db = &core.services.db;
    let mut conn = db.conn().await?;
    staff::end_all(&mut conn, visitor.staff.id, Some(&visitor.key)).await?;
    staff::audit(&mut conn, &visitor.by(&viewer.address), &Entry::new("signed_out_everywhere"), db.now()).await?;
    Ok(Redirect::to("/me").into_response())
}
