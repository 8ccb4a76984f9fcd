//! News of an open page, by server-sent events: the part of it that changes, made from the same template, whenever it has
//! changed.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::Core;
use crate::access;
use crate::guard::{self, Params};
use crate::history::History;
use crate::page::{Problem, Viewer, problem_page};
use crate::pages;

/// How often it is looked whether something has changed.
const EVERY: Duration = Duration::from_secs(2);
/// So that proxies and browsers see that it goes on.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// When a browser that has lost it asks again.
const RETRY_AFTER: Duration = Duration::from_secs(3);

pub(crate) async fn stream(
    State(core): State<Arc<Core>>,
    Path(page): Path<String>,
    viewer: Viewer,
    request: Request,
) -> Response {
    open(core, page, String::new(), viewer, request).await
}

pub(crate) async fn stream_of(
    State(core): State<Arc<Core>>,
    Path((page, name)): Path<(String, String)>,
    viewer: Viewer,
    request: Request,
) -> Response {
    open(core, page, name, viewer, request).await
}

async fn open(core: Arc<Core>, page: String, name: String, viewer: Viewer, request: Request) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let peer = guard::peer(&request);
    drop(request);
    let Ok(place) = Arc::clone(&core.streams).try_acquire_owned() else {
        return problem_page(&core, &viewer, Problem::Full);
    };
    let query = Params::read(uri.query().unwrap_or_default().as_bytes());
    if fragment(&core, &viewer, &page, &name, &query).await.is_none() {
        return problem_page(&core, &viewer, Problem::NotFound);
    }
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stop = core.stop.clone().cancelled_owned();
    let news =
        News { core, page, name, query, viewer, headers, uri, peer, every, last: None, number: 0, _place: place };
    let news = news.stream().take_until(stop);
    Sse::new(news).keep_alive(KeepAlive::new().interval(COMMENT_EVERY)).into_response()
}

/// The part of a page that changes.
async fn fragment(core: &Core, viewer: &Viewer, page: &str, name: &str, query: &Params) -> Option<String> {
    match page {
        "overview" => pages::overview::live(core, viewer),
        "workers" => pages::workers::live(core, viewer),
        "worker" => pages::worker::live(core, viewer, name),
        "tasks" => pages::tasks::live(core, viewer, query).await,
        "task" => pages::task::live(core, viewer, name).await,
        "canvas" => pages::canvas::live(core, viewer, name).await,
        "queues" => pages::queues::live(core, viewer),
        "schedule" => pages::schedule::live(core, viewer),
        _ => None,
    }
}

/// What one open page is told. Nothing is kept for it but what it was told last: one that is slow is told less often.
struct News {
    core: Arc<Core>,
    page: String,
    name: String,
    query: Params,
    viewer: Viewer,
    headers: HeaderMap,
    uri: Uri,
    peer: Option<IpAddr>,
    every: Interval,
    last: Option<[u8; 32]>,
    number: u64,
    _place: OwnedSemaphorePermit,
}

impl News {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
        stream::unfold(self, |mut news| async move {
            let event = news.next().await?;
            Some((Ok(event), news))
        })
    }

    /// `None`: the session is over, or the page.
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.every.tick().await;
            // An open page does not keep a session alive, and does not outlive it.
            let from = access::From { headers: &self.headers, uri: &self.uri, peer: self.peer };
            self.core.gate.visitor(&from, Instant::now(), false)?;
            // Open pages do not queue up for the history: they are told at the next look.
            let asks_history = matches!(self.page.as_str(), "tasks" | "task" | "canvas");
            if asks_history && self.core.history.as_ref().is_some_and(History::is_busy) && self.last.is_some() {
                continue;
            }
            let text = fragment(&self.core, &self.viewer, &self.page, &self.name, &self.query).await?;
            let digest = Sha256::digest(text.as_bytes()).into();
            if self.last.replace(digest) == Some(digest) {
                continue;
            }
            self.number += 1;
            return Some(Event::default().event("part").id(self.number.to_string()).retry(RETRY_AFTER).data(text));
        }
    }
}
