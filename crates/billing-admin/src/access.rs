//! Who comes, and what is asked of them.

use axum::http::{HeaderMap, Uri, header};
use billing::staff::Right;
use billing::store::staff::{By, SessionKey, Staff, Visit};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// So long after the password was typed nobody asks for it again.
const PROVED_FOR: TimeDelta = TimeDelta::minutes(10);

/// What a page or an action asks of who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: signing in, and what it looks like.
    Open,
    /// To have shown the password, if not yet the second factor.
    HalfWay,
    /// To be signed in, if only with a one-time password.
    SignedIn,
    /// To be signed in with a password of one's own, and a second factor where everybody needs one.
    Staff,
    /// And to have a right.
    Has(Right),
}

/// Who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) staff: Staff,
    pub(crate) key: SessionKey,
    /// The second factor was not shown yet.
    pub(crate) waits_for_code: bool,
    /// They have no second factor, and everybody needs one.
    pub(crate) lacks_factor: bool,
    /// They have come by the company's provider: it asks them again who they are.
    pub(crate) is_by_provider: bool,
    /// When they last showed who they are.
    pub(crate) proved_at: DateTime<Utc>,
    /// Stands in each form of theirs.
    pub(crate) csrf: String,
}

impl Visitor {
    /// `issuer` is the company's provider.
    pub(crate) fn new(visit: Visit, cookie: &SecretString, needs_factor: bool, issuer: Option<&str>) -> Self {
        Self {
            lacks_factor: needs_factor && !visit.has_factor && !visit.factor_by_provider,
            is_by_provider: issuer.is_some() && visit.issuer.as_deref() == issuer,
            waits_for_code: visit.waits_for_code,
            proved_at: visit.proved_at,
            staff: visit.staff,
            key: visit.key,
            csrf: csrf(cookie),
        }
    }

    /// Nothing is asked of them before the pages open.
    pub(crate) fn is_through(&self) -> bool {
        !self.waits_for_code && !self.staff.is_one_time && !self.lacks_factor
    }

    /// They have typed the password, or been asked by the provider, a short while ago.
    pub(crate) fn is_proved(&self, now: DateTime<Utc>) -> bool {
        now - self.proved_at < PROVED_FOR
    }

    pub(crate) fn has(&self, right: Right) -> bool {
        self.is_through() && self.staff.role.may(right)
    }

    pub(crate) fn may(&self, access: Access) -> bool {
        match access {
            Access::Open | Access::HalfWay => true,
            Access::SignedIn => !self.waits_for_code,
            Access::Staff => self.is_through(),
            Access::Has(right) => self.has(right),
        }
    }

    pub(crate) fn by(&self, address: &str) -> By {
        By::staff(&self.staff, address)
    }
}

/// What stands in the forms of a session. Only who has the cookie can know it.
pub(crate) fn csrf(cookie: &SecretString) -> String {
    let digest = Sha256::digest(format!("csrf {}", cookie.expose_secret()).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether both are the same, in a time that does not tell where they differ.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    digest(a).as_slice().ct_eq(digest(b).as_slice()).into()
}

/// The prefix promises browsers that nobody else has set it.
pub(crate) const fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-billing" } else { "billing" }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The name that the browser has called us by, with the port.
pub(crate) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    authority.or_else(|| headers.get(header::HOST)?.to_str().ok())
}

/// Where somebody comes from: what the outermost of our proxies says, else who is connected.
pub(crate) fn address(headers: &HeaderMap, proxies: u8, peer: Option<String>) -> String {
    let told = headers.get_all("x-forwarded-for").into_iter().filter_map(|value| value.to_str().ok());
    let told: Vec<&str> = told.flat_map(|line| line.split(',')).map(str::trim).collect();
    let from_outside = told.len().checked_sub(usize::from(proxies)).filter(|_| proxies > 0);
    let told = from_outside.and_then(|at| told.get(at)?.parse::<std::net::IpAddr>().ok());
    told.map(|address| address.to_string()).or(peer).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_our_own_proxies_say_counts() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "9.9.9.9, 10.0.0.1".parse().unwrap());
        headers.append("x-forwarded-for", "10.0.0.2".parse().unwrap());
        let peer = || Some("192.0.2.7".to_owned());
        for (proxies, is) in [(0, "192.0.2.7"), (1, "10.0.0.2"), (2, "10.0.0.1"), (3, "9.9.9.9"), (4, "192.0.2.7")] {
            assert_eq!(address(&headers, proxies, peer()), is, "{proxies}");
        }
    }
}
