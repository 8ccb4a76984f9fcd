//! The address: Celery's `db+postgresql://…` (SQLAlchemy's URL), and libpq's `postgresql://…`.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use url::Url;

/// Where to connect, and how.
#[derive(Debug)]
pub(super) struct Address {
    /// Without TLS: that is in `tls`.
    pub(super) config: Config,
    pub(super) tls: Option<Tls>,
    /// To be shown: without the password.
    pub(super) shown: String,
}

/// TLS is asked for. The server's certificate must be valid for its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    /// A file of trusted certificates in PEM; the system's without one.
    pub(super) roots: Option<PathBuf>,
}

/// SQLAlchemy leaves the host out where `?host=` has it, which no other URL may do.
const HOST_IN_QUERY: &str = "host-in-query";

/// Whether an address names this backend: `postgresql://`, `postgres://`, each also with `db+` (or `database+`) before it
/// and the name of a Python driver (`+psycopg2`) after it.
pub(crate) fn is_postgres(address: &str) -> bool {
    let Some((scheme, _)) = address.split_once("://") else { return false };
    let scheme = scheme.strip_prefix("db+").or_else(|| scheme.strip_prefix("database+")).unwrap_or(scheme);
    let (dialect, driver) = scheme.split_once('+').unwrap_or((scheme, ""));
    matches!(dialect, "postgresql" | "postgres") && matches!(driver, "" | "psycopg2" | "psycopg" | "pg8000")
}

/// Reads an address.
///
/// # Errors
/// What is wrong with it, without the password.
pub(super) fn parse(text: &str, timeout: Duration) -> Result<Address, String> {
    let url = Url::parse(&text.replacen("@/", &format!("@{HOST_IN_QUERY}/"), 1));
    let url = &url.map_err(|error| format!("not a URL: {error}"))?;
    let mut config = Config::new();
    config.application_name("celeriac").connect_timeout(timeout).keepalives_idle(Duration::from_secs(60));
    let mut shown = "postgresql://".to_owned();
    if !url.username().is_empty() {
        let user = decoded(url.username())?;
        shown.push_str(&user);
        shown.push('@');
        config.user(user);
    }
    if let Some(password) = url.password() {
        config.password(decoded(password)?);
    }

    let hosts = hosts(url)?;
    for (index, (host, port)) in hosts.iter().enumerate() {
        config.host(host).port(*port);
        shown.push_str(if index > 0 { "," } else { "" });
        shown.push_str(&format!("{host}:{port}"));
    }
    let database = decoded(url.path().trim_start_matches('/'))?;
    shown.push('/');
    shown.push_str(&database);
    if !database.is_empty() {
        config.dbname(database);
    }
    let tls = options(url, &mut config)?;
    config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
    Ok(Address { config, tls, shown })
}

/// The server of the URL, or those of `?host=`: `name`, `name:port` or the directory of a Unix socket.
fn hosts(url: &Url) -> Result<Vec<(String, u16)>, String> {
    const PORT: u16 = 5432;
    let query = |wanted| url.query_pairs().filter(move |(name, _)| name == wanted).map(|(_, value)| value.into_owned());
    let port = |text: &str| text.parse().map_err(|_| "the port is not a number up to 65535".to_owned());
    let default_port = match (url.port(), query("port").next()) {
        (Some(port), _) => port,
        (None, Some(text)) => port(&text)?,
        (None, None) => PORT,
    };
    let mut hosts = Vec::new();
    if let Some(host) = url.host_str().filter(|host| !host.is_empty() && *host != HOST_IN_QUERY) {
        hosts.push((decoded(host.trim_start_matches('[').trim_end_matches(']'))?, default_port));
    }
    for host in query("host").flat_map(|hosts| hosts.split(',').map(str::to_owned).collect::<Vec<_>>()) {
        match host.rsplit_once(':') {
            Some((name, text)) if !host.starts_with('/') => hosts.push((name.to_owned(), port(text)?)),
            _ => hosts.push((host, default_port)),
        }
    }
    if hosts.is_empty() {
        hosts.push(("localhost".to_owned(), default_port));
    }
    Ok(hosts)
}

