//! What a browser has to bring back from the provider: a record of the sign-in that was begun, sealed in a cookie. The `state`
//! that comes back in the address opens it, so a sign-in that another browser has begun ends nowhere; and nothing is written
//! down for those who begin one and do not come back.

use axum::http::{HeaderMap, header};
use billing::cipher::{Cipher, Place};
use billing::store::staff::{BACK_WITHIN, SessionKey};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use url::form_urlencoded;
use uuid::Uuid;

use crate::access;
use crate::params::Params;

/// The longest way back that is remembered, in bytes: browsers keep 4096 of a cookie.
const MAX_TO: usize = 1000;
/// So much of the state stands in the name of the cookie, so that two tabs do not disturb each other.
const NAMED_BY: usize = 8;
/// Whoever has begun so many sign-ins begins anew.
const MAX_BEGUN: usize = 5;

/// What somebody goes to the provider for.
#[derive(Clone)]
pub(crate) enum Purpose {
    /// To come in, and to see this page.
    SignIn { to: String },
    /// To accept an invitation: what stands at the end of its link.
    Invitation(SecretString),
    /// To show again who they are, in this session.
    Prove(SessionKey),
}

/// A sign-in that was begun.
pub(crate) struct Flow {
    id: Uuid,
    /// Comes back in the ID token.
    pub(crate) nonce: SecretString,
    /// Shows the provider that who asks for the token is who has begun (PKCE).
    pub(crate) verifier: SecretString,
    pub(crate) purpose: Purpose,
    pub(crate) began_at: DateTime<Utc>,
}

impl Flow {
    pub(crate) fn begin(purpose: Purpose, now: DateTime<Utc>) -> Self {
        let random = || Uuid::new_v4().simple();
        Self {
            id: Uuid::new_v4(),
            nonce: random().to_string().into(),
            verifier: format!("{}{}", random(), random()).into(),
            purpose,
            began_at: now,
        }
    }

    /// Comes back in the address.
    pub(crate) fn state(&self) -> String {
        self.id.simple().to_string()
    }

    /// The cookies to be set.
    pub(crate) fn cookies(&self, headers: &HeaderMap, cipher: &Cipher, https: bool) -> Vec<String> {
        let begun = begun(headers, https);
        let many = if begun.len() < MAX_BEGUN { Vec::new() } else { begun };
        let mut cookies: Vec<String> = many.iter().map(|name| expired(name, https)).collect();
        let sealed = cipher.seal(Place::SignIn(self.id), &self.record());
        let (name, age) = (name(&self.state(), https), BACK_WITHIN.num_seconds());
        cookies.push(format!("{name}={sealed}; Max-Age={age}{}", attributes(https)));
        cookies
    }

    fn record(&self) -> SecretString {
        let (purpose, what) = match &self.purpose {
            Purpose::SignIn { to } if to.len() <= MAX_TO => ("sign_in", to.clone()),
            Purpose::SignIn { .. } => ("sign_in", String::new()),
            Purpose::Invitation(link) => ("invitation", link.expose_secret().to_owned()),
            Purpose::Prove(session) => ("prove", session.to_hex()),
        };
        let mut record = form_urlencoded::Serializer::new(String::new());
        record.append_pair("nonce", self.nonce.expose_secret()).append_pair("verifier", self.verifier.expose_secret());
        record.append_pair("began", &self.began_at.timestamp().to_string());
        record.append_pair("purpose", purpose).append_pair("what", &what);
        record.finish().into()
    }

    /// The one that this browser has begun under this state, if it is not too long ago.
    pub(crate) fn brought_back(
        headers: &HeaderMap,
        state: &str,
        cipher: &Cipher,
        https: bool,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let id = Uuid::try_parse(state).ok().filter(|id| id.simple().to_string() == state)?;
        let sealed = access::cookie(headers, &name(state, https))?;
        let record = cipher.open(Place::SignIn(id), sealed).ok()?;
        let record = Params::read(record.expose_secret().as_bytes());
        let began_at = DateTime::from_timestamp(record.get("began").parse().ok()?, 0)?;
        let purpose = match record.get("purpose") {
            "sign_in" => Purpose::SignIn { to: record.get("what").to_owned() },
            "invitation" => Purpose::Invitation(record.get("what").into()),
            "prove" => Purpose::Prove(SessionKey::from_hex(record.get("what"))?),
            _ => return None,
        };
        let (nonce, verifier) = (record.get("nonce").into(), record.get("verifier").into());
        let is_in_time = now - began_at < BACK_WITHIN;
        is_in_time.then_some(Self { id, nonce, verifier, purpose, began_at })
    }
}

