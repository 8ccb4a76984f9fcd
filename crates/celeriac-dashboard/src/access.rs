//! Who may look, and who may act.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::http::{HeaderMap, Uri, header};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use uuid::Uuid;

use crate::proxy::ProxyHeader;

/// A shorter token could be guessed.
const SHORTEST_TOKEN: usize = 12;
/// A session that nobody uses ends after this,
const IDLE: Duration = Duration::from_secs(30 * 60);
/// and any other after this.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Sessions at a time; one more ends the one that was used least lately.
const MAX_SESSIONS: usize = 1_000;
/// The longest name that somebody signs in with, in characters.
const LONGEST_NAME: usize = 60;

/// Why a dashboard is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Everybody who reaches the port could look.
    #[error("{0} is no loopback address: a read token is needed there")]
    Unprotected(SocketAddr),
    /// It could be guessed.
    #[error("the {0} token has fewer than 12 characters")]
    Short(&'static str),
    /// Whoever may look could act.
    #[error("the read token and the act token are the same")]
    Same,
    /// What a reverse proxy says could not be trusted.
    #[error("{0}")]
    Proxy(String),
}

/// What a page or an action asks of who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Nothing: signing in, and what it looks like.
    Open,
    /// To look.
    Read,
    /// To act.
    Act,
}

/// Who comes.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) may: Access,
    /// Stands in each form of theirs.
    pub(crate) csrf: String,
    /// How they are called in the log.
    pub(crate) who: String,
    pub(crate) is_signed_in: bool,
}

/// What a request says of who sends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) uri: &'a Uri,
    /// The other end of the connection, where the server tells.
    pub(crate) peer: Option<IpAddr>,
}

type Key = [u8; 32];

#[derive(Debug)]
struct Session {
    visitor: Visitor,
    began: Instant,
    used: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now > self.used + IDLE || now > self.began + LONGEST
    }
}

/// Lets in who may.
pub(crate) struct Gate {
    read: Option<Key>,
    act: Option<Key>,
    proxy: Option<ProxyHeader>,
    /// Makes the tokens of the forms of who comes through the proxy.
    secret: String,
    /// Cookies are sent by https only.
    pub(crate) https: bool,
    /// Who comes without a session; nobody where a token is needed to look.
    anybody: Option<Visitor>,
    /// By the digest of what is in the cookie.
    sessions: Mutex<HashMap<Key, Session>>,
}

impl Gate {
    pub(crate) fn new(
        read: Option<SecretString>,
        act: Option<SecretString>,
        proxy: Option<ProxyHeader>,
        address: SocketAddr,
        https: bool,
    ) -> Result<Self, AccessError> {
        for (name, token) in [("read", &read), ("act", &act)] {
            if token.as_ref().is_some_and(|token| token.expose_secret().chars().count() < SHORTEST_TOKEN) {
                return Err(AccessError::Short(name));
            }
        }
        let digested = |token: Option<SecretString>| token.map(|token| digest(token.expose_secret()));
        let (read, act) = (digested(read), digested(act));
        if read.is_some() && read == act {
            return Err(AccessError::Same);
        }
        if read.is_none() && proxy.is_none() && !address.ip().is_loopback() {
            return Err(AccessError::Unprotected(address));
        }
        let anybody = (read.is_none() && proxy.is_none()).then(|| Visitor {
            may: Access::Read,
            csrf: secret(),
            who: "anybody".to_owned(),
            is_signed_in: false,
        });
        Ok(Self { read, act, proxy, secret: secret(), https, anybody, sessions: Mutex::default() })
    }

    /// Whether anybody may act who has the token for it.
    pub(crate) fn can_act(&self) -> bool {
        self.act.is_some() || self.proxy.as_ref().is_some_and(ProxyHeader::lets_act)
    }

    /// Begins a session; returns what goes into the cookie. `None`: no such token.
    pub(crate) fn sign_in(&self, token: &str, name: &str, now: Instant) -> Option<String> {
        let given = digest(token);
        // Both are compared, whichever it is.
        let is = |known: &Option<Key>| known.as_ref().is_some_and(|known| bool::from(known.ct_eq(&given)));
        let (reads, acts) = (is(&self.read), is(&self.act));
        let may = if acts {
            Access::Act
        } else if reads {
            Access::Read
        } else {
            return None;
        };
        let name: String = name.trim().chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        let who = if name.is_empty() { "somebody with the token".to_owned() } else { name };
        let visitor = Visitor { may, csrf: secret(), who, is_signed_in: true };
        let cookie = secret();
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, session| !session.is_over(now));
        if sessions.len() >= MAX_SESSIONS
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(digest(&cookie), Session { visitor, began: now, used: now });
        Some(cookie)
    }

    pub(crate) fn sign_out(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie(headers, self.cookie_name()) {
            self.sessions.lock().remove(&digest(cookie));
        }
    }

    /// Who comes. `None`: they have to sign in first. `used`: it keeps a session alive.
    pub(crate) fn visitor(&self, from: &From<'_>, now: Instant, used: bool) -> Option<Visitor> {
        let From { headers, uri, peer } = *from;
        if let Some((who, acts)) = self.proxy.as_ref().and_then(|proxy| proxy.who(headers, peer)) {
            let may = if acts { Access::Act } else { Access::Read };
            let csrf = digest(&format!("{} {who}", self.secret)).iter().map(|byte| format!("{byte:02x}")).collect();
            return Some(Visitor { may, csrf, who, is_signed_in: true });
        }
        if let Some(cookie) = cookie(headers, self.cookie_name())
            && let Some(session) = self.sessions.lock().get_mut(&digest(cookie))
            && !session.is_over(now)
        {
            if used {
                session.used = now;
            }
            return Some(session.visitor.clone());
        }
        // The pages of a stranger may give our address a name of theirs and read what is answered there: without a token
        // only the names of this machine are ours.
        self.anybody.clone().filter(|_| host(headers, uri).is_some_and(is_this_machine))
    }

    /// The prefix promises browsers that nobody else has set it.
    pub(crate) fn cookie_name(&self) -> &'static str {
        if self.https { "__Host-celeriac" } else { "celeriac" }
    }
}

