//! Whether a session is ours alone.
//!
//! A pooler in transaction mode (PgBouncer's `pool_mode = transaction`) gives each transaction another of its own
//! connections. Statements that are prepared by name then meet those of other clients under the same names: one fails,
//! or answers with the rows of another. PgBouncer 1.21 and later renames them (`max_prepared_statements`), and all is
//! well; before that nothing that prepares statements can work, and only looking at the server shows which it is.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::connect::Dialer;

/// Whose the sessions behind our connections are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// Ours, as long as our connections last.
    Own,
    /// Shared from one transaction to the next, by a pooler that keeps prepared statements apart.
    Shared,
    /// Shared, and what is prepared there may be answered by a statement of somebody else.
    Mixed,
}

/// How often two connections are compared: others may use the pooler meanwhile.
const ROUNDS: usize = 5;
/// How long the second connection may take. A pooler in session mode may have none left for it.
const SECOND_WITHIN: Duration = Duration::from_secs(2);

/// Looks whose the session behind `client` is, which must be as it was made. `second` makes the second connection, for
/// some milliseconds, that a comparison takes. Without it, or where there cannot be a second one, only what others have
/// left in the session tells that it is shared.
///
/// # Errors
/// The connection was lost.
pub async fn check(client: &Client, second: Option<&Dialer>) -> Result<Sessions, Error> {
    match is_renamed(client).await {
        Ok(true) => return Ok(Sessions::Shared),
        Ok(false) => {}
        // Somebody else has prepared a statement under the name that our driver gave ours.
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_PSTATEMENT) => return Ok(Sessions::Mixed),
        Err(error) => return Err(error),
    }
    if has_foreign(client).await? {
        return Ok(Sessions::Mixed);
    }
    let Some(second) = second else { return Ok(Sessions::Own) };
    let is_shared = timeout(SECOND_WITHIN, async {
        match second.connect().await {
            Ok(other) => is_shared(client, &other.client).await,
            Err(_) => Ok(false),
        }
    });
    Ok(if is_shared.await.unwrap_or(Ok(false))? { Sessions::Mixed } else { Sessions::Own })
}

/// Two sessions at the same time are two backends; what is given back after a transaction may be given to another.
async fn is_shared(client: &Client, other: &Client) -> Result<bool, Error> {
    let mut ours = backend(client).await?;
    for _ in 0..ROUNDS {
        let Ok(theirs) = backend(other).await else { return Ok(false) };
        let again = backend(client).await?;
        if ours == theirs || ours != again {
            return Ok(true);
        }
        ours = again;
    }
    Ok(false)
}

/// Whether a name that we have prepared has another one on the server. All in one transaction, so that it is one server.
async fn is_renamed(client: &Client) -> Result<bool, Error> {
    const PROBE: &str = "SELECT 'a name of its own'";
    client.batch_execute("BEGIN").await?;
    let asked = async {
        // Kept until the names are known.
        let _prepared = client.prepare(PROBE).await?;
        let names =
            first_column(client, "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%a name of its own%'");
        let names = names.await?;
        Ok(!names.is_empty() && !names.iter().any(|name| is_of_our_driver(name)))
    };
    let asked: Result<bool, Error> = asked.await;
    client.batch_execute("ROLLBACK").await?;
    asked
}

/// Whether statements are prepared in this session, which has just begun, under names as our driver gives them.
async fn has_foreign(client: &Client) -> Result<bool, Error> {
    let names = first_column(client, "SELECT name FROM pg_prepared_statements").await?;
    Ok(names.iter().any(|name| is_of_our_driver(name)))
}

/// tokio-postgres counts: `s0`, `s1`, …
fn is_of_our_driver(name: &str) -> bool {
    name.strip_prefix('s').is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

async fn backend(client: &Client) -> Result<Vec<String>, Error> {
    first_column(client, "SELECT pg_backend_pid()").await
}

/// By the simple protocol, which prepares nothing.
async fn first_column(client: &Client, question: &str) -> Result<Vec<String>, Error> {
    let answer = client.simple_query(question).await?;
    let rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_drivers_are_told_from_those_of_poolers() {
        assert!(is_of_our_driver("s0") && is_of_our_driver("s1234"));
        for other in ["PGBOUNCER_1", "s", "sx", "odyssey_1", ""] {
            assert!(!is_of_our_driver(other), "{other}");
        }
    }
}