/// A sign-in is over: its cookie goes.
pub(crate) fn forget_cookie(state: &str, https: bool) -> String {
    expired(&name(state, https), https)
}

fn expired(name: &str, https: bool) -> String {
    format!("{name}=; Max-Age=0{}", attributes(https))
}

fn attributes(https: bool) -> &'static str {
    // `Lax`: browsers send it when they come back from the provider, and with nothing that others load or send.
    if https { "; Path=/; HttpOnly; SameSite=Lax; Secure" } else { "; Path=/; HttpOnly; SameSite=Lax" }
}

fn name(state: &str, https: bool) -> String {
    format!("{}{}", prefix(https), state.get(..NAMED_BY).unwrap_or_default())
}

fn prefix(https: bool) -> String {
    format!("{}-sign-in-", access::cookie_name(https))
}

/// The names of the cookies of sign-ins that this browser has begun.
fn begun(headers: &HeaderMap, https: bool) -> Vec<String> {
    let prefix = prefix(https);
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let names =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')).map(|(key, _)| key);
    let is_plain = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    names.filter(|name| name.starts_with(&prefix)).filter(is_plain).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn browser(cookies: &[String]) -> HeaderMap {
        let pairs: Vec<_> = cookies.iter().filter_map(|cookie| cookie.split(';').next()).collect();
        HeaderMap::from_iter([(header::COOKIE, pairs.join("; ").parse().unwrap())])
    }

    #[test]
    fn a_sign_in_ends_in_the_browser_that_has_begun_it_and_in_time() {
        let (cipher, now) = (Cipher::from_keys(&KEYS.into()).unwrap(), DateTime::UNIX_EPOCH);
        for https in [false, true] {
            let to = "/payments?state=unknown&from=2026-11-01".to_owned();
            let flow = Flow::begin(Purpose::SignIn { to: to.clone() }, now);
            let other = Flow::begin(Purpose::SignIn { to: String::new() }, now);
            let cookies = flow.cookies(&HeaderMap::new(), &cipher, https);
            assert_eq!(cookies[0].starts_with("__Host-") && cookies[0].contains("; Secure"), https, "{cookies:?}");
            let ours = browser(&[cookies, other.cookies(&HeaderMap::new(), &cipher, https)].concat());
            let back = |headers: &HeaderMap, state: &str, now| Flow::brought_back(headers, state, &cipher, https, now);
            let came = back(&ours, &flow.state(), now).unwrap();
            assert!(matches!(&came.purpose, Purpose::SignIn { to: back } if *back == to));
            assert_eq!(came.verifier.expose_secret(), flow.verifier.expose_secret());
            assert!((43..=128).contains(&came.verifier.expose_secret().len()), "RFC 7636, 4.1");
            assert!(back(&ours, &other.state(), now).is_some(), "two tabs");

            let elsewhere = browser(&other.cookies(&HeaderMap::new(), &cipher, https));
            assert!(back(&elsewhere, &flow.state(), now).is_none(), "another browser");
            assert!(back(&HeaderMap::new(), &flow.state(), now).is_none());
            assert!(back(&ours, &flow.state(), now + BACK_WITHIN).is_none(), "too late");
            for forged in ["", "x", &flow.state().to_uppercase(), &Uuid::new_v4().simple().to_string()] {
                assert!(back(&ours, forged, now).is_none(), "{forged}");
            }
            // A cookie under the name of another sign-in.
            let state = format!("{}{}", &flow.state()[..NAMED_BY], &other.state()[NAMED_BY..]);
            assert!(back(&ours, &state, now).is_none());
        }
    }

    #[test]
    fn whoever_begins_often_has_no_more_cookies_than_fit() {
        let cipher = Cipher::from_keys(&KEYS.into()).unwrap();
        let mut cookies = Vec::new();
        for _ in 0..MAX_BEGUN {
            let flow = Flow::begin(Purpose::SignIn { to: "/".repeat(5000) }, DateTime::UNIX_EPOCH);
            let set = flow.cookies(&browser(&cookies), &cipher, true);
            assert!(set.len() == 1 && set[0].len() < 4096, "{set:?}");
            cookies.extend(set);
        }
        let flow = Flow::begin(Purpose::SignIn { to: String::new() }, DateTime::UNIX_EPOCH);
        let set = flow.cookies(&browser(&cookies), &cipher, true);
        assert_eq!(set.iter().filter(|cookie| cookie.contains("Max-Age=0")).count(), MAX_BEGUN, "{set:?}");
    }
}
