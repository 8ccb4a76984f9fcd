//! Whose address it is.

use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// Expected `address/bits`, or an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network: expected one as 185.98.81.0/28")]
pub struct NotANetwork(String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.to_owned());
        let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| wrong())?;
        if prefix > bits { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl Network {
    /// Whether the address is one of it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                same(ours.to_bits().into(), other.to_bits().into(), 32 - self.prefix)
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => same(ours.to_bits(), other.to_bits(), 128 - self.prefix),
            _ => false,
        }
    }
}

/// Equal but for the last `rest` bits.
fn same(one: u128, other: u128, rest: u32) -> bool {
    (one ^ other).checked_shr(rest).unwrap_or_default() == 0
}

/// Whom a request is from: the peer, or behind our own proxies the last hop before them.
pub(super) fn sender(peer: IpAddr, forwarded: Option<&str>, proxies: &[Network]) -> IpAddr {
    let is_proxy = |address: &IpAddr| proxies.iter().any(|network| network.contains(*address));
    if !is_proxy(&peer) {
        return peer;
    }
    let hops = forwarded.into_iter().flat_map(|hops| hops.rsplit(','));
    // What is no address was written by nobody we trust, and so was all before it.
    let mut hops = hops.map_while(|hop| hop.trim().parse::<IpAddr>().ok());
    hops.find(|hop| !is_proxy(hop)).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_of_a_network_that_begins_as_it_does() {
        for (of, address, is_in) in [
            ("185.98.81.0/28", "185.98.81.15", true),
            ("185.98.81.0/28", "185.98.81.16", false),
            ("87.251.91.160/27", "87.251.91.191", true),
            ("162.55.174.97/32", "162.55.174.97", true),
            ("162.55.174.97", "162.55.174.98", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("185.98.81.0/28", "::ffff:185.98.81.3", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "1.2.3.4", false),
        ] {
            assert_eq!(network(of).contains(ip(address)), is_in, "{address} of {of}");
        }
        for wrong in ["", "185.98.81.0/33", "185.98.81/28", "::/129", "1.2.3.4/-1", "gateway"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn behind_our_proxies_the_last_hop_before_them_counts_and_nobody_elses_word_does() {
        let proxies = [network("10.0.0.0/8")];
        for (peer, forwarded, sender_is) in [
            ("10.0.0.1", Some("185.98.81.3"), "185.98.81.3"),
            ("10.0.0.1", Some("6.6.6.6, 185.98.81.3, 10.0.0.2"), "185.98.81.3"),
            ("10.0.0.1", None, "10.0.0.1"),
            ("10.0.0.1", Some("185.98.81.3, unknown"), "10.0.0.1"),
            ("6.6.6.6", Some("185.98.81.3"), "6.6.6.6"),
        ] {
            assert_eq!(sender(ip(peer), forwarded, &proxies), ip(sender_is), "{peer} {forwarded:?}");
        }
    }
}
