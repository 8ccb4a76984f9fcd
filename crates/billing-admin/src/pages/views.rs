//! Lists that somebody wants again, under a name: a view is an address.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect};
use billing::store::staff::{MAX_VIEW_NAME, MAX_VIEW_QUERY, SavedView, forget_view, save_view, saved_views};
use uuid::Uuid;

use super::{Answer, Shared};
use crate::Core;
use crate::page::{Pages, Problem, Shell, Viewer};
use crate::params::Params;

/// The lists that have views; each has its page under its name.
const LISTS: [&str; 10] = [
    "accounts",
    "bills",
    "payments",
    "refunds",
    "tariffs",
    "receipts",
    "notifications",
    "differences",
    "events",
    "audit",
];

/// What was saved of a list, and what is saved next.
pub(crate) struct Views {
    pub(crate) list: &'static str,
    /// The present conditions.
    pub(crate) query: String,
    pub(crate) saved: Vec<Saved>,
}

pub(crate) struct Saved {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) href: String,
    /// It is what is shown.
    pub(crate) is_on: bool,
}

/// The conditions of an address, without the place in the list.
fn conditions(query: &Params) -> String {
    query.with("after", "").trim_start_matches('?').to_owned()
}

impl Pages {
    /// With the views of the list that whoever looks has saved. No connection may be held.
    pub(crate) async fn viewed(
        mut self,
        core: &Core,
        shell: &Shell,
        list: &'static str,
        query: &Params,
    ) -> Result<Self, Problem> {
        let (visitor, query) = (shell.viewer.visitor()?, conditions(query));
        let saved = saved_views(&mut *core.services.db.conn().await?, visitor.staff.id, list).await?;
        let saved = saved.into_iter().map(|view| Saved {
            href: address(list, &view.query),
            is_on: view.query == query,
            id: view.id,
            name: view.name,
        });
        self.views = Some(Views { list, saved: saved.collect(), query });
        Ok(self)
    }
}

fn address(list: &str, query: &str) -> String {
    if query.is_empty() { format!("/{list}") } else { format!("/{list}?{query}") }
}

pub(crate) async fn save(State(core): Shared, viewer: Viewer, Extension(form): Extension<Params>) -> Answer {
    let staff_id = viewer.visitor()?.staff.id;
    let list = LISTS.into_iter().find(|list| *list == form.get("list")).ok_or(Problem::NotFound)?;
    let name: String = form.get("name").chars().filter(|c| !c.is_control()).collect();
    let query = conditions(&Params::read(form.get("query").as_bytes()));
    let fits = (1..=MAX_VIEW_NAME).contains(&name.chars().count()) && query.chars().count() <= MAX_VIEW_QUERY;
    if !fits {
        return Err(Problem::TooLong);
    }
    let view = SavedView { id: Uuid::now_v7(), list: list.to_owned(), name, query };
    let db = &core.services.db;
    if !save_view(&mut *db.conn().await?, staff_id, &view, db.now()).await? {
        return Err(Problem::TooLong);
    }
    Ok(Redirect::to(&address(list, &view.query)).into_response())
}

pub(crate) async fn forget(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let staff_id = viewer.visitor()?.staff.id;
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let list = forget_view(&mut *core.services.db.conn().await?, staff_id, id).await?.ok_or(Problem::NotFound)?;
    Ok(Redirect::to(&address(&list, "")).into_response())
}
