//! Addresses of the admin API.
//!
//! Must not know what is served there.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// One of `admin_listen`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AdminAddress {
    /// `HOST:PORT`; an IPv6 address stands in brackets.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// 0 lets the kernel choose.
        port: u16,
    },
    /// `unix:/path`
    Unix(PathBuf),
}

impl AdminAddress {
    /// Whether only this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
        }
    }
}

/// The text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither HOST:PORT nor unix:/path")]
pub struct NoAddress(String);

impl FromStr for AdminAddress {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let wrong = || NoAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|host| host.parse::<IpAddr>().is_ok()).ok_or_else(wrong)?,
            None => host,
        };
        let bare_ipv6 = host.contains(':') && !text.starts_with('[');
        if host.is_empty() || bare_ipv6 || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_local_or_not_and_reads_back_as_it_was_written() {
        for (text, local) in [
            ("127.0.0.1:9774", true),
            ("localhost:0", true),
            ("[::1]:9774", true),
            ("unix:/run/admin.sock", true),
            ("0.0.0.0:9774", false),
            ("[::]:9774", false),
            ("admin.example.org:80", false),
        ] {
            let address: AdminAddress = text.parse().expect(text);
            assert_eq!((address.is_local(), address.to_string()), (local, text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "9774", ":9774", "::1:9774", "[x]:1", "[::1:1", "a:70000", "unix:", "unix:relative", "a b:1"] {
            assert!(text.parse::<AdminAddress>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(unix:)?[\\[\\]:a-z0-9./é ]{0,20}") {
            if let Ok(address) = text.parse::<AdminAddress>() {
                prop_assert_eq!(address.to_string().parse::<AdminAddress>().ok(), Some(address));
            }
        }
    }
}
