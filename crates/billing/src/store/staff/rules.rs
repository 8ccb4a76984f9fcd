//! What a refusal means, changed by somebody of the staff who has seen how it was.

use diesel_async::{AsyncConnection, AsyncPgConnection};
use sha2::{Digest, Sha256};

use super::{By, Entry, StoreError, audit};
use crate::decline::Rule;
use crate::store::declines::{self, Author, ChangeError};

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleChanged {
    /// Under this version.
    Now(i64),
    /// Somebody has changed it since; nothing was done.
    Meanwhile,
}

/// Names a rule as somebody saw it.
#[must_use]
pub fn seen_rule(rule: &Rule) -> String {
    Sha256::digest(format!("{rule:?}").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts a rule in the place of the one of its code, if that is as it was `seen`; with a line in the audit log.
///
/// # Errors
/// [`ChangeError`].
pub async fn change_rule(
    conn: &mut AsyncPgConnection,
    rule: &Rule,
    seen: &str,
    author: &Author,
    by: &By,
) -> Result<RuleChanged, ChangeError> {
    conn.transaction(async |conn| {
        let present = declines::ruling(conn, rule.code).await.map_err(StoreError::from)?.rule;
        if seen_rule(&present) != seen {
            return Ok(RuleChanged::Meanwhile);
        }
        let version = declines::set_rule(conn, rule, author).await?;
        let code = rule.code.to_string();
        let entry = Entry::new("decline_rule").target("decline_rule", &code).reason(&author.reason);
        audit(conn, by, &entry, author.now).await?;
        Ok(RuleChanged::Now(version))
    })
    .await
}
