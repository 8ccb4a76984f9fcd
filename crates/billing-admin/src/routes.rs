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
    Agree, ChangeRules, GiveBack, ManageStaff, MendSubscriptions, SeeAudit, SeeBooks, SeeCustomers, SeeTraces,
    ServeCustomers, SettleDifferences,
};
use billing::store::staff::ActionKind;

use crate::access::Access;
use crate::list::{List, Listed};
use crate::page::{Problem, Viewer};
use crate::pages::accounts::Accounts;
use crate::pages::audit::Audit;
use crate::pages::bills::Bills;
use crate::pages::bulk::{BulkRows, Bulks};
use crate::pages::differences::Differences;
use crate::pages::events::Events;
use crate::pages::notifications::{Notifications, Receipts};
use crate::pages::payments::Payments;
use crate::pages::refunds::Refunds;
use crate::pages::tariffs::Tariffs;
use crate::params::{Asked, Params};
use crate::{Core, assets, guard, list, pages};

/// A page or an action.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    proof: Proof,
    handler: MethodRouter<Arc<Core>>,
}

/// Whether the password is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The session is enough.
    Session,
    /// If it was not typed in the last minutes.
    Password,
}

impl Route {
    /// Money, rules, or who may come in: whoever sits down at somebody else's screen cannot do it.
    fn delicate(self) -> Self {
        Self { proof: Proof::Password, ..self }
    }
}

