//! Who works here, and who lets them in.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect};
use billing::staff::{self, Role};
use billing::store::staff::{
    Failure, StaffError, all, by_name, change_role, disable, failed, invite, invite_again, waits_until,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::sign_in::verify;
use super::{Answer, Shared};
use crate::Core;
use crate::page::{Choice, Problem, Section, Shell, Status, Viewer, html};
use crate::params::Params;
use crate::show::{Pill, When};
use crate::words;

#[derive(Template)]
#[template(path = "staff.html")]
struct Page {
    shell: Shell,
    rows: Vec<Row>,
    roles: Vec<Choice>,
    wrong: String,
    /// Who was just invited, by which link. It is shown this once.
    given: Option<(String, Link)>,
}

/// A link by which its owner chooses a password, once.
struct Link(SecretString);

impl Link {
    fn text(&self) -> &str {
        self.0.expose_secret()
    }
}

/// As the browser reaches this page, so it reaches the link.
fn link(core: &Core, headers: &HeaderMap, uri: &Uri, token: &SecretString) -> Link {
    let scheme = if core.https { "https" } else { "http" };
    let host = crate::access::host(headers, uri).unwrap_or_default();
    Link(format!("{scheme}://{host}/invite/{}", token.expose_secret()).into())
}

struct Row {
    name: String,
    roles: Vec<Choice>,
    role: &'static str,
    since: When,
    state: Status,
    is_disabled: bool,
    is_self: bool,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer) -> Answer {
    make(&core, &viewer, String::new(), None).await
}

async fn make(core: &Core, viewer: &Viewer, wrong: String, given: Option<(String, Link)>) -> Answer {
    let own = viewer.visitor()?.staff.id;
    let shell = Shell::new(core, Section::Staff, viewer);
    let everybody = all(&mut *core.services.db.conn().await?).await?;
    let lang = shell.lang();
    let choices = |chosen: Option<Role>| {
        let choice = |role: &Role| Choice {
            value: role.as_str(),
            word: words::role(*role, lang).to_owned(),
            is_on: chosen == Some(*role),
        };
        Role::ALL.iter().map(choice).collect::<Vec<_>>()
    };
    let row = |one: billing::store::staff::Staff| Row {
        roles: choices(Some(one.role)),
        role: words::role(one.role, lang),
        since: shell.when(&one.created_at),
        state: match (one.disabled_at.is_some(), one.is_one_time) {
            (true, _) => Pill { kind: "idle", shape: "–", word: lang.of("Not let in", "Вход закрыт") },
            (false, true) => {
                Pill { kind: "doubt", shape: "○", word: lang.of("Has not come yet", "Ещё не входил(а)") }
            }
            (false, false) => Pill { kind: "ok", shape: "✓", word: lang.of("Let in", "Вход открыт") },
        },
        is_disabled: one.disabled_at.is_some(),
        is_self: one.id == own,
        name: one.name,
    };
    let rows = everybody.into_iter().map(row).collect();
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let roles = choices(Some(Role::Support));
    Ok((status, html(&Page { shell, rows, roles, wrong, given })).into_response())
}

/// Whoever lets people in says again who they are. `Some`: why not.
async fn is_not_them(core: &Core, viewer: &Viewer, form: &Params) -> Result<Option<String>, Problem> {
    let visitor = viewer.visitor()?;
    let (name, db) = (&visitor.staff.name, &core.services.db);
    if visitor.is_by_provider {
        return if visitor.is_proved(db.now()) { Ok(None) } else { Err(Problem::Provider) };
    }
    let failures = [Failure::of_name(name), Failure::from_address(&viewer.address)];
    let (waits, hash) = {
        let mut conn = db.conn().await?;
        let waits = waits_until(&mut conn, &failures, db.now()).await?;
        (waits, by_name(&mut conn, name).await?.map(|(_, hash)| hash))
    };
    if waits.is_none() && verify(core, form.raw("password").into(), hash).await {
        return Ok(None);
    }
    failed(&mut *db.conn().await?, &failures, db.now()).await?;
    let wrong = viewer.lang.of(
        "This is not your own password. Nothing was changed.",
        "Это не ваш собственный пароль. Ничего не изменено.",
    );
    Ok(Some(wrong.to_owned()))
}

pub(crate) async fn let_in(
    State(core): Shared,
    viewer: Viewer,
    headers: HeaderMap,
    uri: Uri,
    Extension(form): Extension<Params>,
) -> Answer {
    let lang = viewer.lang;
    let (Ok(name), Ok(role)) = (staff::name(form.get("name")), form.get("role").parse::<Role>()) else {
        let wrong = lang.of(
            "A name is from 1 to 60 letters, digits, and . _ - @, and a role is one of those offered.",
            "Имя – от 1 до 60 букв, цифр и . _ - @, роль – одна из предложенных.",
        );
        return make(&core, &viewer, wrong.to_owned(), None).await;
    };
    if let Some(wrong) = is_not_them(&core, &viewer, &form).await? {
        return make(&core, &viewer, wrong, None).await;
    }
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let invited = invite(&mut *db.conn().await?, &name, role, &by, db.now()).await;
    after(&core, &viewer, invited.map(|token| Some((name, link(&core, &headers, &uri, &token))))).await
}

pub(crate) async fn let_in_anew(
    State(core): Shared,
    viewer: Viewer,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    Extension(form): Extension<Params>,
) -> Answer {
    if let Some(wrong) = is_not_them(&core, &viewer, &form).await? {
        return make(&core, &viewer, wrong, None).await;
    }
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let invited = invite_again(&mut *db.conn().await?, &name, &by, db.now()).await;
    after(&core, &viewer, invited.map(|token| Some((name, link(&core, &headers, &uri, &token))))).await
}

pub(crate) async fn put_out(
    State(core): Shared,
    viewer: Viewer,
    Path(name): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    if let Some(wrong) = is_not_them(&core, &viewer, &form).await? {
        return make(&core, &viewer, wrong, None).await;
    }
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let done = disable(&mut *db.conn().await?, &name, &by, db.now()).await;
    after(&core, &viewer, done.map(|()| None)).await
}

pub(crate) async fn give_role(
    State(core): Shared,
    viewer: Viewer,
    Path(name): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let (visitor, lang) = (viewer.visitor()?, viewer.lang);
    let Ok(role) = form.get("role").parse::<Role>() else { return Err(Problem::NotFound) };
    if visitor.staff.name == name {
        let wrong = lang.of("Nobody changes a role of their own.", "Свою роль никто не меняет.");
        return make(&core, &viewer, wrong.to_owned(), None).await;
    }
    if let Some(wrong) = is_not_them(&core, &viewer, &form).await? {
        return make(&core, &viewer, wrong, None).await;
    }
    let (db, by) = (&core.services.db, visitor.by(&viewer.address));
    let done = change_role(&mut *db.conn().await?, &name, role, &by, db.now()).await;
    after(&core, &viewer, done.map(|()| None)).await
}

async fn after(core: &Arc<Core>, viewer: &Viewer, done: Result<Option<(String, Link)>, StaffError>) -> Answer {
    let lang = viewer.lang;
    let wrong = match done {
        Ok(None) => return Ok(Redirect::to("/staff").into_response()),
        Ok(given) => return make(core, viewer, String::new(), given).await,
        Err(StaffError::Store(error)) => return Err(error.into()),
        Err(StaffError::Unknown(_)) => return Err(Problem::NotFound),
        Err(StaffError::Known(name)) => {
            format!("{}: {name}", lang.of("There is somebody of this name", "Сотрудник с таким именем уже есть"))
        }
        Err(StaffError::LastAdministrator(_)) => lang
            .of(
                "This is the last administrator: nobody could let anybody in again.",
                "Это последний администратор: некому будет впускать остальных.",
            )
            .to_owned(),
    };
    make(core, viewer, wrong, None).await
}
