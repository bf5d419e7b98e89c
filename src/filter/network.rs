//! Networks of addresses, as Python's `ipaddress.ip_network` reads them.
//!
//! Must not know whose addresses they are.

use std::net::IpAddr;
use std::str::FromStr;

/// `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// The text is no network, or its address has bits beyond its prefix.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a network address")]
pub struct NotANetwork(String);

impl Network {
    /// Whether an address of the same family lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && self.shift(address) == self.shift(self.address)
    }

    /// The network's part of an address.
    fn shift(&self, address: IpAddr) -> u128 {
        let (bits, width) = bits(address);
        bits.checked_shr(width - self.prefix).unwrap_or(0)
    }
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let bad = || NotANetwork(text.to_owned());
        let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let (bits, width) = bits(address);
        let prefix = prefix.map_or(Ok(width), |p| p.parse().map_err(|_| bad()))?;
        if prefix > width || bits & !u128::MAX.checked_shl(width - prefix).unwrap_or(0) != 0 {
            return Err(bad());
        }
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_in_the_networks_of_its_family() {
        for (network, address, want) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("0.0.0.0/0", "9.9.9.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("fe80::/10", "fe80::1", true),
            ("::1", "::2", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), want, "{network:?} {address}");
        }
    }

    #[test]
    fn host_bits_and_nonsense_are_refused() {
        for text in ["10.0.0.1/8", "10.0.0.0/33", "::1/64", "x", "", "10.0.0.0/"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
