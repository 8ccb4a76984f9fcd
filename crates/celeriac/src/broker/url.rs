//! Broker addresses as kombu reads them (`kombu/utils/url.py`, `kombu/connection.py`).

use std::fmt::Write as _;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
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
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{}://{}@{host}:{}/{}", self.scheme(), self.user, self.port, self.virtual_host)
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
/// [`BrokerError::Refused`] with the address (without its password) and what is wrong with it.
pub(super) fn parse(url: &str) -> Result<Target, BrokerError> {
    let refused = |reason: String| BrokerError::Refused { address: without_password(url), reason };
    let url = url.trim();
    if let Some(name) = url.strip_prefix("memory://") {
        return Ok(Target::Memory(name.trim_end_matches('/').to_owned()));
    }
    let mut endpoints = Vec::new();
    for alternative in url.split(';').map(str::trim).filter(|alternative| !alternative.is_empty()) {
        endpoints.push(endpoint(alternative).map_err(refused)?);
    }
    if endpoints.is_empty() {
        return Err(refused("the address is empty; use amqp://, amqps:// or memory://".to_owned()));
    }
    Ok(Target::Amqp(endpoints))
}

fn endpoint(url: &str) -> Result<Endpoint, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("no scheme; use amqp://, amqps:// or memory://".to_owned());
    };
    let tls = match scheme {
        "amqp" | "pyamqp" => false,
        "amqps" => true,
        _ => return Err(format!("no broker for {scheme}://; use amqp://, amqps:// or memory://")),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let (host, port) = split_port(server)?;

    let mut endpoint = Endpoint {
        tls,
        host: decoded(host, "localhost")?,
        port: 0,
        user: decoded(user, "guest")?,
        password: decoded(password, "guest")?.into(),
        virtual_host: decoded(path, "/")?,
        heartbeat: None,
        connect_timeout: None,
    };
    read_query(query, &mut endpoint)?;
    endpoint.port = match port {
        "" if endpoint.tls => 5671,
        "" => 5672,
        // Not shown: an unencoded ; or / in a password makes a part of the password look like a port.
        port => port.parse().map_err(|_| "the port is not a number up to 65535".to_owned())?,
    };
    Ok(endpoint)
}

/// `host`, `host:port`, `[::1]`, `[::1]:port`
fn split_port(server: &str) -> Result<(&str, &str), String> {
    if let Some(rest) = server.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the [ of the host is not closed")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err(format!("unexpected {rest:?} after the host")),
        };
    }
    Ok(server.rsplit_once(':').unwrap_or((server, "")))
}

/// Percent-decodes; an empty text is the default, as in kombu.
fn decoded(text: &str, default: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "a part of the address is not UTF-8".to_owned())?;
    Ok(if text.is_empty() { default.to_owned() } else { text.into_owned() })
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

/// An address that could not be read, as it may be shown: everything that may be a password is cut out.
fn without_password(url: &str) -> String {
    let shown: Vec<String> = url
        .split(';')
        .map(|part| match part.rsplit_once('@') {
            Some((credentials, rest)) => match credentials.split_once("://") {
                Some((scheme, credentials)) => {
                    let user = credentials.split_once(':').map_or(credentials, |(user, _)| user);
                    format!("{scheme}://{user}@{rest}")
                }
                None => rest.to_owned(),
            },
            None => {
                let port = part.rfind(':').filter(|at| !part[*at..].starts_with("://"));
                let is_port = |at: usize| part[at + 1..].bytes().take_while(|b| *b != b'/').all(|b| b.is_ascii_digit());
                port.filter(|at| !is_port(*at)).map_or(part, |at| &part[..at]).to_owned()
            }
        })
        .collect();
    shown.join(";")
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
            ("amqp://u:secret@h:port", "the port is not a number"),
            ("amqp://u:secret@h:70000", "amqp://u@h:70000: the port"),
            ("amqp://u:secret;word@h", "amqp://u;h: the port"),
            ("amqp://u:se@cret@h:x;amqp://v:secret@i", "amqp://v@i"),
            ("amqp://u:secret@h?heartbeat=soon", "heartbeat=soon"),
            ("amqp://u:secret@[::1", "not closed"),
        ] {
            let error = error(url);
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret") && !error.contains("cret@") && !error.contains("word"), "{error}");
        }
        assert!(!format!("{:?}", one("amqp://u:secret@h")).contains("secret"));
    }

    #[test]
    fn memory_brokers_have_names() {
        assert!(matches!(parse("memory://").unwrap(), Target::Memory(name) if name.is_empty()));
        assert!(matches!(parse("memory://shop/").unwrap(), Target::Memory(name) if name == "shop"));
    }
}
