//! What all pages have in common.

use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use celeriac::clock::unix_seconds;
use chrono_tz::Tz;

use crate::access::{self, Access, Visitor};
use crate::guard::Params;
use crate::{Core, assets, show};

/// Which part of the dashboard a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Workers,
    Tasks,
    Queues,
    Parked,
    Schedule,
    Log,
    None,
}

/// The cookie that says which theme somebody wants.
pub(crate) const THEME: &str = "celeriac_theme";

/// What stands around a page.
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) base: String,
    pub(crate) section: Section,
    pub(crate) visitor: Option<Visitor>,
    pub(crate) can_act: bool,
    pub(crate) theme: Option<&'static str>,
    pub(crate) now: f64,
    pub(crate) zone: Tz,
    /// Where the news of this page come from; `None`: it stays as it is.
    pub(crate) live: Option<String>,
    /// The same page, standing still or moving again.
    pub(crate) toggle: Option<String>,
    pub(crate) has_schedule: bool,
}

impl Shell {
    pub(crate) fn new(core: &Core, section: Section, viewer: &Viewer) -> Self {
        Self {
            title: core.title.clone(),
            base: core.base.clone(),
            section,
            visitor: viewer.visitor.clone(),
            can_act: core.gate.can_act(),
            theme: viewer.theme,
            now: unix_seconds(),
            zone: core.zone,
            live: None,
            toggle: None,
            has_schedule: core.timetable.is_some(),
        }
    }

    /// The page is kept up to date from here, unless who looks wants it to stand still.
    pub(crate) fn live(self, path: &str, query: &Params) -> Self {
        let paused = query.get("live") == "off";
        let live = (!paused).then(|| format!("{}/live{path}", self.base));
        let mut toggle = query.without(&["live"]);
        if !paused {
            toggle.0.push(("live".to_owned(), "off".to_owned()));
        }
        Self { live, toggle: Some(format!("?{}", toggle.written())), ..self }
    }

    pub(crate) fn home(&self) -> &str {
        if self.base.is_empty() { "/" } else { &self.base }
    }

    pub(crate) fn may_act(&self) -> bool {
        self.visitor.as_ref().is_some_and(|visitor| visitor.may >= Access::Act)
    }

    pub(crate) fn csrf(&self) -> &str {
        self.visitor.as_ref().map_or("", |visitor| &visitor.csrf)
    }

    pub(crate) fn is(&self, section: &Section) -> bool {
        self.section == *section
    }

    pub(crate) fn sections(&self) -> Vec<(Section, String, &'static str)> {
        let path = |path: &str| format!("{}{path}", self.base);
        let mut sections = vec![
            (Section::Overview, self.home().to_owned(), "Overview"),
            (Section::Workers, path("/workers"), "Workers"),
            (Section::Tasks, path("/tasks"), "Tasks"),
            (Section::Queues, path("/queues"), "Queues"),
            (Section::Parked, path("/parked"), "Parked"),
        ];
        if self.has_schedule {
            sections.push((Section::Schedule, path("/schedule"), "Schedule"));
        }
        sections.push((Section::Log, path("/log"), "Log"));
        sections
    }

    pub(crate) fn style(&self) -> &'static str {
        &assets::STYLE_NAME
    }

    pub(crate) fn script(&self) -> &'static str {
        &assets::SCRIPT_NAME
    }

    pub(crate) fn icon(&self) -> &'static str {
        &assets::ICON_NAME
    }

    pub(crate) fn zone_name(&self) -> String {
        show::zone(self.zone, self.now)
    }

    pub(crate) fn themes(&self) -> [(&'static str, &'static str, bool); 3] {
        let is = |theme| self.theme == theme;
        [("auto", "Auto", is(None)), ("light", "Light", is(Some("light"))), ("dark", "Dark", is(Some("dark")))]
    }
}

/// Who looks, and how they want it.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    pub(crate) visitor: Option<Visitor>,
    pub(crate) theme: Option<&'static str>,
}

impl Viewer {
    fn new(headers: &HeaderMap, visitor: Option<Visitor>) -> Self {
        let theme = match access::cookie(headers, THEME) {
            Some("light") => Some("light"),
            Some("dark") => Some("dark"),
            _ => None,
        };
        Self { visitor, theme }
    }
}

impl Viewer {
    pub(crate) fn may_act(&self) -> bool {
        self.visitor.as_ref().is_some_and(|visitor| visitor.may >= Access::Act)
    }
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::new(&parts.headers, parts.extensions.get::<Visitor>().cloned()))
    }
}

/// A page; one that cannot be made is an error of ours.
pub(crate) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Why a request is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The form stands on somebody else's page.
    Foreign,
    /// Nobody is signed in.
    SignIn,
    /// Who is signed in may not do this.
    Right,
    /// The form is of another session.
    Stale,
    TooLong,
    NotFound,
    /// Too many pages are open.
    Full,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    shell: Shell,
    problem: Problem,
}

pub(crate) fn refused(core: &Arc<Core>, problem: Problem) -> Response {
    let viewer = Viewer { visitor: None, theme: None };
    problem_page(core, &viewer, problem)
}

pub(crate) fn problem_page(core: &Core, viewer: &Viewer, problem: Problem) -> Response {
    let page = ProblemPage { shell: Shell::new(core, Section::None, viewer), problem };
    (problem.status(), html(&page)).into_response()
}