/// Takes what the query asks for. Values are not shown: one may be a password.
fn options(url: &Url, config: &mut Config) -> Result<Option<Tls>, String> {
    let (mut wants_tls, mut roots) = (false, None);
    for (name, value) in url.query_pairs() {
        match &*name {
            "host" | "port" => {}
            "sslmode" => {
                wants_tls = match &*value {
                    "disable" | "allow" | "prefer" => false,
                    "require" | "verify-ca" | "verify-full" => true,
                    _ => return Err(format!("sslmode={value}: one of disable, require and verify-full expected")),
                }
            }
            "sslrootcert" => roots = (value != "system").then(|| PathBuf::from(&*value)),
            "connect_timeout" => {
                let seconds = value.parse().map_err(|_| "connect_timeout is not a number of seconds".to_owned())?;
                config.connect_timeout(Duration::from_secs(seconds));
            }
            "application_name" => drop(config.application_name(&*value)),
            "options" => drop(config.options(&*value)),
            "password" => drop(config.password(&*value)),
            "user" => drop(config.user(&*value)),
            "target_session_attrs" => {
                config.target_session_attrs(match &*value {
                    "any" => TargetSessionAttrs::Any,
                    "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
                    _ => return Err("target_session_attrs: any or read-write expected".to_owned()),
                });
            }
            _ => tracing::warn!(option = %name, "unknown option in the address of the result backend is ignored"),
        }
    }
    Ok(wants_tls.then_some(Tls { roots }))
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| "a part of the address is not UTF-8".to_owned())?.into_owned())
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn read(url: &str) -> Result<Address, String> {
        assert!(is_postgres(url), "{url}");
        parse(url, Duration::from_secs(5))
    }

    #[test]
    fn celerys_and_libpqs_ways_to_name_a_database_are_read() {
        for (url, shown) in [
            ("postgresql://app:secret@db:5433/results", "postgresql://app@db:5433/results"),
            ("postgres://app@db/results", "postgresql://app@db:5432/results"),
            ("db+postgresql://app:secret@db/results", "postgresql://app@db:5432/results"),
            ("database+postgresql+psycopg2://app@db/results", "postgresql://app@db:5432/results"),
            ("db+postgresql+psycopg://app:p%40ss%2Fsecret@db/a%20b", "postgresql://app@db:5432/a b"),
            ("postgresql:///results", "postgresql://localhost:5432/results"),
            ("postgresql://[::1]:7/x", "postgresql://::1:7/x"),
            ("postgresql:///x?host=a:1&host=b&port=9", "postgresql://a:1,b:9/x"),
            ("postgresql:///x?host=/run/postgresql&user=u&password=secret", "postgresql:///run/postgresql:5432/x"),
            ("db+postgresql://app:secret@/x?host=/run/postgresql", "postgresql://app@/run/postgresql:5432/x"),
            ("db+postgresql://app@/x", "postgresql://app@localhost:5432/x"),
        ] {
            let address = read(url).unwrap();
            assert_eq!(address.shown, shown, "{url}");
            assert!(!format!("{address:?}").contains("secret"), "{address:?}");
        }
        let address = read("db+postgresql://a%20b:p%40ss%2F@db/x?options=-csearch_path%3Dq").unwrap();
        assert_eq!((address.config.get_user(), address.config.get_password()), (Some("a b"), Some(&b"p@ss/"[..])));
        assert_eq!(address.config.get_options(), Some("-csearch_path=q"));
        let socket = read("postgresql:///x?host=/run/postgresql").unwrap();
        assert_eq!(socket.config.get_hosts(), [Host::Unix("/run/postgresql".into())]);
    }

    #[test]
    fn tls_is_on_where_it_is_asked_for() {
        let tls = |query: &str| read(&format!("postgresql://db/x{query}")).unwrap().tls;
        for off in ["", "?sslmode=disable", "?sslmode=prefer", "?sslrootcert=/ca.pem"] {
            assert_eq!(tls(off), None, "{off}");
        }
        for on in
            ["?sslmode=require", "?sslmode=verify-ca", "?sslmode=verify-full", "?sslmode=require&sslrootcert=system"]
        {
            assert_eq!(tls(on), Some(Tls { roots: None }), "{on}");
        }
        assert_eq!(tls("?sslrootcert=/ca.pem&sslmode=require"), Some(Tls { roots: Some("/ca.pem".into()) }));
    }

    #[test]
    fn a_bad_address_says_what_is_wrong_and_never_the_password() {
        for (url, part) in [
            ("postgresql://u:secret@db/x?sslmode=maybe", "sslmode=maybe"),
            ("postgresql://u:secret@/x?host=h:port", "the port"),
            ("postgresql://u:secret%ff@db/x", "not UTF-8"),
            ("postgresql://u:secret@db:port/x", "not a URL"),
            ("postgresql://u:secret@db/x?connect_timeout=secret", "connect_timeout"),
        ] {
            let error = read(url).unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
        for other in ["db+mysql://h", "postgresql+something://h", "redis://h", "postgresql", "redis://postgresql://h"] {
            assert!(!is_postgres(other), "{other}");
        }
    }
}
