//! What somebody of the staff decides about a difference, with its line in the audit log.

use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde_json::json;

use super::{By, Entry, audit};
use crate::DifferenceId;
use crate::reconciliation::DifferenceState;
use crate::store::reconciliation::{self, DecideError, Decision, Difference};

/// The shortest reason that says anything, and the longest, in characters.
const REASON: std::ops::RangeInclusive<usize> = 3..=500;

/// Takes a decision about a difference that was `seen` in a state. `None`: it is in another one by now, and nothing was done.
///
/// # Errors
/// [`DecideError`].
pub async fn decide_difference(
    conn: &mut AsyncPgConnection,
    id: DifferenceId,
    seen: DifferenceState,
    state: DifferenceState,
    reason: &str,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Option<Difference>, DecideError> {
    if !REASON.contains(&reason.trim().chars().count()) {
        return Err(DecideError::Reason);
    }
    conn.transaction::<_, DecideError, _>(async |conn| {
        let before = reconciliation::by_id_for_update(conn, id).await?.ok_or(DecideError::Unknown(id))?;
        if before.state != seen {
            return Ok(None);
        }
        let decision = Decision { state, by: by.name.clone(), reason: reason.to_owned() };
        let after = reconciliation::decide(conn, id, decision, now).await?;
        let (was, is) = (json!({ "state": seen.as_str() }), json!({ "state": state.as_str() }));
        let target = id.to_string();
        let entry = Entry::new("difference_decided").target("difference", &target).reason(reason);
        audit(conn, by, &entry.before(was).after(is), now).await?;
        Ok(Some(after))
    })
    .await
}