fn route<H: Handler<T, Arc<Core>>, T: 'static>(
    method: Method,
    path: &'static str,
    access: Access,
    handler: H,
) -> Route {
    let filter = MethodFilter::try_from(method.clone()).expect("one that axum knows");
    Route { method, path, access, proof: Proof::Session, handler: on(filter, handler) }
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

/// A list.
fn list<L: Listed>(path: &'static str, right: Right) -> Route {
    route(Method::GET, path, Access::Has(right), list::page::<L>)
}

/// And all of it as a table.
fn export<L: List>(path: &'static str, right: Right) -> Route {
    route(Method::GET, path, Access::Has(right), list::export::export::<L>)
}

/// All of them.
pub(crate) fn table() -> Vec<Route> {
    use Access::{HalfWay, Has, Open, SignedIn, Staff};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    vec![
        route(GET, "/", Staff, pages::home::page),
        route(GET, "/find", Has(SeeCustomers), pages::find::page),
        list::<Accounts>("/accounts", SeeCustomers),
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
        preview("/accounts/{id}/change_tariff", MendSubscriptions, ActionKind::ChangeTariff),
        confirm("/accounts/{id}/change_tariff", MendSubscriptions, ActionKind::ChangeTariff),
        preview("/accounts/{id}/retry_now", MendSubscriptions, ActionKind::RetryNow),
        confirm("/accounts/{id}/retry_now", MendSubscriptions, ActionKind::RetryNow),
        list::<Bills>("/bills", SeeCustomers),
        route(GET, "/bills/{id}", Has(SeeCustomers), pages::bill::page),
        route(POST, "/bills/{id}/traces", Has(SeeTraces), pages::bill::traces),
        list::<Payments>("/payments", SeeCustomers),
        route(GET, "/payments/{id}", Has(SeeCustomers), pages::payment::page),
        route(GET, "/payments/{id}/refund", Has(GiveBack), pages::refund::preview),
        route(POST, "/payments/{id}/refund", Has(GiveBack), pages::refund::confirm).delicate(),
        route(GET, "/payments/{id}/close", Has(MendSubscriptions), pages::closing::preview),
        route(POST, "/payments/{id}/close", Has(MendSubscriptions), pages::closing::ask).delicate(),
        route(GET, "/closings/{id}", Has(MendSubscriptions), pages::closing::one),
        route(POST, "/closings/{id}/approve", Has(Agree), pages::closing::approve).delicate(),
        route(POST, "/closings/{id}/withdraw", Has(MendSubscriptions), pages::closing::withdraw),
        route(GET, "/approvals", Has(GiveBack), pages::approvals::page),
        route(GET, "/accounts/extend", Has(MendSubscriptions), pages::bulk::extend),
        route(POST, "/accounts/extend", Has(MendSubscriptions), pages::bulk::freeze_extension),
        route(GET, "/payments/refund", Has(GiveBack), pages::bulk::refund),
        route(POST, "/payments/refund", Has(GiveBack), pages::bulk::freeze_refund),
        list::<Bulks>("/bulk", SeeBooks),
        export::<Bulks>("/bulk/export", SeeBooks),
        export::<BulkRows>("/bulk/rows/export", SeeBooks),
        route(GET, "/bulk/{id}", Has(SeeBooks), pages::bulk::one),
        route(POST, "/bulk/{id}/ask", Has(GiveBack), pages::bulk::ask).delicate(),
        route(POST, "/bulk/{id}/approve", Has(Agree), pages::bulk::approve).delicate(),
        route(POST, "/bulk/{id}/pause", Has(GiveBack), pages::bulk::pause),
        route(POST, "/bulk/{id}/resume", Has(GiveBack), pages::bulk::resume),
        route(POST, "/bulk/{id}/stop", Has(GiveBack), pages::bulk::stop),
        route(POST, "/bulk/{id}/withdraw", Has(GiveBack), pages::bulk::withdraw),
        route(GET, "/refunds/{id}", Has(SeeCustomers), pages::refund::one),
        route(POST, "/refunds/{id}/approve", Has(GiveBack), pages::refund::approve).delicate(),
        route(POST, "/refunds/{id}/withdraw", Has(GiveBack), pages::refund::withdraw),
        list::<Refunds>("/refunds", SeeCustomers),
        list::<Tariffs>("/tariffs", SeeCustomers),
        route(GET, "/payments/{id}/receipts", Has(SeeBooks), pages::again::receipts),
        route(POST, "/payments/{id}/receipts", Has(MendSubscriptions), pages::again::send_receipts),
        route(GET, "/notifications/{id}", Has(SeeBooks), pages::again::notification),
        route(POST, "/notifications/{id}/again", Has(MendSubscriptions), pages::again::take_again),
        list::<Receipts>("/receipts", SeeBooks),
        list::<Notifications>("/notifications", SeeBooks),
        list::<Events>("/events", SeeBooks),
        list::<Differences>("/differences", SeeBooks),
        route(GET, "/differences/{id}", Has(SeeBooks), pages::differences::one),
        route(POST, "/differences/{id}", Has(SettleDifferences), pages::differences::decide).delicate(),
        export::<Accounts>("/accounts/export", SeeBooks),
        export::<Bills>("/bills/export", SeeBooks),
        export::<Payments>("/payments/export", SeeBooks),
        export::<Refunds>("/refunds/export", SeeBooks),
        export::<Tariffs>("/tariffs/export", SeeBooks),
        export::<Receipts>("/receipts/export", SeeBooks),
        export::<Notifications>("/notifications/export", SeeBooks),
        export::<Events>("/events/export", SeeBooks),
        export::<Differences>("/differences/export", SeeBooks),
        export::<Audit>("/audit/export", SeeAudit),
        route(GET, "/rules", Has(SeeCustomers), pages::rules::page),
        route(POST, "/views", Staff, pages::views::save),
        route(POST, "/views/{id}/forget", Staff, pages::views::forget),
        route(GET, "/settings", Has(SeeCustomers), pages::settings::page),
        route(GET, "/settings/{kind}/{subject}", Has(SeeCustomers), pages::settings::one),
        route(POST, "/settings/{kind}/{subject}", Has(ChangeRules), pages::settings::confirm).delicate(),
        route(GET, "/settings/changes/{id}", Has(ChangeRules), pages::settings::take_back),
        route(POST, "/settings/changes/{id}", Has(ChangeRules), pages::settings::confirm_back).delicate(),
        route(GET, "/reports", Has(SeeBooks), pages::reports::first),
        route(GET, "/reports/{name}", Has(SeeBooks), pages::reports::page),
        route(GET, "/reports/{name}/csv", Has(SeeBooks), pages::reports::file),
        route(GET, "/reports/{name}/xlsx", Has(SeeBooks), pages::reports::workbook),
        list::<Audit>("/audit", SeeAudit),
        route(GET, "/staff", Has(ManageStaff), pages::staff::page),
        route(POST, "/staff", Has(ManageStaff), pages::staff::let_in),
        route(POST, "/staff/{name}/role", Has(ManageStaff), pages::staff::give_role),
        route(POST, "/staff/{name}/reset", Has(ManageStaff), pages::staff::let_in_anew),
        route(POST, "/staff/{name}/disable", Has(ManageStaff), pages::staff::put_out),
        route(GET, "/login", Open, pages::sign_in::page),
        route(POST, "/login", Open, pages::sign_in::sign_in),
        route(GET, "/login/oidc", Open, pages::oidc::sign_in),
        route(GET, "/login/oidc/callback", Open, pages::oidc::callback),
        route(GET, "/invite/{token}/oidc", Open, pages::oidc::accept),
        route(GET, "/me/again", SignedIn, pages::oidc::again),
        route(GET, "/login/code", HalfWay, pages::second_factor::ask),
        route(POST, "/login/code", HalfWay, pages::second_factor::show),
        route(GET, "/invite/{token}", Open, pages::invite::page),
        route(POST, "/invite/{token}", Open, pages::invite::accept),
        route(POST, "/logout", HalfWay, pages::sign_in::sign_out),
        route(GET, "/me", SignedIn, pages::me::page),
        route(POST, "/me/password", SignedIn, pages::me::choose_password),
        route(GET, "/me/factor", SignedIn, pages::second_factor::page),
        route(POST, "/me/factor/begin", SignedIn, pages::second_factor::begin).delicate(),
        route(POST, "/me/factor/confirm", SignedIn, pages::second_factor::confirm).delicate(),
        route(POST, "/me/factor/codes", SignedIn, pages::second_factor::renew_codes).delicate(),
        route(POST, "/me/factor/remove", SignedIn, pages::second_factor::remove).delicate(),
        route(POST, "/me/language", HalfWay, pages::me::choose_language),
        route(POST, "/me/theme", HalfWay, pages::me::choose_theme),
        route(POST, "/me/sign-out-everywhere", SignedIn, pages::me::sign_out_everywhere),
        route(GET, "/assets/{name}", Open, assets::asset),
        route(GET, "/readyz", Open, pages::ready),
    ]
}

pub(crate) fn router(core: Arc<Core>) -> Router {
    let mut router = Router::new();
    for Route { method, path, access, proof, handler } in table() {
        let guard = from_fn_with_state((Arc::clone(&core), method, access, proof), guard::guard);
        router = router.route(path, handler.route_layer(guard));
    }
    let nothing_here = axum::routing::any(async || Problem::NotFound);
    let guard = from_fn_with_state((Arc::clone(&core), Method::GET, Access::Open, Proof::Session), guard::guard);
    let headers = from_fn_with_state(Arc::clone(&core), guard::headers);
    router.fallback_service(nothing_here.layer(guard).with_state(Arc::clone(&core))).layer(headers).with_state(core)
}

#[cfg(test)]
mod tests;
