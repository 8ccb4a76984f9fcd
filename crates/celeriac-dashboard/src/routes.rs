//! Every page and every action, and what each asks of who comes. There is no other way to add one.

use std::sync::Arc;

use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Router, response::Response};

use crate::access::Access;
use crate::page::{Problem, Viewer, problem_page};
use crate::{Core, assets, guard, live, pages};

/// A page or an action.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    handler: MethodRouter<Arc<Core>>,
}

fn route<H: Handler<T, Arc<Core>>, T: 'static>(
    method: Method,
    path: &'static str,
    access: Access,
    handler: H,
) -> Route {
    let filter = MethodFilter::try_from(method.clone()).expect("one that axum knows");
    Route { method, path, access, handler: on(filter, handler) }
}

/// All of them.
pub(crate) fn table() -> Vec<Route> {
    use Access::{Act, Open, Read};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    vec![
        route(GET, "/", Read, pages::overview::page),
        route(GET, "/workers", Read, pages::workers::page),
        route(GET, "/workers/{node}", Read, pages::worker::page),
        route(GET, "/tasks", Read, pages::tasks::page),
        route(GET, "/tasks/{id}", Read, pages::task::page),
        route(GET, "/canvas/{root}", Read, pages::canvas::page),
        route(GET, "/ranking", Read, pages::ranking::page),
        route(GET, "/queues", Read, pages::queues::page),
        route(GET, "/queues/{name}", Read, pages::queue::page),
        route(GET, "/parked", Read, pages::parked::overview),
        route(GET, "/parked/{queue}", Read, pages::parked::queue),
        route(GET, "/schedule", Read, pages::schedule::page),
        route(GET, "/schedule/{name}", Read, pages::entry::page),
        route(GET, "/log", Read, pages::log::page),
        route(GET, "/log/{number}", Read, pages::log::one),
        route(GET, "/live/{page}", Read, live::stream),
        route(GET, "/live/{page}/{name}", Read, live::stream_of),
        route(GET, "/act", Act, pages::act::preview),
        route(POST, "/act", Act, pages::act::act),
        route(POST, "/theme", Read, pages::sign_in::theme),
        route(GET, "/sign-in", Open, pages::sign_in::page),
        route(POST, "/sign-in", Open, pages::sign_in::sign_in),
        route(POST, "/sign-out", Read, pages::sign_in::sign_out),
        route(GET, "/assets/{name}", Open, assets::asset),
    ]
}

pub(crate) fn router(core: Arc<Core>) -> Router {
    let mut router = Router::new();
    for Route { method, path, access, handler } in table() {
        let guard = from_fn_with_state((Arc::clone(&core), method, access), guard::guard);
        router = router.route(path, handler.route_layer(guard));
    }
    let headers = from_fn_with_state(Arc::clone(&core), guard::headers);
    router.fallback(nothing_here).layer(headers).with_state(core)
}

async fn nothing_here(axum::extract::State(core): axum::extract::State<Arc<Core>>, viewer: Viewer) -> Response {
    problem_page(&core, &viewer, Problem::NotFound)
}

#[cfg(test)]
mod tests;
