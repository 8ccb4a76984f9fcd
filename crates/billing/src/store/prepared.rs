//! Writes that PostgreSQL prepares once per connection, as it does what diesel reads.
//!
//! Diesel has every write prepared anew, in a round trip of its own, because the text of a write may depend on its values
//! (`None` is left out of an `UPDATE` and is `DEFAULT` in an `INSERT`) and so there may be any number of texts. Those of
//! one payment are few: they are kept by their text.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// A statement with few possible texts. Not for lists of any length.
pub(super) trait Prepare: Sized {
    fn prepared(self) -> Prepared<Self> {
        Prepared(self)
    }
}

impl<Q: QueryFragment<Pg>> Prepare for Q {}

/// See [`Prepare`].
pub(super) struct Prepared<Q>(Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

/// Without an id of its type: the text is the key.
impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}
