//! Who is calling, and what they may call.
//!
//! A client proves itself with `authorization: Bearer <token>`. Tokens come from `API_TOKENS`; only their SHA-256 is
//! kept, and a presented token is compared with all of them in constant time. What is none of them may be the token of a
//! browser (`browser/`), which speaks for one account.

use std::fmt;
use std::sync::Arc;

use chrono::NaiveDate;
use http::HeaderMap;
use http::header::{AUTHORIZATION, ORIGIN};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::caller::Caller;
use crate::denied::Denied;
use crate::scope::Scope;

/// The shortest token taken from the configuration, in bytes.
const MIN_TOKEN_LENGTH: usize = 8;

/// What was shown, as far as it can be told without asking anybody.
#[derive(Debug)]
pub(crate) enum Shown {
    /// A client's token, with the scope.
    Client(Caller),
    /// Something else: perhaps the token of a browser.
    Other(SecretString),
}

/// The clients of this server.
#[derive(Clone)]
pub(crate) struct Clients(Arc<[Client]>);

struct Client {
    name: Arc<str>,
    token_sha256: [u8; 32],
    scopes: Vec<Scope>,
    valid_through: Option<NaiveDate>,
}

impl Clients {
    /// Reads `name:token:scope+scope[:last day]`, separated by commas. The same name may come several times: that is
    /// how a token is replaced without an interruption. The error never contains a token.
    pub(crate) fn parse(text: &SecretString) -> Result<Self, String> {
        let clients = text
            .expose_secret()
            .split(',')
            .enumerate()
            .map(|(index, entry)| {
                Client::parse(entry.trim()).map_err(|reason| format!("entry {}: {reason}", index + 1))
            })
            .collect::<Result<Vec<_>, _>>()?;
        for (index, client) in clients.iter().enumerate() {
            if clients[..index].iter().any(|other| other.token_sha256 == client.token_sha256) {
                return Err(format!("entry {}: this token is given to two entries", index + 1));
            }
        }
        Ok(Self(clients.into()))
    }

    /// Names of the clients, each once.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.0.iter().map(|client| Arc::clone(&client.name)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Finds out which client sent these headers and whether it holds `scope`.
    pub(crate) fn authorize(&self, headers: &HeaderMap, scope: Scope, today: NaiveDate) -> Result<Shown, Denied> {
        let token = bearer_token(headers).ok_or(Denied::Missing)?;
        let Some(client) = self.find(token) else {
            let text = std::str::from_utf8(token).map_err(|_| Denied::UnknownToken)?;
            return Ok(Shown::Other(text.into()));
        };
        if headers.contains_key(ORIGIN) {
            return Err(Denied::ServiceTokenOfPage);
        }
        if let Some(valid_through) = client.valid_through.filter(|last| *last < today) {
            return Err(Denied::ExpiredToken { valid_through });
        }
        if !client.scopes.contains(&scope) {
            return Err(Denied::Scope(scope));
        }
        Ok(Shown::Client(Caller::client(&client.name)))
    }

    /// Looks at every client whatever it finds: how long it takes says nothing about the tokens.
    fn find(&self, token: &[u8]) -> Option<&Client> {
        let presented: [u8; 32] = Sha256::digest(token).into();
        self.0.iter().fold(
            None,
            |found, client| {
                if bool::from(client.token_sha256.ct_eq(&presented)) { Some(client) } else { found }
            },
        )
    }
}

impl Client {
    fn parse(entry: &str) -> Result<Self, String> {
        let mut parts = entry.split(':');
        let (Some(name), Some(token), Some(scopes), last_day, None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("expected name:token:scope+scope, optionally followed by :YYYY-MM-DD".into());
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err("a client's name is made of letters, digits, '-' and '_'".into());
        }
        if token.len() < MIN_TOKEN_LENGTH || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("the token of {name} needs at least {MIN_TOKEN_LENGTH} visible ASCII characters"));
        }
        let scopes = scopes
            .split('+')
            .map(|scope| {
                Scope::from_name(scope).ok_or_else(|| {
                    let known = Scope::ALL.map(Scope::name).join(", ");
                    format!("{name} has an unknown scope {scope:?}; there are {known}")
                })
            })
            .collect::<Result<_, _>>()?;
        let valid_through = last_day
            .map(|day| {
                NaiveDate::parse_from_str(day, "%Y-%m-%d")
                    .map_err(|_| format!("the last day of {name} must look like 2030-12-31"))
            })
            .transpose()?;
        Ok(Self { name: name.into(), token_sha256: Sha256::digest(token).into(), scopes, valid_through })
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clients").field(&self.names()).finish()
    }
}

