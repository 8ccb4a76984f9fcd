//! Why a caller is turned away.

use chrono::NaiveDate;

use crate::browser::BadToken;
use crate::scope::Scope;

/// Why a caller was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No `authorization`, or one that is not a bearer token.
    Missing,
    /// No client has this token.
    UnknownToken,
    /// The token was good until this day.
    ExpiredToken { valid_through: NaiveDate },
    /// A client's token, shown by a page: everybody who looks at the page can read it.
    ServiceTokenOfPage,
    /// No client's token, and no good one of a browser.
    Browser(BadToken),
    /// A good token without this scope.
    Scope(Scope),
}
