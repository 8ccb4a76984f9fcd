//! Who comes through a reverse proxy that has asked them who they are.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};

use crate::access::AccessError;

/// The longest name that a proxy gives, in bytes.
const LONGEST_NAME: usize = 200;

/// A header in which a reverse proxy says who comes, for instance `X-Forwarded-User`. It counts only on connections from the
/// proxies that are trusted, which must take it from what browsers send.
#[derive(Clone, Debug)]
pub struct ProxyHeader {
    name: HeaderName,
    trusted: Vec<Network>,
    act: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl ProxyHeader {
    /// Everybody whom a proxy at one of these addresses (`10.0.0.7`, `10.0.0.0/8`) names in the header may look, and those
    /// named in `act` may act, too.
    ///
    /// # Errors
    /// [`AccessError::Proxy`]: the header is no name of one, or an address is none.
    pub fn new<'a>(
        header: &str,
        trusted: impl IntoIterator<Item = &'a str>,
        act: impl IntoIterator<Item = String>,
    ) -> Result<Self, AccessError> {
        let wrong = |what: String| AccessError::Proxy(what);
        let name = header.parse().map_err(|_| wrong(format!("{header:?} is no name of a header")))?;
        let trusted = trusted.into_iter().map(|text| text.parse().map_err(wrong)).collect::<Result<Vec<_>, _>>()?;
        if trusted.is_empty() {
            return Err(wrong(
                "no address of a trusted proxy is given, so the header would count for nobody".to_owned(),
            ));
        }
        Ok(Self { name, trusted, act: act.into_iter().collect() })
    }

    pub(crate) fn lets_act(&self) -> bool {
        !self.act.is_empty()
    }

    /// Who comes, and whether they may act. `None`: nobody says.
    pub(crate) fn who(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<(String, bool)> {
        let peer = peer?.to_canonical();
        if !self.trusted.iter().any(|network| network.contains(peer)) {
            return None;
        }
        let mut named = headers.get_all(&self.name).iter();
        // Two of them: one is somebody else's.
        let (Some(name), None) = (named.next(), named.next()) else { return None };
        let name = std::str::from_utf8(name.as_bytes()).ok()?.trim();
        let is_name = !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
        is_name.then(|| (name.to_owned(), self.act.iter().any(|who| who == name)))
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let ((ours, length), (theirs, of)) = (bits(self.address), bits(address));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
        length == of && ours & mask == theirs & mask
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address as 10.0.0.7 or 10.0.0.0/8");
        let (address, prefix) =
            text.trim().split_once('/').map_or((text.trim(), None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| wrong()))?;
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_only_from_trusted_proxies_and_once() {
        let proxy = ProxyHeader::new("X-Forwarded-User", ["10.0.0.0/8", "::1"], ["ada".to_owned()]).unwrap();
        let come = |values: &[&'static str], peer: &str| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-user", value.parse().unwrap());
            }
            proxy.who(&headers, peer.parse().ok())
        };
        assert_eq!(come(&["ada"], "10.1.2.3"), Some(("ada".to_owned(), true)));
        assert_eq!(come(&["bob"], "::ffff:10.1.2.3"), Some(("bob".to_owned(), false)));
        assert_eq!(come(&["bob"], "::1"), Some(("bob".to_owned(), false)));
        for (values, peer) in [
            (&["ada"][..], "11.0.0.1"),
            (&["ada"], "::2"),
            (&["ada"], "no peer"),
            (&[], "10.1.2.3"),
            (&[" "], "10.1.2.3"),
            (&["ada", "bob"], "10.1.2.3"),
        ] {
            assert_eq!(come(values, peer), None, "{values:?} {peer}");
        }
    }

    #[test]
    fn what_is_wrong_with_it_is_told() {
        for (header, trusted) in
            [("no header", "10.0.0.1"), ("x-user", "10.0.0.0/33"), ("x-user", "proxy"), ("x-user", "10.0.0.1/x")]
        {
            assert!(ProxyHeader::new(header, [trusted], []).is_err(), "{header} {trusted}");
        }
        assert!(ProxyHeader::new("x-user", [], []).is_err());
    }
}
