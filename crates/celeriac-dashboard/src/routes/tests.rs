//! Walks the table: whoever has no right gets nothing, from every route that is there.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use celeriac::App;
use celeriac::protocol::event::{Event, EventBody, TaskReceived, WorkerStatus};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;
use crate::Dashboard;

const READ: &str = "the token to read";
const ACT: &str = "the token to act";
const SCRIPT: &str = "<script>alert('x')</script>";

struct Site {
    router: Router,
    stop: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Visit<'a> {
    cookie: Option<&'a str>,
    origin: Option<&'a str>,
    csrf: Option<&'a str>,
}

const STRANGER: Visit<'static> = Visit { cookie: None, origin: None, csrf: None };

impl Site {
    async fn open(read: Option<&str>) -> Self {
        let app = App::builder().broker("memory://").backend("memory://").build().await.unwrap();
        let stop = CancellationToken::new();
        let mut builder = Dashboard::builder(app).act_token(ACT).shutdown(stop.clone());
        if let Some(read) = read {
            builder = builder.read_token(read);
        }
        Self { router: builder.into_router("127.0.0.1:1".parse().unwrap()).unwrap(), stop }
    }

    async fn ask(&self, method: &Method, path: &str, visit: Visit<'_>, form: &str) -> (StatusCode, String, String) {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:1");
        if let Some(cookie) = visit.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if let Some(origin) = visit.origin {
            request = request.header(header::ORIGIN, origin);
        }
        let form = visit.csrf.map_or_else(|| form.to_owned(), |csrf| format!("csrf={csrf}&{form}"));
        let response = self.router.clone().oneshot(request.body(Body::from(form)).unwrap()).await.unwrap();
        let status = response.status();
        for name in ["content-security-policy", "x-content-type-options", "cache-control"] {
            assert!(response.headers().contains_key(name), "{path} without {name}");
        }
        let place = [header::LOCATION, header::SET_COOKIE].map(|name| {
            response.headers().get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
        });
        // A stream of news does not end by itself.
        let body = match tokio::time::timeout(Duration::from_millis(300), response.into_body().collect()).await {
            Ok(body) => String::from_utf8_lossy(&body.unwrap().to_bytes()).into_owned(),
            Err(_) => String::new(),
        };
        (status, place.join(" "), body)
    }

    async fn sign_in(&self, token: &str) -> String {
        let form = format!("token={}&name=Ada", token.replace(' ', "+"));
        let (status, place, _) = self.ask(&Method::POST, "/sign-in", STRANGER, &form).await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        place.split_whitespace().nth(1).unwrap().trim_end_matches(';').to_owned()
    }

