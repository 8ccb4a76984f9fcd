//! Broker addresses as kombu reads them (`kombu/utils/url.py`, `kombu/connection.py`).

use std::fmt::Write as _;
use std::time::Duration;

use dial::address::{self as text, host_and_port, written};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use super::BrokerError;

/// What an address names.
#[derive(Debug)]
pub(super) enum Target {
    /// `amqp://…;amqps://…`: servers to try in turn.
    Amqp(Vec<Endpoint>),
    /// `memory://name`
    Memory(String),
}

/// One AMQP server and how to log in there.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    password: SecretString,
    pub(super) virtual_host: String,
    /// Asked for in the address: `?heartbeat=30`, in seconds; 0 takes the server's value.
    pub(super) heartbeat: Option<Duration>,
    /// Asked for in the address: `?connect_timeout=4` in seconds (kombu), or `?connection_timeout=4000` in
    /// milliseconds (RabbitMQ's URI specification).
    pub(super) connect_timeout: Option<Duration>,
}

impl Endpoint {
    /// The address with its password, as lapin parses it; `heartbeat` in seconds.
    pub(super) fn uri(&self, heartbeat: u16, frame_max: u32) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        format!(
            "{}://{}:{}@{}:{}/{}?heartbeat={heartbeat}&frame_max={frame_max}",
            self.scheme(),
            encode(&self.user),
            encode(self.password.expose_secret()),
            encode(&self.host),
            self.port,
            encode(&self.virtual_host),
        )
    }

    /// The address without its password, in Celery's way of writing it: `amqp://guest@localhost:5672//`.
    pub(super) fn address(&self) -> String {
        format!("{}://{}@{}:{}/{}", self.scheme(), self.user, written(&self.host), self.port, self.virtual_host)
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "amqps" } else { "amqp" }
    }
}

/// Several endpoints as one address for messages.
pub(super) fn address_of(endpoints: &[Endpoint]) -> String {
    endpoints.iter().fold(String::new(), |mut all, endpoint| {
        let separator = if all.is_empty() { "" } else { ";" };
        let _ = write!(all, "{separator}{}", endpoint.address());
        all
    })
}

/// Reads an address.
///
/// # Errors
/// [`BrokerError::Refused`] with what is wrong with it, and of the address itself no more than its scheme.
pub(super) fn parse(url: &str) -> Result<Target, BrokerError> {
    let refused = |reason: String| BrokerError::Refused { address: text::unusable(url.trim()), reason };
    let url = url.trim();
    if let Some(name) = url.strip_prefix("memory://") {
        return Ok(Target::Memory(name.trim_end_matches('/').to_owned()));
    }
    let mut endpoints = Vec::new();
    for alternative in alternatives(url) {
        endpoints.push(endpoint(alternative).map_err(refused)?);
    }
    if endpoints.is_empty() {
        return Err(refused("the address is empty; use amqp://, amqps:// or memory://".to_owned()));
    }
    Ok(Target::Amqp(endpoints))
}

/// Cut at each `;` behind which another address begins: elsewhere it is part of a password.
fn alternatives(url: &str) -> Vec<&str> {
    let begins = |text: &str| {
        let scheme = text.trim_start().split_once("://").map(|(scheme, _)| scheme);
        scheme
            .is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+'))
    };
    let mut found = Vec::new();
    let mut begin = 0;
    for (at, _) in url.match_indices(';') {
        if begins(&url[at + 1..]) {
            found.push(url[begin..at].trim());
            begin = at + 1;
        }
    }
    found.push(url[begin..].trim().trim_end_matches(';'));
    found.retain(|one| !one.is_empty());
    found
}

const OPTIONS: [&str; 4] = ["heartbeat", "connect_timeout", "connection_timeout", "ssl"];

fn endpoint(url: &str) -> Result<Endpoint, String> {
    let Some((scheme, _)) = url.split_once("://") else {
        return Err("no scheme; use amqp://, amqps:// or memory://".to_owned());
    };
    let tls = match scheme {
        "amqp" | "pyamqp" => false,
        "amqps" => true,
        _ => return Err(format!("no broker for {scheme}://; use amqp://, amqps:// or memory://")),
    };
    let parts = text::split(url, &OPTIONS)?;
    let (host, port) = host_and_port(parts.servers)?;

    let mut endpoint = Endpoint {
        tls,
        host: decoded(host, "localhost")?,
        port: 0,
        user: decoded(parts.user, "guest")?,
        password: decoded(parts.password.unwrap_or_default(), "guest")?.into(),
        virtual_host: decoded(parts.path, "/")?,
        heartbeat: None,
        connect_timeout: None,
    };
    read_query(parts.query, &mut endpoint)?;
    endpoint.port = text::port(port, if endpoint.tls { 5671 } else { 5672 })?;
    Ok(endpoint)
}

/// Percent-decodes; an empty text is the default, as in kombu.
fn decoded(text: &str, default: &str) -> Result<String, String> {
    let text = text::decoded(text)?;
    Ok(if text.is_empty() { default.to_owned() } else { text })
}

