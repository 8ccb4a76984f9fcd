//! Lists as somebody wants them again: a name for the conditions of an address.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use crate::schema::saved_view;
use crate::staff::StaffId;

/// The longest name of a view, in characters.
pub const MAX_VIEW_NAME: usize = 60;
/// The longest query of a view, in characters.
pub const MAX_VIEW_QUERY: usize = 2_000;
/// The most views of one list that somebody keeps.
pub const MAX_VIEWS: i64 = 20;

/// A list under a name.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = saved_view, check_for_backend(diesel::pg::Pg))]
pub struct SavedView {
    pub id: Uuid,
    pub list: String,
    pub name: String,
    /// Without the question mark.
    pub query: String,
}

/// The views of a list that somebody has saved, by name.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn saved_views(
    conn: &mut AsyncPgConnection,
    staff_id: StaffId,
    list: &str,
) -> Result<Vec<SavedView>, StoreError> {
    let of = saved_view::table.filter(saved_view::staff_id.eq(staff_id).and(saved_view::list.eq(list)));
    Ok(of.order(saved_view::name).limit(MAX_VIEWS).select(SavedView::as_select()).load(conn).await?)
}

/// Saves a view, in the place of one of the same name. Returns whether it was kept: not if there are [`MAX_VIEWS`] already.
///
/// # Errors
/// [`StoreError::Db`]; also if name or query are too long, which the caller has checked.
pub async fn save_view(
    conn: &mut AsyncPgConnection,
    staff_id: StaffId,
    view: &SavedView,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let known = saved_views(conn, staff_id, &view.list).await?;
    let is_full = i64::try_from(known.len()).is_ok_and(|count| count >= MAX_VIEWS);
    if is_full && !known.iter().any(|known| known.name == view.name) {
        return Ok(false);
    }
    diesel::insert_into(saved_view::table)
        .values((
            saved_view::id.eq(view.id),
            saved_view::created_at.eq(now),
            saved_view::staff_id.eq(staff_id),
            saved_view::list.eq(&view.list),
            saved_view::name.eq(&view.name),
            saved_view::query.eq(&view.query),
        ))
        .on_conflict((saved_view::staff_id, saved_view::list, saved_view::name))
        .do_update()
        .set(saved_view::query.eq(&view.query))
        .execute(conn)
        .await?;
    Ok(true)
}

/// Forgets a view of somebody. Returns the list that it was of; `None`: they have none of this id.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn forget_view(
    conn: &mut AsyncPgConnection,
    staff_id: StaffId,
    id: Uuid,
) -> Result<Option<String>, StoreError> {
    let theirs = saved_view::table.find(id).filter(saved_view::staff_id.eq(staff_id));
    Ok(diesel::delete(theirs).returning(saved_view::list).get_result(conn).await.optional()?)
}
