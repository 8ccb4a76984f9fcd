//! Signing in and out, and the theme.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse as _, Redirect, Response};
use tokio::time::Instant;

use super::Shared;
use crate::guard::{Asked, Params};
use crate::page::{Section, Shell, THEME, Viewer, html};

/// A year, in seconds.
const THEME_AGE: u32 = 31_536_000;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    shell: Shell,
    to: String,
    name: String,
    is_wrong: bool,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Response {
    let shell = Shell::new(&core, Section::None, &viewer);
    html(&Page { shell, to: query.get("to").to_owned(), name: String::new(), is_wrong: false })
}

pub(crate) async fn sign_in(State(core): Shared, viewer: Viewer, Extension(form): Extension<Params>) -> Response {
    let name = form.get("name");
    match core.gate.sign_in(form.get("token"), name, Instant::now()) {
        Some(value) => {
            let secure = if core.gate.https { "; Secure" } else { "" };
            let cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}", core.gate.cookie_name());
            set_cookie(&cookie, &back(&core.base, form.get("to")))
        }
        None => {
            tracing::warn!("somebody tried to sign in with a token that is none");
            let shell = Shell::new(&core, Section::None, &viewer);
            let page = Page { shell, to: form.get("to").to_owned(), name: name.to_owned(), is_wrong: true };
            (StatusCode::FORBIDDEN, html(&page)).into_response()
        }
    }
}

pub(crate) async fn sign_out(State(core): Shared, headers: HeaderMap) -> Response {
    core.gate.sign_out(&headers);
    let secure = if core.gate.https { "; Secure" } else { "" };
    let cookie = format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{secure}", core.gate.cookie_name());
    set_cookie(&cookie, &back(&core.base, ""))
}

pub(crate) async fn theme(State(core): Shared, headers: HeaderMap, Extension(form): Extension<Params>) -> Response {
    let theme = match form.get("theme") {
        theme @ ("light" | "dark") => theme,
        _ => "auto",
    };
    let from = headers.get(header::REFERER).and_then(|from| from.to_str().ok()).unwrap_or_default();
    let path = url::Url::parse(from).map_or_else(
        |_| String::new(),
        |url| {
            let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
            format!("{}{query}", url.path())
        },
    );
    set_cookie(&format!("{THEME}={theme}; Path=/; SameSite=Lax; Max-Age={THEME_AGE}"), &back(&core.base, &path))
}

fn set_cookie(cookie: &str, to: &str) -> Response {
    let cookie = HeaderValue::from_str(cookie).unwrap_or(HeaderValue::from_static(""));
    (AppendHeaders([(header::SET_COOKIE, cookie)]), Redirect::to(to)).into_response()
}

/// A page of this dashboard, never one of somebody else.
fn back(base: &str, path: &str) -> String {
    let is_ours = path.starts_with(&format!("{base}/")) || (!base.is_empty() && path == base);
    let is_path = !path.starts_with("//") && !path.contains(['\\', '\r', '\n']);
    let home = if base.is_empty() { "/" } else { base };
    if is_ours && is_path { path.to_owned() } else { home.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::back;

    #[test]
    fn who_signs_in_stays_here() {
        for (base, path, to) in [
            ("", "/tasks?name=a", "/tasks?name=a"),
            ("", "//elsewhere.example", "/"),
            ("", "/\\elsewhere.example", "/"),
            ("", "https://elsewhere.example", "/"),
            ("/queues", "/queues/tasks", "/queues/tasks"),
            ("/queues", "/queues", "/queues"),
            ("/queues", "/admin", "/queues"),
            ("/queues", "", "/queues"),
        ] {
            assert_eq!(back(base, path), to, "{base} {path}");
        }
    }
}
