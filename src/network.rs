//! Networks of IP addresses, and which peers are believed.
//!
//! Must not know what a believed peer may say.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address lies in it. An IPv4 address that came in over an IPv6 socket counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (128, v6.to_bits()),
        };
        let ((width, network), (other, address)) = (bits(self.address), bits(address));
        let host_bits = width - u32::from(self.prefix);
        // A prefix of 0 in IPv6 leaves nothing to compare, and a shift by all 128 bits would not be one.
        width == other && (network ^ address).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an IP address nor a network such as 10.0.0.0/8")]
pub struct NoNetwork(String);

impl Network {
    /// Whether its address has bits beyond its prefix, which Python's `ipaddress.ip_network` refuses.
    pub fn has_host_bits(&self) -> bool {
        let (width, bits) = match self.address {
            IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (128, v6.to_bits()),
        };
        bits & !u128::MAX.checked_shl(width - u32::from(self.prefix)).unwrap_or(0) != 0
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let wrong = || NoNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        // The same network, as `contains` sees it.
        let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let (address, width, shift) = if mapped { (address.to_canonical(), 32, 96) } else { (address, width, 0) };
        let prefix = match prefix {
            Some(text) => text.parse::<u8>().ok().and_then(|prefix| prefix.checked_sub(shift)).ok_or_else(wrong)?,
            None => width,
        };
        if prefix > width { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whose X-Forwarded-*, Forwarded and PROXY headers are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of peers in these networks; of nobody when there is none.
    Networks(Vec<Network>),
    /// Those of everybody, as Nova does it once it parses them.
    Everybody,
}

impl Trust {
    /// Whether a peer is believed.
    pub fn believes(&self, peer: IpAddr) -> bool {
        match self {
            Self::Everybody => true,
            Self::Networks(networks) => networks.iter().any(|network| network.contains(peer)),
        }
    }

    /// Whether anybody is.
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Networks(networks) if networks.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn within(network: &str, address: &str) -> bool {
        network.parse::<Network>().expect(network).contains(address.parse().expect(address))
    }

    #[test]
    fn a_network_holds_what_shares_its_prefix() {
        assert!(within("10.0.0.0/8", "10.255.0.1") && !within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("10.1.2.3", "10.1.2.3") && !within("10.1.2.3", "10.1.2.4"));
        assert!(within("0.0.0.0/0", "8.8.8.8") && !within("0.0.0.0/0", "::1"));
        assert!(within("::/0", "fe80::1") && within("fd00::/8", "fdff::1") && !within("fd00::/8", "fe00::1"));
        assert!(within("127.0.0.0/8", "::ffff:127.0.0.1") && within("::ffff:127.0.0.0/104", "127.9.9.9"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "10.0.0.0/", "host", "::ffff:1.2.3.4/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_network_can_be_asked_for_any_address(v6 in any::<u128>(), prefix in 0_u8..=128, peer in any::<u128>()) {
            let network = format!("{}/{prefix}", std::net::Ipv6Addr::from(v6));
            if let Ok(network) = network.parse::<Network>() {
                prop_assert!(network.contains(IpAddr::V6(v6.into())));
                network.contains(IpAddr::V6(peer.into()));
            }
        }
    }
}
