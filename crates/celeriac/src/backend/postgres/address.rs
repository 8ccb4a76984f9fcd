//! The address: Celery's `db+postgresql://…` (SQLAlchemy's URL), and libpq's `postgresql://…`.

use dial::postgres::Address;

/// Whether an address names this backend: `postgresql://`, `postgres://`, each also with `db+` (or `database+`) before it
/// and the name of a Python driver (`+psycopg2`) after it.
pub(crate) fn is_postgres(address: &str) -> bool {
    let Some((scheme, _)) = address.split_once("://") else { return false };
    let scheme = scheme.strip_prefix("db+").or_else(|| scheme.strip_prefix("database+")).unwrap_or(scheme);
    let (dialect, driver) = scheme.split_once('+').unwrap_or((scheme, ""));
    matches!(dialect, "postgresql" | "postgres") && matches!(driver, "" | "psycopg2" | "psycopg" | "pg8000")
}

/// Reads an address that [`is_postgres`].
///
/// # Errors
/// What is wrong with it, without the password.
pub(super) fn parse(text: &str) -> Result<Address, String> {
    let (_, rest) = text.split_once("://").unwrap_or(("", text));
    Ok(Address::parse(&format!("postgresql://{rest}"))?.application_name("celeriac"))
}

/// To be shown: with the user, without the password.
pub(super) fn shown(address: &Address) -> String {
    match address.user() {
        Some(user) => format!("postgresql://{user}@{address}"),
        None => format!("postgresql://{address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, String> {
        assert!(is_postgres(url), "{url}");
        parse(url)
    }

    #[test]
    fn celerys_and_libpqs_ways_to_name_a_database_are_read() {
        for (url, address) in [
            ("postgresql://app:secret@db:5433/results", "postgresql://app@db:5433/results"),
            ("postgres://app@db/results", "postgresql://app@db:5432/results"),
            ("db+postgresql://app:secret@db/results", "postgresql://app@db:5432/results"),
            ("database+postgresql+psycopg2://app@db/results", "postgresql://app@db:5432/results"),
            ("db+postgresql+psycopg://app:p%40ss%2Fsecret@db/a%20b", "postgresql://app@db:5432/a b"),
            ("postgresql:///results", "postgresql://localhost:5432/results"),
            ("postgresql://[::1]:7/x", "postgresql://[::1]:7/x"),
            ("postgresql://app:secret@one:1,two:2/x", "postgresql://app@one:1,two:2/x"),
            ("postgresql:///x?host=a:1&host=b&port=9", "postgresql://a:9,b:9/x"),
            ("postgresql:///x?host=/run/postgresql&user=u&password=secret", "postgresql://u@/run/postgresql:5432/x"),
            ("db+postgresql://app:secret@/x?host=/run/postgresql", "postgresql://app@/run/postgresql:5432/x"),
            ("db+postgresql://app@/x", "postgresql://app@localhost:5432/x"),
        ] {
            let read = read(url).unwrap();
            assert_eq!(shown(&read), address, "{url}");
            assert!(!format!("{read:?}").contains("secret"), "{read:?}");
        }
    }

    #[test]
    fn other_databases_are_not_ours() {
        for other in ["db+mysql://h", "postgresql+something://h", "redis://h", "postgresql", "redis://postgresql://h"] {
            assert!(!is_postgres(other), "{other}");
        }
        assert!(!read("postgresql://u:secret@db:port/x").unwrap_err().contains("secret"));
    }
}
