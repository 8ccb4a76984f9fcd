//! Addresses as libpq reads them: `postgresql://user:password@one:5432,two:5432/database?option=value`, or
//! `host=one,two dbname=database …`; and SQLAlchemy's way to name hosts (`?host=one:5432&host=two:5432`).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;

use super::keywords;
use crate::address::{self as text, decoded, written};
use crate::socket::KeepAlive;
use crate::tls::{Check, Settings};

const PORT: u16 = 5432;

/// What libpq knows besides what is read here; most of it means nothing without libpq.
const OTHER_OPTIONS: [&str; 11] = [
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "passfile",
    "replication",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
];

const OPTIONS: [&str; 23] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Where a database is, and how to get there.
#[derive(Clone)]
pub struct Address {
    pub(super) servers: Vec<Server>,
    /// Who we are and what we want, without where.
    pub(super) config: Config,
    pub(super) tls: Option<Settings>,
    /// How long one server may take, from the first packet to the session; libpq's `connect_timeout`.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) wanted: Wanted,
    pub(super) in_any_order: bool,
    pub(super) keep_alive: KeepAlive,
}

/// One server of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// The name is what a certificate must be for; the address, where there is one, saves looking it up.
    Tcp { name: String, address: Option<IpAddr>, port: u16 },
    /// The directory of a Unix socket.
    Unix { directory: PathBuf, port: u16 },
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { name, port, .. } => write!(f, "{}:{port}", written(name)),
            Self::Unix { directory, port } => write!(f, "{}:{port}", directory.display()),
        }
    }
}

/// Which of several servers is the right one: libpq's `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("address", &self.to_string()).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// The servers and the database, for logs: neither user nor password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.servers.iter().enumerate() {
            write!(f, "{}{server}", if index > 0 { "," } else { "" })?;
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, without any part of it that may be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut given = Given::default();
        if text.contains("://") {
            given.read_url(text)?;
        } else {
            for (name, value) in keywords::read(text)? {
                given.set(&name, value)?;
            }
        }
        given.into_address()
    }

    /// Who logs in, as far as the address says it.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.config.get_user()
    }

    /// Said to the server unless the address says it.
    #[must_use]
    pub fn application_name(mut self, name: &str) -> Self {
        if self.config.get_application_name().is_none() {
            self.config.application_name(name);
        }
        self
    }
}

/// What was read of an address so far.
#[derive(Default)]
struct Given {
    config: Config,
    hosts: Vec<String>,
    addresses: Vec<String>,
    ports: Vec<String>,
    sslmode: Option<String>,
    roots: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    connect_timeout: Option<Duration>,
    wanted: Option<Wanted>,
    in_any_order: bool,
    keep_alive: KeepAlive,
}

impl Given {
    fn read_url(&mut self, text: &str) -> Result<(), String> {
        let known: Vec<&str> = OPTIONS.iter().chain(&OTHER_OPTIONS).copied().collect();
        let parts = text::split(text, &known)?;
        if !matches!(parts.scheme, "postgresql" | "postgres") {
            return Err("expected postgresql://user:password@host:port/database".to_owned());
        }
        if !parts.user.is_empty() {
            self.config.user(decoded(parts.user)?);
        }
        if let Some(password) = parts.password {
            self.config.password(decoded(password)?);
        }
        if !parts.servers.is_empty() {
            for server in parts.servers.split(',') {
                let (host, port) = text::host_and_port(server)?;
                self.hosts.push(decoded(host)?);
                self.ports.push(port.to_owned());
            }
        }
        let database = decoded(parts.path)?;
        if !database.is_empty() {
            self.config.dbname(database);
        }
        for (name, value) in text::options(parts.query)? {
            self.set(&name, value)?;
        }
        let names_a_server = self.hosts.iter().any(|host| !host.is_empty()) || !self.addresses.is_empty();
        if !names_a_server && self.config.get_dbname().is_none() {
            return Err(
                "it names no server and no database: expected postgresql://user:password@host:port/database".into()
            );
        }
        Ok(())
    }