fn read_query(query: &str, endpoint: &mut Endpoint) -> Result<(), String> {
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "heartbeat" => endpoint.heartbeat = Some(seconds(name, value)?),
            "connect_timeout" => endpoint.connect_timeout = Some(seconds(name, value)?),
            "connection_timeout" => endpoint.connect_timeout = Some(seconds(name, value)? / 1000),
            "ssl" => endpoint.tls |= matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes"),
            _ => tracing::warn!(option = name, "unknown option in the broker address is ignored"),
        }
    }
    Ok(())
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    value
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("{name}={value} is not a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(url: &str) -> Endpoint {
        match parse(url).unwrap() {
            Target::Amqp(mut endpoints) if endpoints.len() == 1 => endpoints.remove(0),
            target => panic!("{target:?}"),
        }
    }

    fn error(url: &str) -> String {
        parse(url).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_of_kombu() {
        for (url, address) in [
            ("amqp://", "amqp://guest@localhost:5672//"),
            ("amqp://localhost", "amqp://guest@localhost:5672//"),
            ("amqp://localhost/", "amqp://guest@localhost:5672//"),
            ("amqp://localhost//", "amqp://guest@localhost:5672//"),
            ("amqp://localhost/%2f", "amqp://guest@localhost:5672//"),
            ("pyamqp://u:p@h:1/v", "amqp://u@h:1/v"),
            ("amqp://u@h/v%20w", "amqp://u@h:5672/v w"),
            ("amqps://h", "amqps://guest@h:5671//"),
            ("amqp://h?ssl=true", "amqps://guest@h:5671//"),
            ("amqp://[::1]:99/x", "amqp://guest@[::1]:99/x"),
            ("amqp://[::1]", "amqp://guest@[::1]:5672//"),
        ] {
            assert_eq!(one(url).address(), address, "{url}");
        }
        assert_eq!(one("amqp://").password.expose_secret(), "guest");
    }

    #[test]
    fn what_lapin_reads_is_what_we_read() {
        let endpoint = one("amqp://b%40b:p%3A%2F%40ss@[::1]:7/a%2Fb");
        let uri: lapin::uri::AMQPUri = endpoint.uri(9, 4096).parse().unwrap();
        assert_eq!(uri.authority.userinfo.username, "b@b");
        assert_eq!(uri.authority.userinfo.password, "p:/@ss");
        assert_eq!((uri.authority.host.as_str(), uri.authority.port), ("::1", 7));
        assert_eq!(uri.vhost, "a/b");
        assert_eq!(uri.query.heartbeat, Some(9));
    }

    #[test]
    fn alternates_and_options_are_read() {
        let Target::Amqp(endpoints) =
            parse("amqp://a?heartbeat=2.5&connect_timeout=4;amqps://b/v?connection_timeout=1500").unwrap()
        else {
            panic!("not AMQP");
        };
        assert_eq!(address_of(&endpoints), "amqp://guest@a:5672//;amqps://guest@b:5671/v");
        assert_eq!(endpoints[0].heartbeat, Some(Duration::from_millis(2500)));
        assert_eq!(endpoints[0].connect_timeout, Some(Duration::from_secs(4)));
        assert_eq!(endpoints[1].connect_timeout, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_bad_address_says_what_to_write_and_never_the_password() {
        for (url, part) in [
            ("", "empty"),
            ("localhost:5672", "no scheme"),
            ("redis://u:secret@h", "no broker for redis://; use amqp://, amqps:// or memory://"),
            ("sentinel://:secret@a;b", "no broker for sentinel://"),
            ("amqp://u:secret@h:port", "not a name with a port"),
            ("amqp://u:secret@h:70000", "the port is not a number up to 65535"),
            ("amqp://u:se@cret@h:x;amqp://v:secret@i", "not a name with a port"),
            ("amqp://u:secret@h?heartbeat=soon", "heartbeat=soon"),
            ("amqp://u:secret@[::1", "not a name with a port"),
        ] {
            let error = error(url);
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret") && !error.contains("cret@"), "{error}");
        }
        assert!(!format!("{:?}", one("amqp://u:secret@h")).contains("secret"));
    }

    #[test]
    fn a_password_may_have_every_special_character() {
        for special in ["#", "?", "/", "@", ":", "%", "&", ";", ",", "1/2", "p@ss:w/o?r#d%"] {
            let endpoint = one(&format!("amqp://u:se{special}cret@h:7/v?heartbeat=3"));
            assert_eq!(endpoint.password.expose_secret(), format!("se{special}cret"));
            assert_eq!(endpoint.address(), "amqp://u@h:7/v", "{special}");
            let uri: lapin::uri::AMQPUri = endpoint.uri(9, 4096).parse().unwrap();
            assert_eq!(uri.authority.userinfo.password, format!("se{special}cret"));
        }
    }

    #[test]
    fn memory_brokers_have_names() {
        assert!(matches!(parse("memory://").unwrap(), Target::Memory(name) if name.is_empty()));
        assert!(matches!(parse("memory://shop/").unwrap(), Target::Memory(name) if name == "shop"));
    }
}
