//! What all pages have in common.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use billing::staff::Right::{GiveBack, ManageStaff, SeeAudit, SeeBooks, SeeCustomers};
use billing::store::StoreError;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::access::{self, Visitor};
use crate::lang::Lang;
use crate::pages::views::Views;
use crate::params::Params;
use crate::show::{self, Pill, When};
use crate::{Core, assets, words};

/// Which part of the panel a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Home,
    Accounts,
    Bills,
    Payments,
    Refunds,
    Rules,
    Settings,
    Reports,
    Tariffs,
    Notifications,
    Receipts,
    Differences,
    Bulk,
    Approvals,
    Events,
    Staff,
    Audit,
    Me,
    None,
}

impl Section {
    /// One line has room for these, also in Russian.
    const fn is_in_the_bar(self) -> bool {
        matches!(
            self,
            Self::Home | Self::Accounts | Self::Bills | Self::Payments | Self::Refunds | Self::Reports | Self::Staff
        )
    }
}

/// The cookie that says which theme somebody wants.
pub(crate) const THEME: &str = "billing_theme";

/// Who looks, and how they want it.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    pub(crate) visitor: Option<Visitor>,
    pub(crate) theme: Option<&'static str>,
    pub(crate) lang: Lang,
    pub(crate) address: String,
    /// Names this request in the log, in events and on error pages.
    pub(crate) request_id: Uuid,
}

impl Viewer {
    pub(crate) fn new(headers: &HeaderMap, address: String, request_id: Uuid) -> Self {
        let theme = match access::cookie(headers, THEME) {
            Some("light") => Some("light"),
            Some("dark") => Some("dark"),
            _ => None,
        };
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self { visitor: None, theme, lang: Lang::accepted(accepted), address, request_id }
    }

    /// It is this one.
    pub(crate) fn come(&mut self, visitor: Option<Visitor>) {
        let chosen = visitor.as_ref().and_then(|visitor| visitor.staff.language.as_deref());
        self.lang = chosen.and_then(Lang::named).unwrap_or(self.lang);
        self.visitor = visitor;
    }

    /// Who is signed in, for a handler that the guard lets nobody else through to.
    pub(crate) fn visitor(&self) -> Result<&Visitor, Problem> {
        self.visitor.as_ref().ok_or(Problem::SignIn)
    }
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(Problem::Defect)
    }
}

/// What stands around a page.
pub(crate) struct Shell {
    pub(crate) section: Section,
    pub(crate) viewer: Viewer,
    pub(crate) zone: Tz,
    pub(crate) now: DateTime<Utc>,
    /// What was looked for.
    pub(crate) query: String,
    /// Where the dashboard of the queue is, as browsers reach it.
    queues: Option<String>,
}

impl Shell {
    pub(crate) fn new(core: &Core, section: Section, viewer: &Viewer) -> Self {
        let (zone, now) = (core.services.time_zone, core.services.db.now());
        let queues = core.queues.clone();
        Self { section, viewer: viewer.clone(), zone, now, query: String::new(), queues }
    }

    /// The page of a task in the dashboard of the queue.
    pub(crate) fn task_page(&self, id: &str) -> Option<String> {
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        self.queues.as_ref().map(|queues| format!("{queues}/tasks/{}", id.replace('+', "%20")))
    }

    /// The one of two texts that is in the language of who looks.
    pub(crate) fn t<'a>(&self, en: &'a str, ru: &'a str) -> &'a str {
        self.viewer.lang.of(en, ru)
    }

    pub(crate) fn lang(&self) -> Lang {
        self.viewer.lang
    }

    pub(crate) fn csrf(&self) -> &str {
        self.viewer.visitor.as_ref().map_or("", |visitor| &visitor.csrf)
    }

    /// A form for something delicate asks again who they are.
    pub(crate) fn asks_password(&self) -> bool {
        self.viewer.visitor.as_ref().is_some_and(|visitor| !visitor.is_proved(self.now))
    }