/// The token of `authorization: Bearer <token>`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: NaiveDate = NaiveDate::from_ymd_opt(2030, 6, 15).expect("a date");

    fn clients(text: &str) -> Result<Clients, String> {
        Clients::parse(&SecretString::from(text))
    }

    impl Clients {
        /// The name of the client; `None`: it is no client's token.
        fn name(&self, headers: &HeaderMap, scope: Scope, today: NaiveDate) -> Result<Option<String>, Denied> {
            Ok(match self.authorize(headers, scope, today)? {
                Shown::Client(caller) => Some(caller.name.to_string()),
                Shown::Other(_) => None,
            })
        }
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header value"))])
    }

    #[test]
    fn a_token_opens_the_scopes_of_its_client_and_no_other() {
        let clients = clients("shop:shop-token:payments+tariffs, auth:auth-token:access").unwrap();
        let shop = headers("Bearer shop-token");
        assert_eq!(clients.name(&shop, Scope::Tariffs, DAY), Ok(Some("shop".into())));
        assert_eq!(clients.name(&shop, Scope::Payments, DAY), Ok(Some("shop".into())));
        for scope in [Scope::Accounts, Scope::Access] {
            assert_eq!(clients.name(&shop, scope, DAY), Err(Denied::Scope(scope)));
        }
    }

    #[test]
    fn what_is_no_known_bearer_token_is_turned_away() {
        let clients = clients("shop:shop-token:payments").unwrap();
        let authorize = |headers: &HeaderMap| clients.name(headers, Scope::Payments, DAY);
        assert_eq!(authorize(&HeaderMap::new()), Err(Denied::Missing));
        for no_bearer in ["", "Bearer", "shop-token", "Basic c2hvcDpzaG9wLXRva2Vu"] {
            assert_eq!(authorize(&headers(no_bearer)), Err(Denied::Missing), "{no_bearer:?}");
        }
        for unknown in ["Bearer ", "Bearer shop-toke", "Bearer shop-token2", "Bearer SHOP-TOKEN"] {
            assert_eq!(authorize(&headers(unknown)), Ok(None), "{unknown:?}");
        }
        let any_case = authorize(&headers("bearer shop-token"));
        assert_eq!(any_case, Ok(Some("shop".into())), "the scheme's case does not matter");
    }

    #[test]
    fn a_page_must_not_have_a_clients_token() {
        let clients = clients("shop:shop-token:payments").unwrap();
        let mut shown = headers("Bearer shop-token");
        shown.insert(ORIGIN, "https://cinema.example".parse().expect("a header value"));
        assert_eq!(clients.name(&shown, Scope::Payments, DAY), Err(Denied::ServiceTokenOfPage));
        shown.insert(AUTHORIZATION, "Bearer another".parse().expect("a header value"));
        assert_eq!(clients.name(&shown, Scope::Payments, DAY), Ok(None));
    }

    #[test]
    fn a_token_is_good_through_its_last_day() {
        let clients = clients("shop:old-token:payments:2030-06-15,shop:new-token:payments").unwrap();
        let authorize = |token: &str, day| clients.name(&headers(token), Scope::Payments, day);
        let next_day = DAY.succ_opt().unwrap();
        assert!(authorize("Bearer old-token", DAY).is_ok());
        assert_eq!(authorize("Bearer old-token", next_day), Err(Denied::ExpiredToken { valid_through: DAY }));
        assert!(authorize("Bearer new-token", next_day).is_ok());
        assert_eq!(clients.names(), [Arc::from("shop")]);
    }

    #[test]
    fn a_bad_entry_is_told_by_its_number_and_never_by_its_token() {
        for (text, told) in [
            ("", "entry 1: expected name:token"),
            ("shop:secret-token", "entry 1: expected name:token"),
            ("shop:secret-token:access,b:secret-token-2:access:2030-01-01:x", "entry 2: expected"),
            (":secret-token:access", "entry 1: a client's name"),
            ("shop:secret:access", "entry 1: the token of shop needs at least 8"),
            ("shop:secret-token:access+root", "entry 1: shop has an unknown scope \"root\""),
            ("shop:secret-token:", "entry 1: shop has an unknown scope \"\""),
            ("shop:secret-token:access:soon", "entry 1: the last day of shop"),
            ("a:secret-token:access,b:secret-token:tariffs", "entry 2: this token is given to two"),
        ] {
            let reason = clients(text).expect_err(text);
            assert!(reason.contains(told), "{text:?}: {reason}");
            assert!(!reason.contains("secret"), "{text:?}: {reason}");
        }
    }
}
