//! The address: `redis://`, `rediss://` with TLS, and `sentinel://`, as Celery writes them.

use std::fmt::Write as _;
use std::time::Duration;

use dial::address::{self as text, Parts, decoded, written};
use dial::tls::{Check, Settings};
use redis::RedisConnectionInfo;
use secrecy::{ExposeSecret, SecretString};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

const OPTIONS: [&str; 19] = [
    "db",
    "virtual_host",
    "username",
    "password",
    "master_name",
    "sentinel_username",
    "sentinel_password",
    "ssl_cert_reqs",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_check_hostname",
    "connect_timeout",
    "socket_connect_timeout",
    "socket_timeout",
    "socket_keepalive",
    "health_check_interval",
    "retry_on_timeout",
    "max_connections",
];

/// Where Redis is, and how to get there.
#[derive(Debug)]
pub(crate) struct Address {
    /// Servers, or sentinels that know the server.
    pub(super) servers: Vec<(String, u16)>,
    pub(super) sentinel: Option<Sentinel>,
    /// How to log in, and the database.
    pub(super) info: RedisConnectionInfo,
    pub(super) tls: Option<Settings>,
    /// How long one server may take.
    pub(super) connect_timeout: Option<Duration>,
    /// To be shown: without the password.
    pub(super) shown: String,
}

/// What sentinels are asked.
#[derive(Debug)]
pub(super) struct Sentinel {
    /// The name under which they watch the server.
    pub(super) master_name: String,
    /// How to log in to the sentinels themselves.
    pub(super) info: RedisConnectionInfo,
}

/// Whether an address names this backend.
pub(crate) fn is_redis(address: &str) -> bool {
    matches!(address.split_once("://"), Some(("redis" | "rediss" | "sentinel" | "sentinels", _)))
}

/// Reads an address that [`is_redis`]. Several servers have `;` between them, each with a scheme of its own or without
/// one; user, password, database and options are those of the first that has them.
///
/// # Errors
/// What is wrong with it, without the password.
pub(crate) fn parse(address: &str, master_name: Option<&str>) -> Result<Address, String> {
    // What stands behind a #, as some clients have it; in front of the servers it is part of the password.
    let servers = address.rfind('@').unwrap_or(0);
    let address = address[servers..].find('#').map_or(address, |at| &address[..servers + at]);
    let mut given = Given::default();
    let mut scheme = "redis";
    for (index, one) in alternatives(address).into_iter().enumerate() {
        let one = if one.contains("://") { one.to_owned() } else { format!("{scheme}://{one}") };
        let parts = text::split(&one, &OPTIONS)?;
        if index == 0 {
            scheme = address.split_once("://").map_or("redis", |(scheme, _)| scheme);
        } else if parts.scheme != scheme {
            return Err("the servers of one address need one scheme".to_owned());
        }
        given.add(&parts)?;
    }
    given.into_address(scheme, master_name)
}

/// Cut at each `;` behind which another server stands. An address of sentinels is cut at every one.
fn alternatives(address: &str) -> Vec<&str> {
    let every = address.starts_with("sentinel");
    let mut found = Vec::new();
    let mut begin = 0;
    for (at, _) in address.match_indices(';') {
        if every || is_redis(&address[at + 1..]) {
            found.push(&address[begin..at]);
            begin = at + 1;
        }
    }
    found.push(&address[begin..]);
    found.retain(|one| !one.trim().is_empty());
    found
}

#[derive(Default)]
struct Given {
    servers: Vec<(String, String)>,
    user: Option<String>,
    password: Option<SecretString>,
    database: Option<String>,
    master_name: Option<String>,
    sentinel_user: Option<String>,
    sentinel_password: Option<SecretString>,
    check: Option<Check>,
    any_name: bool,
    files: [Option<String>; 3],
    connect_timeout: Option<Duration>,
}

impl Given {
    fn add(&mut self, parts: &Parts<'_>) -> Result<(), String> {
        for server in parts.servers.split(',') {
            let (host, port) = text::host_and_port(server)?;
            self.servers.push((decoded(host)?, port.to_owned()));
        }
        if !parts.user.is_empty() {
            self.user.get_or_insert(decoded(parts.user)?);
        }
        if let Some(password) = parts.password {
            self.password.get_or_insert(decoded(password)?.into());
        }
        if !parts.path.is_empty() {
            self.database.get_or_insert(decoded(parts.path.trim_end_matches('/'))?);
        }
        for (name, value) in text::options(parts.query)? {
            self.set(&name, value)?;
        }
        Ok(())
    }