    /// Whoever came by the company's provider shows there who they are.
    pub(crate) fn is_by_provider(&self) -> bool {
        self.viewer.visitor.as_ref().is_some_and(|visitor| visitor.is_by_provider)
    }

    pub(crate) fn is_me(&self) -> bool {
        self.section == Section::Me
    }

    pub(crate) fn is(&self, section: &Section) -> bool {
        self.section == *section
    }

    /// Those that stand in the bar: what is opened all day.
    pub(crate) fn in_the_bar(&self) -> Vec<(Section, &'static str, &'static str)> {
        self.sections().into_iter().filter(|(section, ..)| section.is_in_the_bar()).collect()
    }

    /// And the rest, which opens from it.
    pub(crate) fn in_the_menu(&self) -> Vec<(Section, &'static str, &'static str)> {
        self.sections().into_iter().filter(|(section, ..)| !section.is_in_the_bar()).collect()
    }

    /// Those that the role may see.
    fn sections(&self) -> Vec<(Section, &'static str, &'static str)> {
        let Some(visitor) = &self.viewer.visitor else { return Vec::new() };
        let lang = self.lang();
        let mut sections = Vec::new();
        if visitor.is_through() {
            sections.push((Section::Home, "/", lang.of("To do", "Дела")));
        }
        if visitor.has(GiveBack) {
            sections.push((Section::Approvals, "/approvals", lang.of("To be agreed to", "Согласования")));
        }
        if visitor.has(SeeCustomers) {
            sections.push((Section::Accounts, "/accounts", lang.of("Accounts", "Абоненты")));
            sections.push((Section::Bills, "/bills", lang.of("Bills", "Счета")));
            sections.push((Section::Payments, "/payments", lang.of("Payments", "Платежи")));
            sections.push((Section::Refunds, "/refunds", lang.of("Refunds", "Возвраты")));
            sections.push((Section::Tariffs, "/tariffs", lang.of("Tariffs", "Тарифы")));
            sections.push((Section::Rules, "/rules", lang.of("Refusals", "Отказы")));
            sections.push((Section::Settings, "/settings", lang.of("Settings", "Настройки")));
        }
        if visitor.has(SeeBooks) {
            sections.push((Section::Reports, "/reports", lang.of("Reports", "Отчёты")));
            sections.push((Section::Receipts, "/receipts", lang.of("Receipts", "Чеки")));
            sections.push((Section::Notifications, "/notifications", lang.of("Notifications", "Уведомления")));
            sections.push((Section::Differences, "/differences", lang.of("Differences", "Расхождения")));
            sections.push((Section::Bulk, "/bulk", lang.of("Bulk", "Массовые")));
            sections.push((Section::Events, "/events", lang.of("Events", "События")));
        }
        if visitor.has(ManageStaff) {
            sections.push((Section::Staff, "/staff", lang.of("Staff", "Сотрудники")));
        }
        if visitor.has(SeeAudit) {
            sections.push((Section::Audit, "/audit", lang.of("Audit log", "Журнал")));
        }
        sections
    }

    pub(crate) fn may_find(&self) -> bool {
        self.viewer.visitor.as_ref().is_some_and(|visitor| visitor.has(SeeCustomers))
    }

    pub(crate) fn who(&self) -> String {
        let role = |visitor: &Visitor| words::role(visitor.staff.role, self.lang());
        self.viewer.visitor.as_ref().map_or_else(String::new, |v| format!("{}, {}", v.staff.name, role(v)))
    }

    pub(crate) fn when(&self, at: &DateTime<Utc>) -> When {
        When::minutes(*at, self.zone, self.lang())
    }

    pub(crate) fn exactly(&self, at: &DateTime<Utc>) -> When {
        When::seconds(*at, self.zone, self.lang())
    }

    /// `через 3 дня`, `2 hours ago`.
    pub(crate) fn distance(&self, at: &DateTime<Utc>) -> String {
        show::distance(*at, self.now, self.lang())
    }