    /// The token of the session's forms.
    async fn csrf(&self, cookie: &str) -> String {
        let (_, _, page) = self.ask(&Method::GET, "/log", Visit { cookie: Some(cookie), ..STRANGER }, "").await;
        page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A path of the route, with names that are there.
fn path(route: &Route) -> String {
    route
        .path
        .replace("{page}/{name}", "task/a")
        .replace("{page}", "overview")
        .replace("{number}", "1")
        .replace("{name}", &assets::STYLE_NAME)
        .replace("{node}", "w")
        .replace("{id}", "a")
        .replace("{queue}", "celery")
}

fn is_refused(status: StatusCode, place: &str) -> bool {
    status == StatusCode::FORBIDDEN || (status == StatusCode::SEE_OTHER && place.starts_with("/sign-in?to="))
}

#[tokio::test]
async fn no_route_is_open_to_who_has_no_right_to_it() {
    let site = Site::open(Some(READ)).await;
    let (reader, actor) = (site.sign_in(READ).await, site.sign_in(ACT).await);
    let (read_csrf, act_csrf) = (site.csrf(&reader).await, site.csrf(&actor).await);
    let reads = Visit { cookie: Some(&reader), origin: None, csrf: Some(&read_csrf) };
    let acts = Visit { cookie: Some(&actor), origin: Some("http://127.0.0.1:1"), csrf: Some(&act_csrf) };
    let forged = Visit { cookie: Some("celeriac=0123456789abcdef"), ..STRANGER };
    for route in table() {
        let (method, path) = (&route.method, path(&route));
        let shown = format!("{method} {path}");
        for (who, visit, may) in [
            ("a stranger", STRANGER, Access::Open),
            ("a forged session", forged, Access::Open),
            ("a reader", reads, Access::Read),
            ("who may act", acts, Access::Act),
        ] {
            // Signing out ends what the next route needs.
            if route.path == "/sign-out" && may > Access::Open {
                continue;
            }
            let (status, place, _) = site.ask(method, &path, visit, "").await;
            assert_eq!(
                is_refused(status, &place),
                may < route.access || shown == "POST /sign-in",
                "{shown} for {who}: {status} {place}"
            );
            assert!(!status.is_server_error(), "{shown} for {who}: {status}");
        }
        if *method == Method::POST {
            let foreign = Visit { origin: Some("https://elsewhere.example"), ..acts };
            assert_eq!(site.ask(method, &path, foreign, "").await.0, StatusCode::FORBIDDEN, "{shown} from elsewhere");
            let long = format!("x={}", "y".repeat(1 << 20));
            assert_eq!(site.ask(method, &path, acts, &long).await.0, StatusCode::PAYLOAD_TOO_LARGE, "{shown}");
            if route.access > Access::Open {
                for csrf in [None, Some("forged"), Some(read_csrf.as_str())] {
                    let status = site.ask(method, &path, Visit { csrf, ..acts }, "").await.0;
                    assert_eq!(status, StatusCode::FORBIDDEN, "{shown} with the token {csrf:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn without_a_read_token_anybody_on_this_machine_looks_and_nobody_acts() {
    let site = Site::open(None).await;
    assert_eq!(site.ask(&Method::GET, "/", STRANGER, "").await.0, StatusCode::OK);
    let (status, place, _) = site.ask(&Method::GET, "/act?do=revoke&id=a", STRANGER, "").await;
    assert!(is_refused(status, &place), "{status}");
    let (status, place, _) = site.ask(&Method::POST, "/act", STRANGER, "do=revoke&id=a").await;
    assert!(is_refused(status, &place), "{status}");
    let cookie = site.sign_in(ACT).await;
    let acts = Visit { cookie: Some(&cookie), ..STRANGER };
    assert_eq!(site.ask(&Method::GET, "/act?do=revoke&id=a", acts, "").await.0, StatusCode::OK);
    assert_eq!(site.ask(&Method::GET, "/act?do=revoke", acts, "").await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

/// Pitfall: a double click does it twice.
#[tokio::test]
async fn a_form_that_is_sent_twice_acts_once_and_a_reason_is_asked_for_what_cannot_be_undone() {
    let site = Site::open(None).await;
    let cookie = site.sign_in(ACT).await;
    let csrf = site.csrf(&cookie).await;
    let acts = Visit { cookie: Some(&cookie), csrf: Some(&csrf), origin: None };
    let form = "do=shutdown&node=w&form=7e5e0f6c-5f1c-4a55-9c0e-0a2bb8f7a001";
    assert_eq!(site.ask(&Method::POST, "/act", acts, form).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let form = format!("{form}&why=it+is+old");
    for _ in 0..2 {
        let (status, place, _) = site.ask(&Method::POST, "/act", acts, &form).await;
        assert_eq!((status, place.trim()), (StatusCode::SEE_OTHER, "/log/1"));
    }
    let (_, _, page) = site.ask(&Method::GET, "/log", acts, "").await;
    assert_eq!(page.matches("Shut down w").count(), 1, "{page}");
    assert!(page.contains("it is old") && page.contains("Ada"), "{page}");
}

/// Whatever tasks and workers are called, said and returned, it is text here.
/// Pitfalls: reading only is cosmetic; a button does nothing; looking at what would happen does it.
#[tokio::test]
async fn who_may_only_look_is_offered_no_button_and_to_look_at_an_action_does_nothing() {
    let site = Site::open(Some(READ)).await;
    let (reader, actor) = (site.sign_in(READ).await, site.sign_in(ACT).await);
    let reads = Visit { cookie: Some(&reader), ..STRANGER };
    let acts = Visit { cookie: Some(&actor), ..STRANGER };
    let pages = table().into_iter().filter(|route| route.method == Method::GET && route.access == Access::Read);
    for path in pages.map(|route| path(&route)) {
        let (_, _, page) = site.ask(&Method::GET, &path, reads, "").await;
        assert!(!page.contains("action=\"/act\""), "{path}: {page}");
    }
    let (_, _, page) = site.ask(&Method::GET, "/queues/celery", acts, "").await;
    assert!(page.contains("action=\"/act\""), "who may act is: {page}");
    for query in [
        "do=shutdown&node=w",
        "do=revoke&id=a",
        "do=terminate&id=a",
        "do=discard&queue=celery&id=a",
        "do=purge&queue=celery&typed=celery",
        "do=pause-queue&queue=celery&node=w",
    ] {
        let (status, _, page) = site.ask(&Method::GET, &format!("/act?{query}"), acts, "").await;
        assert!(status == StatusCode::OK || status == StatusCode::UNPROCESSABLE_ENTITY, "{query}: {status}");
        // The button says what it does.
        let heading = page.split("<h1>").nth(1).and_then(|rest| rest.split("</h1>").next()).unwrap_or_default();
        assert!(status != StatusCode::OK || page.contains(&format!("{heading}</button>")), "{query}: {page}");
    }
    let (_, _, log) = site.ask(&Method::GET, "/log", acts, "").await;
    assert!(log.contains("Nobody has done anything here yet"), "{log}");
}

/// Pitfalls: looking at messages takes them; an empty page that does not say what it is.
#[tokio::test]
async fn nobody_looks_at_parked_messages_who_has_not_pressed_the_button() {
    let site = Site::open(None).await;
    testkit::eventually(Duration::from_secs(20), async || {
        let (status, _, page) = site.ask(&Method::GET, "/parked/celery", STRANGER, "").await;
        let asks = page.contains("Look at the oldest") && page.contains("nobody else sees them");
        if status == StatusCode::OK && asks { Ok(()) } else { Err(format!("{status}: {page}")) }
    })
    .await;
    let (_, _, page) = site.ask(&Method::GET, "/parked/celery?look=yes", STRANGER, "").await;
    assert!(page.contains("Nothing is parked here"), "{page}");
}

#[tokio::test]
async fn nothing_that_was_heard_becomes_a_part_of_a_page() {
    let app = App::builder().broker("memory://").backend("memory://").build().await.unwrap();
    let stop = CancellationToken::new();
    let builder = Dashboard::builder(app.clone()).title(SCRIPT).queues([SCRIPT]).shutdown(stop.clone());
    let site = Site { router: builder.into_router("127.0.0.1:1".parse().unwrap()).unwrap(), stop };
    let text = || SCRIPT.to_owned().into();
    let event = |body| Event { hostname: text(), utcoffset: 0.0, pid: 1, clock: Some(1), timestamp: 1.0, body };
    let received = TaskReceived {
        uuid: text(),
        name: text(),
        args: text(),
        kwargs: text(),
        eta: Some(text()),
        expires: Some(text()),
        root_id: Some(text()),
        parent_id: Some(text()),
        ..TaskReceived::default()
    };
    let (exception, traceback) = (text(), Some(text()));
    let status = WorkerStatus {
        freq: 2.0,
        active: None,
        processed: None,
        loadavg: None,
        sw_ident: text(),
        sw_ver: text(),
        sw_sys: text(),
    };
    let bodies = [
        EventBody::WorkerOnline(status),
        EventBody::TaskReceived(Box::new(received)),
        EventBody::TaskFailed { uuid: text(), exception, traceback },
    ];
    let named = crate::show::encoded(SCRIPT);
    // What is announced before somebody listens is heard by nobody.
    testkit::eventually(Duration::from_secs(10), async || {
        for body in &bodies {
            let publication = celeriac::broker::Publication {
                exchange: celeriac::protocol::event::EVENT_EXCHANGE.to_owned(),
                routing_key: "task.received".to_owned(),
                mandatory: false,
                message: event(body.clone()).to_message(),
            };
            app.broker().publish(publication).await.map_err(|error| error.to_string())?;
        }
        let page = site.ask(&Method::GET, &format!("/tasks/{named}"), STRANGER, "").await.2;
        if page.contains("FAILURE") { Ok(()) } else { Err(page) }
    })
    .await;
    for path in [
        "/".to_owned(),
        "/workers".to_owned(),
        format!("/workers/{named}"),
        "/tasks".to_owned(),
        format!("/tasks?name={named}&state={named}&from={named}"),
        format!("/tasks/{named}"),
        "/tasks/unknown".to_owned(),
        "/queues".to_owned(),
        "/parked".to_owned(),
        format!("/sign-in?to={named}"),
        format!("/act?do={named}"),
        format!("/{named}"),
    ] {
        let (status, _, page) = site.ask(&Method::GET, &path, STRANGER, "").await;
        assert!(!status.is_server_error(), "{path}: {status}");
        assert!(!page.contains("<script>alert"), "{path}: {page}");
        assert!(!page.contains(" style=") && !page.contains("<style") && !page.contains(" onclick"), "{path}");
    }
}