    /// Values are not shown where they may be a password.
    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "db" | "virtual_host" => self.database = Some(value),
            "username" => self.user = Some(value),
            "password" => self.password = Some(value.into()),
            "master_name" => self.master_name = Some(value),
            "sentinel_username" => self.sentinel_user = Some(value),
            "sentinel_password" => self.sentinel_password = Some(value.into()),
            "ssl_cert_reqs" => {
                self.check = Some(match value.to_ascii_lowercase().trim_start_matches("cert_") {
                    // A client that checks a certificate only if there is one checks it: a server always has one.
                    "required" | "optional" => Check::Full,
                    "none" => Check::Nothing,
                    _ => {
                        return Err(
                            "ssl_cert_reqs: one of required (CERT_REQUIRED) and none (CERT_NONE) expected".to_owned()
                        );
                    }
                });
            }
            "ssl_check_hostname" => self.any_name = matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "no"),
            "ssl_ca_certs" => self.files[0] = Some(value),
            "ssl_certfile" => self.files[1] = Some(value),
            "ssl_keyfile" => self.files[2] = Some(value),
            "connect_timeout" | "socket_connect_timeout" => {
                let seconds = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                self.connect_timeout = Some(seconds.ok_or_else(|| format!("{name} is not a number of seconds"))?);
            }
            // What is meant to protect must not be left out by a slip of the pen.
            _ if name.starts_with("ssl") => return Err(format!("{name} is not offered here")),
            _ if OPTIONS.contains(&name) => {}
            _ => tracing::warn!(option = name, "unknown option in the address of Redis is ignored"),
        }
        Ok(())
    }

    fn into_address(self, scheme: &str, master_name: Option<&str>) -> Result<Address, String> {
        let is_sentinel = scheme.starts_with("sentinel");
        let usual = if is_sentinel { SENTINEL_PORT } else { PORT };
        let mut servers = Vec::with_capacity(self.servers.len());
        for (host, port) in self.servers {
            let host = if host.is_empty() { "localhost".to_owned() } else { host };
            servers.push((host, text::port(&port, usual)?));
        }
        let database: i64 = match self.database.as_deref().unwrap_or_default() {
            "" => 0,
            number => number.parse().map_err(|_| "the database is not a number".to_owned())?,
        };
        let mut shown = format!("{scheme}://");
        if let Some(user) = &self.user {
            let _ = write!(shown, "{user}@");
        }
        for (index, (host, port)) in servers.iter().enumerate() {
            let _ = write!(shown, "{}{}:{port}", if index > 0 { ";" } else { "" }, written(host));
        }
        let _ = write!(shown, "/{database}");
        let sentinel = match (is_sentinel, self.master_name.as_deref().or(master_name)) {
            (false, _) => None,
            (true, Some(name)) => Some(Sentinel {
                master_name: name.to_owned(),
                info: login(self.sentinel_user.as_deref(), self.sentinel_password.as_ref()),
            }),
            (true, None) => {
                return Err("sentinel:// needs the name under which the sentinels watch the server: \
                            ?master_name=… (Celery: master_name of result_backend_transport_options)"
                    .to_owned());
            }
        };
        let tls = match (scheme, self.check) {
            ("rediss" | "sentinels", check) => {
                let check = match check.unwrap_or(Check::Full) {
                    Check::Full if self.any_name => Check::Authority,
                    check => check,
                };
                let [roots, certificate, key] = self.files.map(|file| file.map(Into::into));
                let identity = match (certificate, key) {
                    (None, None) => None,
                    (Some(certificate), Some(key)) => Some((certificate, key)),
                    _ => return Err("ssl_certfile and ssl_keyfile are needed together".to_owned()),
                };
                Some(Settings { check, roots, identity })
            }
            (_, None) if self.files.iter().all(Option::is_none) => None,
            _ => return Err("TLS is asked for by rediss://, not by its options alone".to_owned()),
        };
        let info = login(self.user.as_deref(), self.password.as_ref()).set_db(database);
        Ok(Address { servers, sentinel, info, tls, connect_timeout: self.connect_timeout, shown })
    }
}