    pub(crate) fn or_dash<'a>(&self, text: &'a str) -> &'a str {
        if text.is_empty() { "—" } else { text }
    }

    pub(crate) fn zone_name(&self) -> String {
        show::zone(self.zone, self.now)
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

    pub(crate) fn themes(&self) -> [(&'static str, &'static str, bool); 3] {
        let (is, lang) = (|theme| self.viewer.theme == theme, self.lang());
        [
            ("auto", lang.of("Auto", "Как в системе"), is(None)),
            ("light", lang.of("Light", "Светлая"), is(Some("light"))),
            ("dark", lang.of("Dark", "Тёмная"), is(Some("dark"))),
        ]
    }

    pub(crate) fn languages(&self) -> [(&'static str, &'static str, bool); 2] {
        [("ru", "Русский", self.lang() == Lang::Ru), ("en", "English", self.lang() == Lang::En)]
    }
}

/// A part of a list and how its neighbours are reached.
pub(crate) struct Pages {
    pub(crate) back: Option<String>,
    pub(crate) on: Option<String>,
    /// The same rows as tables: addresses and names.
    pub(crate) exports: Vec<(String, &'static str)>,
    pub(crate) views: Option<Views>,
}

impl Pages {
    /// With the ways to the list's exports, for whoever may take them.
    pub(crate) fn exported(mut self, shell: &Shell, list: &str, query: &Params) -> Self {
        let right = if list == "audit" { SeeAudit } else { SeeBooks };
        if shell.viewer.visitor.as_ref().is_some_and(|visitor| visitor.has(right)) {
            let at = |format| format!("/{list}/export{}", query.with("format", format));
            self.exports = vec![(at("csv"), "CSV"), (at("excel"), "CSV (Excel)"), (at("xlsx"), "XLSX")];
        }
        self
    }
}

/// A choice of a filter.
pub(crate) struct Choice {
    pub(crate) value: &'static str,
    pub(crate) word: String,
    pub(crate) is_on: bool,
}

/// A condition of a list, and the address of the list without it.
pub(crate) struct Chip {
    pub(crate) says: String,
    pub(crate) without: String,
}

/// A state in words.
pub(crate) type Status = Pill;

/// A page; one that cannot be made is an error of ours.
pub(crate) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Why there is no page, or nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    NotFound,
    /// The form stands on somebody else's page.
    Foreign,
    SignIn,
    Right,
    /// The form is of another session.
    Stale,
    /// The password was to be typed again.
    Password,
    /// The company's provider was to ask again who they are.
    Provider,
    TooLong,
    /// The database did not answer, or not in time.
    Unavailable,
    Defect,
}

impl Problem {
    const fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Foreign | Self::SignIn | Self::Right | Self::Stale | Self::Password | Self::Provider => {
                StatusCode::FORBIDDEN
            }
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Defect => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let is_slow = matches!(&error, StoreError::Db(billing::db::DbError::Query(query))
            if query.to_string().contains("statement timeout"));
        if error.is_transient() || is_slow {
            tracing::warn!(%error, "a page could not be read");
            Self::Unavailable
        } else {
            tracing::error!(%error, "a page could not be read");
            Self::Defect
        }
    }
}

impl From<billing::db::DbError> for Problem {
    fn from(error: billing::db::DbError) -> Self {
        StoreError::from(error).into()
    }
}

/// The guard, which knows who looks, makes a page of it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    shell: Shell,
    problem: Problem,
}

pub(crate) fn problem_page(viewer: &Viewer, problem: Problem) -> Response {
    let shell = Shell {
        section: Section::None,
        viewer: viewer.clone(),
        zone: Tz::UTC,
        now: DateTime::UNIX_EPOCH,
        query: String::new(),
        queues: None,
    };
    (problem.status(), html(&ProblemPage { shell, problem })).into_response()
}