    /// Values are shown where they cannot be a password.
    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "host" => self.add_hosts(&value),
            "hostaddr" => self.addresses.extend(value.split(',').map(str::to_owned)),
            "port" => self.ports = value.split(',').map(str::to_owned).collect(),
            "dbname" => drop(self.config.dbname(value)),
            "user" => drop(self.config.user(value)),
            "password" => drop(self.config.password(value)),
            "options" => drop(self.config.options(value)),
            "application_name" => drop(self.config.application_name(value)),
            "connect_timeout" => self.connect_timeout = connect_timeout(whole(name, &value)?),
            "sslmode" => self.sslmode = Some(value),
            "sslrootcert" => self.roots = (value != "system").then(|| value.into()),
            "sslcert" => self.certificate = Some(value.into()),
            "sslkey" => self.key = Some(value.into()),
            "sslnegotiation" if value == "postgres" => {}
            "channel_binding" if value != "require" => {}
            "sslnegotiation" | "channel_binding" => return Err(format!("{name}={value} is not offered here")),
            "target_session_attrs" => self.wanted = Some(wanted(&value)?),
            "load_balance_hosts" => self.in_any_order = value == "random",
            "keepalives" if value == "0" => self.keep_alive.idle = None,
            "keepalives" => {}
            "keepalives_idle" => self.keep_alive.idle = seconds(name, &value)?,
            "keepalives_interval" => {
                self.keep_alive.interval = seconds(name, &value)?.unwrap_or(self.keep_alive.interval);
            }
            "keepalives_count" | "keepalives_retries" => {
                self.keep_alive.retries = u32::try_from(whole(name, &value)?).unwrap_or(u32::MAX);
            }
            "tcp_user_timeout" => self.keep_alive.user_timeout = Duration::from_millis(whole(name, &value)?),
            _ if OTHER_OPTIONS.contains(&name) => {}
            // What is meant to protect must not be left out by a slip of the pen.
            _ if name.starts_with("ssl") => return Err(format!("{name} is not offered here")),
            _ => tracing::warn!(option = name, "unknown option in the address of a database is ignored"),
        }
        Ok(())
    }

    /// `name`, `name:port` or the directory of a Unix socket, with `,` between several.
    fn add_hosts(&mut self, hosts: &str) {
        if self.hosts.iter().all(String::is_empty) {
            self.hosts.clear();
            self.ports.retain(|port| !port.is_empty());
        }
        for host in hosts.split(',') {
            let colons = host.matches(':').count();
            match host.rsplit_once(':') {
                Some((name, port)) if !host.starts_with('/') && (colons == 1 || name.ends_with(']')) => {
                    self.hosts.push(name.trim_matches(['[', ']']).to_owned());
                    self.ports.resize(self.hosts.len() - 1, String::new());
                    self.ports.push(port.to_owned());
                }
                _ => self.hosts.push(host.to_owned()),
            }
        }
    }

    fn into_address(mut self) -> Result<Address, String> {
        if self.hosts.is_empty() && self.addresses.is_empty() {
            self.hosts.push("localhost".to_owned());
        }
        let count = self.hosts.len().max(self.addresses.len());
        if !self.hosts.is_empty() && !self.addresses.is_empty() && self.hosts.len() != self.addresses.len() {
            return Err("as many hosts as hostaddrs expected".to_owned());
        }
        // One port is for all hosts; several are for one each.
        let ports = match self.ports.as_slice() {
            [] => vec![String::new(); count],
            [one] => vec![one.clone(); count],
            several => several.to_vec(),
        };
        if ports.len() < count {
            return Err("a port for each host expected, or one for all".to_owned());
        }
        let servers = (0..count)
            .map(|index| server(self.hosts.get(index), self.addresses.get(index), &ports[index]))
            .collect::<Result<_, _>>()?;
        let tls = tls(self.sslmode.as_deref(), self.roots, self.certificate, self.key)?;
        Ok(Address {
            servers,
            config: self.config,
            tls,
            connect_timeout: self.connect_timeout,
            wanted: self.wanted.unwrap_or(Wanted::Any),
            in_any_order: self.in_any_order,
            keep_alive: self.keep_alive,
        })
    }
}

