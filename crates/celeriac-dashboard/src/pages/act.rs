//! An action: first what it would do, then exactly that, then what was said to it.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use celeriac::clock::unix_seconds;
use uuid::Uuid;

use super::Shared;
use crate::Core;
use crate::action::{Action, MAX_REASON};
use crate::guard::{Asked, Params};
use crate::page::{Section, Shell, Viewer, html};

#[derive(Template)]
#[template(path = "act.html")]
struct Preview {
    shell: Shell,
    action: Result<Action, Vec<String>>,
    /// What is to be known before it is confirmed.
    foreseen: Vec<String>,
    /// This form does it once, however often it is sent.
    form: Uuid,
    reason: String,
    wrong: Option<&'static str>,
}

pub(crate) async fn preview(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Response {
    shown(&core, &viewer, Action::read(&query), &query, None).await
}

pub(crate) async fn act(State(core): Shared, viewer: Viewer, Extension(form): Extension<Params>) -> Response {
    let action = match Action::read(&form) {
        Ok(action) => action,
        Err(wrong) => return shown(&core, &viewer, Err(wrong), &form, None).await,
    };
    let why: String = form.get("why").chars().take(MAX_REASON).collect();
    if why.is_empty() && action.needs_reason() {
        return shown(&core, &viewer, Ok(action), &form, Some("Say why: it stands in the log.")).await;
    }
    let Ok(id) = form.get("form").parse::<Uuid>() else {
        return shown(
            &core,
            &viewer,
            Ok(action),
            &form,
            Some("The form was not complete. Nothing was done; confirm again."),
        )
        .await;
    };
    if let Err(refusal) = action.foresee(&core).await {
        return shown(&core, &viewer, Err(vec![refusal]), &form, None).await;
    }
    let who = viewer.visitor.as_ref().map_or("", |visitor| &visitor.who);
    let number = match core.log.begin(id, unix_seconds(), who, action.name(), why) {
        Err(before) => before,
        Ok(number) => {
            // Who turns away meanwhile does not stop it halfway.
            let doing = tokio::spawn({
                let core = std::sync::Arc::clone(&core);
                async move {
                    let answers = action.act(&core).await;
                    core.log.end(number, answers);
                }
            });
            if let Err(error) = doing.await {
                tracing::error!(%error, number, "an action has ended badly");
            }
            number
        }
    };
    Redirect::to(&format!("{}/log/{number}", core.base)).into_response()
}

async fn shown(
    core: &Core,
    viewer: &Viewer,
    action: Result<Action, Vec<String>>,
    form: &Params,
    wrong: Option<&'static str>,
) -> Response {
    let (action, foreseen) = match action {
        Ok(action) => match action.foresee(core).await {
            Ok(foreseen) => (Ok(action), foreseen),
            Err(refusal) => (Err(vec![refusal]), Vec::new()),
        },
        Err(wrong) => (Err(wrong), Vec::new()),
    };
    let status = if action.is_err() || wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let reason = form.get("why").chars().take(MAX_REASON).collect();
    let shell = Shell::new(core, Section::None, viewer);
    (status, html(&Preview { shell, action, foreseen, form: Uuid::new_v4(), reason, wrong })).into_response()
}
