//! Sockets that listen already when the front starts: those of the front that it replaces, or those that systemd has
//! opened for it (sd_listen_fds(3)).
//!
//! Must not know what is served on them.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use listenfd::ListenFd;
use socket2::SockRef;

use super::handover::Asked;
use crate::id::ApiName;
use crate::proxy::listener::ListenKey;

/// One of them.
#[derive(Debug)]
struct Inherited {
    socket: OwnedFd,
    address: Option<SocketAddr>,
    /// By the front before.
    asked: Option<Asked>,
    /// By systemd (`FileDescriptorName=`).
    name: Option<String>,
}

/// All that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Sockets(RefCell<Vec<Inherited>>);

impl Sockets {
    /// Those that the front before has handed over.
    pub fn handed_over(asked: Vec<Asked>, sockets: impl IntoIterator<Item = OwnedFd>) -> Self {
        let inherited = asked.into_iter().zip(sockets).map(|(asked, socket)| Inherited {
            address: address(&socket),
            socket,
            asked: Some(asked),
            name: None,
        });
        Self(RefCell::new(inherited.collect()))
    }

    /// Those that systemd has opened; none, if it has not.
    ///
    /// # Errors
    /// A descriptor is no listening socket of TCP.
    pub fn activated() -> io::Result<Self> {
        // Read before the crate takes them out of the environment.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut given = ListenFd::from_env();
        let mut all = Vec::new();
        for index in 0..given.len() {
            let name = names.next().filter(|name| !name.is_empty());
            let Some(socket) = given.take_tcp_listener(index)?.map(OwnedFd::from) else { continue };
            all.push(Inherited { address: address(&socket), socket, asked: None, name });
        }
        Ok(Self(RefCell::new(all)))
    }

    /// The one for an API: asked for as the same, bound to the address that it means, or named after it.
    pub fn for_api(&self, key: &ListenKey, api: &ApiName) -> Option<TcpListener> {
        let found = self.take(|inherited| match &inherited.asked {
            Some(Asked::Api { host, port, api }) => {
                let same =
                    key.host == *host && key.port == *port && key.api.as_ref().map(ApiName::as_str) == api.as_deref();
                same || inherited.address.is_some_and(|address| key.names(address))
            }
            Some(Asked::Admin(_)) => false,
            None => inherited.address.is_some_and(|address| key.names(address)),
        });
        let named = || self.take(|inherited| inherited.name.as_deref() == Some(api.as_str()));
        found.or_else(named).map(TcpListener::from)
    }

    /// The one for an entry of `admin_listen`.
    pub fn for_admin(&self, entry: &str) -> Option<OwnedFd> {
        self.take(|inherited| matches!(&inherited.asked, Some(Asked::Admin(asked)) if asked == entry))
    }

    /// Closes what nobody wants, and says so.
    pub fn close_unwanted(&self) {
        for Inherited { address, name, .. } in self.0.borrow_mut().drain(..) {
            let address = address.map_or_else(|| "a socket file".to_owned(), |address| address.to_string());
            let name = name.map_or_else(String::new, |name| format!(" ({name})"));
            tracing::warn!(target: "pasteway", "no API wants the inherited socket on {address}{name}: it is closed");
        }
    }

    fn take(&self, wanted: impl Fn(&Inherited) -> bool) -> Option<OwnedFd> {
        let mut all = self.0.borrow_mut();
        let at = all.iter().position(wanted)?;
        Some(all.swap_remove(at).socket)
    }
}

fn address(socket: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(&socket.as_fd()).local_addr().ok()?.as_socket()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: &str, port: u16, api: Option<&str>) -> ListenKey {
        ListenKey { host: host.into(), port, api: api.map(ApiName::from) }
    }

    fn bound() -> (OwnedFd, u16) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = socket.local_addr().expect("an address").port();
        (socket.into(), port)
    }

    fn port_of(socket: Option<TcpListener>) -> Option<u16> {
        socket.map(|socket| socket.local_addr().expect("an address").port())
    }

    #[test]
    fn a_socket_goes_to_who_asked_for_it_or_means_its_address() {
        let ((any, first), (fixed, second), (admin, _)) = (bound(), bound(), bound());
        let asked = vec![
            Asked::Api { host: "127.0.0.1".into(), port: 0, api: Some("ec2".into()) },
            Asked::Api { host: "127.0.0.1".into(), port: second, api: None },
            Asked::Admin("localhost:0".into()),
        ];
        let sockets = Sockets::handed_over(asked, [any, fixed, admin]);
        let of = |key: ListenKey, api: &str| port_of(sockets.for_api(&key, &api.into()));
        assert_eq!(of(key("127.0.0.1", 0, Some("metadata")), "metadata"), None);
        assert_eq!(of(key("127.0.0.1", 0, Some("ec2")), "ec2"), Some(first));
        assert_eq!(of(key("localhost", second, None), "metadata"), Some(second));
        assert_eq!(of(key("127.0.0.1", second, None), "metadata"), None, "each is taken once");
        assert!(sockets.for_admin("127.0.0.1:0").is_none() && sockets.for_admin("localhost:0").is_some());
    }

    #[test]
    fn a_name_counts_where_no_address_does() {
        let ((socket, port), name) = (bound(), Some("osapi_compute".to_owned()));
        let inherited = Inherited { address: address(&socket), socket, asked: None, name };
        let sockets = Sockets(RefCell::new(vec![inherited]));
        let wanted = key("192.0.2.1", 8774, None);
        assert_eq!(port_of(sockets.for_api(&wanted, &"metadata".into())), None);
        assert_eq!(port_of(sockets.for_api(&wanted, &"osapi_compute".into())), Some(port));
    }
}