fn server(host: Option<&String>, address: Option<&String>, port: &str) -> Result<Server, String> {
    let port = text::port(port, PORT)?;
    let host = host.filter(|host| !host.is_empty());
    let address = address.filter(|address| !address.is_empty());
    let address: Option<IpAddr> = match address {
        Some(address) => Some(address.parse().map_err(|_| "hostaddr is no IP address".to_owned())?),
        None => None,
    };
    match host {
        Some(host) if host.starts_with('/') => Ok(Server::Unix { directory: host.into(), port }),
        host => {
            let name = host.cloned().or_else(|| address.map(|address| address.to_string()));
            Ok(Server::Tcp { name: name.unwrap_or_else(|| "localhost".to_owned()), address, port })
        }
    }
}

/// Without TLS unless it is asked for.
fn tls(
    mode: Option<&str>,
    roots: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<Settings>, String> {
    let check = match mode {
        None | Some("disable" | "allow" | "prefer") => return Ok(None),
        Some("require" | "verify-full") => Check::Full,
        Some("verify-ca") => Check::Authority,
        Some(mode) => {
            return Err(format!("sslmode={mode}: one of disable, require, verify-ca and verify-full expected"));
        }
    };
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err("sslcert needs sslkey: the file with the key of the certificate".to_owned()),
        (None, Some(_)) => return Err("sslkey needs sslcert: the file with the certificate of the key".to_owned()),
    };
    Ok(Some(Settings { check, roots, identity }))
}

fn wanted(value: &str) -> Result<Wanted, String> {
    Ok(match value {
        "any" => Wanted::Any,
        "read-write" => Wanted::ReadWrite,
        "read-only" => Wanted::ReadOnly,
        "primary" => Wanted::Primary,
        "standby" => Wanted::Standby,
        "prefer-standby" => Wanted::PreferStandby,
        _ => {
            return Err(
                "target_session_attrs: one of any, read-write, read-only, primary, standby and prefer-standby expected"
                    .to_owned(),
            );
        }
    })
}

fn whole(name: &str, value: &str) -> Result<u64, String> {
    value.trim().parse().map_err(|_| format!("{name} is not a whole number"))
}

/// Zero is the default.
fn seconds(name: &str, value: &str) -> Result<Option<Duration>, String> {
    whole(name, value).map(|seconds| Some(Duration::from_secs(seconds)).filter(|time| !time.is_zero()))
}

