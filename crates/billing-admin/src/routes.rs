//! Every page and every action, and what each asks of who comes. There is no other way to add one.

use std::sync::Arc;

use axum::extract::Path;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use billing::staff::Right;
use billing::staff::Right::{
    ChangeRules, GiveBack, ManageStaff, MendSubscriptions, SeeAudit, SeeCustomers, ServeCustomers,
};
use billing::store::staff::ActionKind;

use crate::access::Access;
use crate::page::{Problem, Viewer};
use crate::params::{Asked, Params};
use crate::{Core, assets, guard, pages};

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

/// What an action would do.
fn preview(path: &'static str, right: Right, kind: ActionKind) -> Route {
    let handler = move |core: pages::Shared, viewer: Viewer, id: Path<String>, query: Asked| {
        pages::act::preview_of(kind, core, viewer, id, query)
    };
    route(Method::GET, path, Access::Has(right), handler)
}

/// And doing it.
fn confirm(path: &'static str, right: Right, kind: ActionKind) -> Route {
    let handler = move |core: pages::Shared, viewer: Viewer, id: Path<String>, form: Extension<Params>| {
        pages::act::confirm(kind, core, viewer, id, form)
    };
    route(Method::POST, path, Access::Has(right), handler)
}

/// All of them.
pub(crate) fn table() -> Vec<Route> {
    use Access::{Has, Open, SignedIn, Staff};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    vec![
        route(GET, "/", Staff, pages::home::page),
        route(GET, "/find", Has(SeeCustomers), pages::find::page),
        route(GET, "/accounts", Has(SeeCustomers), pages::accounts::page),
        route(GET, "/accounts/{id}", Has(SeeCustomers), pages::account::page),
        preview("/accounts/{id}/cancel", ServeCustomers, ActionKind::Cancel),
        confirm("/accounts/{id}/cancel", ServeCustomers, ActionKind::Cancel),
        preview("/accounts/{id}/resume", ServeCustomers, ActionKind::Resume),
        confirm("/accounts/{id}/resume", ServeCustomers, ActionKind::Resume),
        preview("/accounts/{id}/forget_card", ServeCustomers, ActionKind::ForgetCard),
        confirm("/accounts/{id}/forget_card", ServeCustomers, ActionKind::ForgetCard),
        preview("/accounts/{id}/extend", MendSubscriptions, ActionKind::Extend),
        confirm("/accounts/{id}/extend", MendSubscriptions, ActionKind::Extend),
        preview("/accounts/{id}/ask_gateway", MendSubscriptions, ActionKind::AskGateway),
        confirm("/accounts/{id}/ask_gateway", MendSubscriptions, ActionKind::AskGateway),
        route(GET, "/bills", Has(SeeCustomers), pages::bills::page),
        route(GET, "/bills/{id}", Has(SeeCustomers), pages::bill::page),
        route(GET, "/payments", Has(SeeCustomers), pages::payments::page),
        route(GET, "/payments/{id}", Has(SeeCustomers), pages::payment::page),
        route(GET, "/payments/{id}/refund", Has(GiveBack), pages::refund::preview),
        route(POST, "/payments/{id}/refund", Has(GiveBack), pages::refund::confirm),
        route(GET, "/refunds", Has(SeeCustomers), pages::refund::list),
        route(GET, "/refunds/{id}", Has(SeeCustomers), pages::refund::one),
        route(POST, "/refunds/{id}/approve", Has(GiveBack), pages::refund::approve),
        route(POST, "/refunds/{id}/withdraw", Has(GiveBack), pages::refund::withdraw),
        route(GET, "/rules", Has(SeeCustomers), pages::rules::page),
        route(GET, "/rules/{code}", Has(SeeCustomers), pages::rules::one),
        route(POST, "/rules/{code}", Has(ChangeRules), pages::rules::change),
        route(GET, "/audit", Has(SeeAudit), pages::audit::page),
        route(GET, "/staff", Has(ManageStaff), pages::staff::page),
        route(POST, "/staff", Has(ManageStaff), pages::staff::let_in),
        route(POST, "/staff/{name}/role", Has(ManageStaff), pages::staff::give_role),
        route(POST, "/staff/{name}/reset", Has(ManageStaff), pages::staff::let_in_anew),
        route(POST, "/staff/{name}/disable", Has(ManageStaff), pages::staff::put_out),
        route(GET, "/login", Open, pages::sign_in::page),
        route(POST, "/login", Open, pages::sign_in::sign_in),
        route(POST, "/logout", SignedIn, pages::sign_in::sign_out),
        route(GET, "/me", SignedIn, pages::me::page),
        route(POST, "/me/password", SignedIn, pages::me::choose_password),
        route(POST, "/me/language", SignedIn, pages::me::choose_language),
        route(POST, "/me/theme", SignedIn, pages::me::choose_theme),
        route(POST, "/me/sign-out-everywhere", SignedIn, pages::me::sign_out_everywhere),
        route(GET, "/assets/{name}", Open, assets::asset),
        route(GET, "/readyz", Open, pages::ready),
    ]
}

pub(crate) fn router(core: Arc<Core>) -> Router {
    let mut router = Router::new();
    for Route { method, path, access, handler } in table() {
        let guard = from_fn_with_state((Arc::clone(&core), method, access), guard::guard);
        router = router.route(path, handler.route_layer(guard));
    }
    let nothing_here = axum::routing::any(async || Problem::NotFound);
    let guard = from_fn_with_state((Arc::clone(&core), Method::GET, Access::Open), guard::guard);
    let headers = from_fn_with_state(Arc::clone(&core), guard::headers);
    router.fallback_service(nothing_here.layer(guard).with_state(Arc::clone(&core))).layer(headers).with_state(core)
}

#[cfg(test)]
mod tests;