fn login(user: Option<&str>, password: Option<&SecretString>) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default();
    if let Some(user) = user {
        info = info.set_username(user);
    }
    if let Some(password) = password.map(ExposeSecret::expose_secret).filter(|password| !password.is_empty()) {
        info = info.set_password(password);
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Address {
        parse(address, None).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    #[test]
    fn an_address_is_shown_without_its_password_whatever_is_in_it() {
        for (address, shown) in [
            ("redis://", "redis://localhost:6379/0"),
            ("redis://:secret@cache:6379/1", "redis://cache:6379/1"),
            ("redis://app:secret@cache/1?password=secret#secret", "redis://app@cache:6379/1"),
            ("redis://app:sec#ret@cache/1", "redis://app@cache:6379/1"),
            ("redis://app:sec?ret@cache/1", "redis://app@cache:6379/1"),
            ("redis://app:1/secret@cache/1", "redis://app@cache:6379/1"),
            ("redis://app:sec;ret@cache/1", "redis://app@cache:6379/1"),
            ("rediss://[::1]:7/2", "rediss://[::1]:7/2"),
            ("redis://cache?db=3", "redis://cache:6379/3"),
            ("redis://:secret@one;redis://two:7/4", "redis://one:6379;two:7/4"),
            ("sentinel://one;two:7/4?master_name=m", "sentinel://one:26379;two:7/4"),
            ("sentinel://:secret@one:1;sentinel://two:2/4?master_name=m", "sentinel://one:1;two:2/4"),
        ] {
            let read = read(address);
            assert_eq!(read.shown, shown, "{address}");
            assert!(!format!("{read:?}").contains("secret"), "{read:?}");
        }
        assert_eq!(read("redis://:p%40ss@h").info.password(), Some("p@ss"));
        assert_eq!(read("redis://u:p@h").info.username(), Some("u"));
    }

    #[test]
    fn tls_is_as_the_options_of_celery_say_it() {
        let tls = |address: &str| read(address).tls;
        assert_eq!(tls("redis://h"), None);
        for (query, check) in [
            ("", Check::Full),
            ("?ssl_cert_reqs=CERT_REQUIRED", Check::Full),
            ("?ssl_cert_reqs=required", Check::Full),
            ("?ssl_cert_reqs=optional", Check::Full),
            ("?ssl_cert_reqs=CERT_NONE", Check::Nothing),
            ("?ssl_cert_reqs=none", Check::Nothing),
            ("?ssl_check_hostname=false", Check::Authority),
        ] {
            assert_eq!(tls(&format!("rediss://h{query}")).map(|tls| tls.check), Some(check), "{query}");
        }
        let all = tls("rediss://h/0?ssl_ca_certs=%2Fca.pem&ssl_certfile=/me.pem&ssl_keyfile=/me.key").unwrap();
        assert_eq!(all.roots, Some("/ca.pem".into()));
        assert_eq!(all.identity, Some(("/me.pem".into(), "/me.key".into())));
    }

    #[test]
    fn a_bad_address_says_what_is_wrong_and_never_the_password() {
        for (address, part) in [
            ("redis://:secret@h:port", "not a name with a port"),
            ("redis://:secret@h/zero", "database"),
            ("redis://:secret@h?ssl_ca_certs=/ca.pem", "rediss://"),
            ("rediss://:secret@h?ssl_cert_reqs=maybe", "CERT_REQUIRED"),
            ("rediss://:secret@h?ssl_certfile=/me.pem", "ssl_keyfile"),
            ("rediss://:secret@h?ssl_crl=/x", "ssl_crl"),
            ("sentinel://:secret@a;b", "master_name"),
            ("redis://:secret@a;rediss://b", "one scheme"),
            ("redis://:secret@a?connect_timeout=soon", "connect_timeout"),
        ] {
            let error = parse(address, None).unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{address}: {error}");
        }
        assert!(parse("sentinel://a;b", Some("mymaster")).is_ok(), "Celery's option names it");
    }
}