/// As libpq has it: zero is none, and one second is two.
fn connect_timeout(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.max(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_address_shows_servers_and_database_and_never_user_or_password() {
        for (text, shown) in [
            ("postgres://u:secret@db:5432/billing", "db:5432/billing"),
            ("postgres://u:secret%40@db/billing?password=secret", "db:5432/billing"),
            ("postgres://u:sec@ret#?/secret@db/billing", "db:5432/billing"),
            ("postgresql://127.0.0.1:5433/billing", "127.0.0.1:5433/billing"),
            ("postgresql://u@one:1,two:2/x", "one:1,two:2/x"),
            ("postgresql://u@one,two/x?port=7", "one:7,two:7/x"),
            ("postgresql:///x", "localhost:5432/x"),
            ("postgresql://[::1]:7/x", "[::1]:7/x"),
            ("postgresql:///x?host=a:1&host=b&port=9", "a:9,b:9/x"),
            ("postgresql:///x?host=a:1&host=b:2", "a:1,b:2/x"),
            ("postgresql:///x?host=/run/postgresql&user=u&password=secret", "/run/postgresql:5432/x"),
            ("postgresql://u:secret@/x?host=/run/postgresql", "/run/postgresql:5432/x"),
            ("postgresql://%2Frun%2Fpostgresql/x", "/run/postgresql:5432/x"),
            ("host=one,two port=1,2 dbname=x user=u password='se cret'", "one:1,two:2/x"),
            ("hostaddr=10.0.0.1 dbname=x password=secret", "10.0.0.1:5432/x"),
        ] {
            let address = read(text);
            assert_eq!(address.to_string(), shown, "{text}");
            assert!(
                !format!("{address:?}").contains("secret") && !format!("{address:?}").contains("ret#"),
                "{address:?}"
            );
        }
    }

    #[test]
    fn what_is_read_is_what_libpq_would_read() {
        let address = read("postgres://a%20b:p%40ss%2F@db/x?options=-csearch_path%3Dq&application_name=z");
        assert_eq!((address.user(), address.config.get_password()), (Some("a b"), Some(&b"p@ss/"[..])));
        assert_eq!(address.config.get_options(), Some("-csearch_path=q"));
        let address = address.application_name("celeriac");
        assert_eq!(address.config.get_application_name(), Some("z"));
        for (seconds, limit) in [("0", None), ("1", Some(2)), ("9", Some(9))] {
            let address = read(&format!("postgres://db/x?connect_timeout={seconds}"));
            assert_eq!(address.connect_timeout, limit.map(Duration::from_secs), "{seconds}");
        }
        assert_eq!(read("postgres://db/x?target_session_attrs=primary").wanted, Wanted::Primary);
        assert_eq!(read("postgres://db/x?keepalives=0").keep_alive.idle, None);
        assert_eq!(read("postgres://db/x?tcp_user_timeout=2500").keep_alive.user_timeout, Duration::from_millis(2500));
        assert_eq!(read("postgres://db/x").keep_alive, KeepAlive::default());
    }

    #[test]
    fn tls_is_on_where_it_is_asked_for() {
        let tls = |query: &str| read(&format!("postgresql://db/x{query}")).tls;
        for off in ["", "?sslmode=disable", "?sslmode=prefer", "?sslrootcert=/ca.pem"] {
            assert_eq!(tls(off), None, "{off}");
        }
        for (on, check) in [
            ("?sslmode=require", Check::Full),
            ("?sslmode=verify-ca", Check::Authority),
            ("?sslmode=verify-full", Check::Full),
            ("?sslmode=require&sslrootcert=system", Check::Full),
        ] {
            assert_eq!(tls(on), Some(Settings { check, roots: None, identity: None }), "{on}");
        }
        let all = tls("?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/me.pem&sslkey=/me.key").unwrap();
        assert_eq!(all.roots, Some("/ca.pem".into()));
        assert_eq!(all.identity, Some(("/me.pem".into(), "/me.key".into())));
    }

    #[test]
    fn a_bad_address_says_what_is_wrong_and_never_the_password() {
        for (text, part) in [
            ("postgresql://u:secret@db/x?sslmode=maybe", "sslmode=maybe"),
            ("postgresql://u:secret@db/x?sslmode=require&sslcert=/me.pem", "sslkey"),
            ("postgresql://u:secret@db/x?sslmod=require", "sslmod"),
            ("postgresql://u:secret@/x?host=h:port", "the port"),
            ("postgresql://u:secret%ff@db/x", "not UTF-8"),
            ("postgresql://u:secret@db:port/x", "not a name with a port"),
            ("postgresql://u:secret@db/x?connect_timeout=secret", "connect_timeout"),
            ("postgresql://u:secret@db/x?target_session_attrs=secret", "target_session_attrs"),
            ("postgresql://one,two,three/x?port=1,2", "a port for each host"),
            ("mysql://u:secret@db/x", "postgresql://"),
            ("postgres://", "no server and no database"),
            ("postgresql:///", "no server and no database"),
            ("not an address", "="),
            ("host=db password='secret", "quote"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