/// The name that the browser has called us by, with the port.
pub(crate) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    authority.or_else(|| headers.get(header::HOST)?.to_str().ok())
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Nobody guesses it: 244 random bits.
fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn digest(text: &str) -> Key {
    Sha256::digest(text.as_bytes()).into()
}

/// Whether both are the same, in a time that does not tell where they differ.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    digest(a).ct_eq(&digest(b)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "127.0.0.1:5555";
    const READ: &str = "read-read-read";
    const ACT: &str = "act-act-act-act";

    fn gate(read: Option<&str>, act: Option<&str>, address: &str) -> Result<Gate, AccessError> {
        Gate::new(read.map(Into::into), act.map(Into::into), None, address.parse().unwrap(), false)
    }

    fn request(host: &str, cookie: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(cookie) = cookie {
            headers.insert(header::COOKIE, format!("a=b; celeriac={cookie}").parse().unwrap());
        }
        headers
    }

    fn visits(gate: &Gate, headers: &HeaderMap, now: Instant) -> Option<Access> {
        let from = From { headers, uri: &Uri::from_static("/"), peer: None };
        gate.visitor(&from, now, true).map(|visitor| visitor.may)
    }

    #[test]
    fn without_a_read_token_it_is_for_this_machine_only() {
        for (address, served) in [(HOME, true), ("[::1]:1", true), ("0.0.0.0:1", false), ("10.0.0.1:1", false)] {
            assert_eq!(gate(None, Some(ACT), address).is_ok(), served, "{address}");
            assert!(gate(Some(READ), Some(ACT), address).is_ok());
        }
        assert_eq!(gate(Some("short"), None, HOME).err(), Some(AccessError::Short("read")));
        assert_eq!(gate(Some(ACT), Some(ACT), HOME).err(), Some(AccessError::Same));
    }

    #[test]
    fn who_comes_through_a_trusted_proxy_is_who_it_says_and_nobody_else_comes_without_a_token() {
        let proxy = ProxyHeader::new("x-user", ["10.0.0.1"], ["ada".to_owned()]).unwrap();
        let gate = Gate::new(None, None, Some(proxy), "0.0.0.0:5555".parse().unwrap(), false).unwrap();
        let mut headers = request("queues.example", None);
        headers.insert("x-user", "ada".parse().unwrap());
        let uri = Uri::from_static("/");
        let come = |headers: &HeaderMap, peer: &str| {
            gate.visitor(&From { headers, uri: &uri, peer: peer.parse().ok() }, Instant::now(), true)
        };
        let ada = come(&headers, "10.0.0.1").unwrap();
        assert_eq!((ada.may, ada.who.as_str()), (Access::Act, "ada"));
        assert_eq!(come(&headers, "10.0.0.1").unwrap().csrf, ada.csrf, "a form is good for the next request");
        assert!(come(&headers, "10.0.0.2").is_none());
        headers.insert("x-user", "bob".parse().unwrap());
        let bob = come(&headers, "10.0.0.1").unwrap();
        assert_eq!(bob.may, Access::Read);
        assert_ne!(bob.csrf, ada.csrf);
        // Without a token nobody is anybody, on this machine neither.
        assert!(come(&request(HOME, None), "127.0.0.1").is_none());
    }

    #[test]
    fn another_name_for_this_machine_opens_nothing() {
        let gate = gate(None, None, HOME).ok().unwrap();
        let now = Instant::now();
        for (host, may) in [
            ("127.0.0.1:5555", Some(Access::Read)),
            ("localhost", Some(Access::Read)),
            ("[::1]:5555", Some(Access::Read)),
            ("rebound.example:5555", None),
            ("127.0.0.1.example", None),
        ] {
            assert_eq!(visits(&gate, &request(host, None), now), may, "{host}");
        }
    }

    #[test]
    fn a_token_is_exchanged_for_a_session_that_ends() {
        let gate = gate(Some(READ), Some(ACT), HOME).ok().unwrap();
        let now = Instant::now();
        assert_eq!(visits(&gate, &request(HOME, None), now), None);
        assert_eq!(gate.sign_in("nothing of it", "", now), None);
        assert_eq!(visits(&gate, &request(HOME, Some("forged")), now), None);
        for (token, may) in [(READ, Access::Read), (ACT, Access::Act)] {
            let cookie = gate.sign_in(token, "Ada", now).unwrap();
            let headers = request(HOME, Some(&cookie));
            assert_eq!(visits(&gate, &headers, now), Some(may));
            let used = now + IDLE - Duration::from_secs(1);
            assert_eq!(visits(&gate, &headers, used), Some(may), "in time");
            assert_eq!(visits(&gate, &headers, used + IDLE + Duration::from_secs(1)), None, "idle for too long");
            gate.sign_out(&headers);
            assert_eq!(visits(&gate, &headers, now), None);
        }
    }
}
