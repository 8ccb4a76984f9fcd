//! How much each role may give back of one payment.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use crate::Kopecks;
use crate::schema::refund_limit;

/// What a role may give back of one payment.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = refund_limit, check_for_backend(diesel::pg::Pg))]
pub struct Limit {
    pub role: String,
    /// Up to here without a second person.
    pub alone: Kopecks,
    /// Up to here as the second person.
    pub approves: Kopecks,
}

/// The limits of all roles that may give money back, by name.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn limits(conn: &mut AsyncPgConnection) -> Result<Vec<Limit>, StoreError> {
    Ok(refund_limit::table.order(refund_limit::role).select(Limit::as_select()).load(conn).await?)
}

/// Sets the limits of a role that may give money back. Returns whether there is such a role.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn set_limit(conn: &mut AsyncPgConnection, limit: &Limit) -> Result<bool, StoreError> {
    let of_role = diesel::update(refund_limit::table.find(&limit.role));
    let set = of_role.set((refund_limit::alone.eq(limit.alone), refund_limit::approves.eq(limit.approves)));
    Ok(set.execute(conn).await? > 0)
}
