//! The door: what is taken off a request before any filter or worker can read it.
//!
//! Gone are: fields of the client's connection, names with `_` (a WSGI environ cannot tell them from `-`), the
//! front's own `x-pasteway-*`, `Proxy` (httpoxy), forwarding fields from peers that are not trusted, and identity
//! fields where an auth filter stands in the tree. Must not know what any filter does with the rest.

use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, header};
use smallvec::SmallVec;

use super::snapshot::{DoorRules, Limits};
use crate::filter::Request;
use crate::filter::identity::is_identity_header;

/// Why a request does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request line is longer than the limit.
    UriTooLong,
    /// A header line is longer than the limit.
    HeaderTooLong,
    /// It can be read in two ways.
    Ambiguous,
    /// It asks for a tunnel.
    Tunnel,
}

impl DoorRules {
    /// Cleans a request.
    ///
    /// # Errors
    /// What keeps it out.
    pub fn admit(&self, request: &mut Request, limits: &Limits, trusted: bool) -> Result<(), Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::Tunnel);
        }
        let uri = request.uri();
        let target = uri.path_and_query().map_or(0, |p| p.as_str().len());
        // Method, target, version, two blanks and the line end, as eventlet counts it.
        if request.method().as_str().len() + target + 12 > limits.request_line {
            return Err(Refusal::UriTooLong);
        }
        let mut hosts = 0;
        let mut gone: SmallVec<[HeaderName; 4]> = SmallVec::new();
        for (name, value) in request.headers() {
            if name.as_str().len() + value.len() + 4 > limits.header_line {
                return Err(Refusal::HeaderTooLong);
            }
            match *name {
                header::HOST => hosts += 1,
                header::CONNECTION => nominated(value.as_bytes(), &mut gone),
                _ if self.takes_off(name.as_str(), trusted) => gone.push(name.clone()),
                _ => {}
            }
        }
        // Content-Length and Transfer-Encoding never come together: hyper drops the first, reads chunks, and closes
        // the connection behind the answer (RFC 9112 §6.1).
        if hosts > 1 {
            return Err(Refusal::Ambiguous);
        }
        for name in gone {
            request.headers_mut().remove(name);
        }
        // The host of an absolute target counts only without a Host field: eventlet ignores it, and links in answers
        // name the field's host. (RFC 9112 §3.2.2 wants the target's; here only one of the two is ever looked at.)
        if hosts == 0
            && let Some(host) = request.uri().authority().and_then(host)
        {
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(())
    }

    /// Names are lower case here. Most are told apart by their first letter.
    fn takes_off(&self, name: &str, trusted: bool) -> bool {
        if name.contains('_') {
            return true;
        }
        match name.as_bytes().first() {
            Some(b'x') => {
                name.starts_with("x-pasteway-")
                    || (!trusted && name.starts_with("x-forwarded-"))
                    || (self.strip_identity && is_identity_header(name))
            }
            Some(b'o') => self.strip_identity && is_identity_header(name),
            Some(b'f') => !trusted && name == "forwarded",
            Some(b'p') => name == "proxy",
            _ => false,
        }
    }
}

/// The fields that a `Connection` field names: they concern this connection only. A client may not take off what
/// frames or addresses the request.
fn nominated(value: &[u8], gone: &mut SmallVec<[HeaderName; 4]>) {
    for token in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
        if token.eq_ignore_ascii_case(b"close") || token.eq_ignore_ascii_case(b"keep-alive") {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(token)
            && !matches!(name, header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION)
        {
            gone.push(name);
        }
    }
}

/// Without the user that a URL may name.
fn host(authority: &Authority) -> Option<HeaderValue> {
    let host = authority.as_str().rsplit('@').next()?;
    HeaderValue::from_str(host).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Body;
    use crate::network::Trust;

    const OPEN: DoorRules = DoorRules { strip_identity: false, trusted: Trust::Everybody };

    const LIMITS: Limits = Limits { request_line: 100, header_line: 50, idle: None, keep_alive: true };

    fn admitted(headers: &[(&str, &str)], rules: &DoorRules, trusted: bool) -> Result<Vec<String>, Refusal> {
        let mut request = http::Request::builder().uri("/v2");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::Empty).expect("valid");
        rules.admit(&mut request, &LIMITS, trusted)?;
        Ok(request.headers().keys().map(|name| name.as_str().to_owned()).collect())
    }

    #[test]
    fn what_a_client_must_not_say_is_taken_off() {
        let rules = DoorRules { strip_identity: true, trusted: Trust::Networks(Vec::new()) };
        let sent = [
            ("x_user_id", "evil"),
            ("x-pasteway-mount", "1"),
            ("x-pasteway_mount", "1"),
            ("proxy", "evil"),
            ("x-forwarded-for", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1"),
            ("x-user-id", "evil"),
            ("x-service-roles", "admin"),
            ("openstack-system-scope", "all"),
            ("x-auth-token", "mine"),
            ("connection", "x-secret, close"),
            ("x-secret", "1"),
        ];
        assert_eq!(admitted(&sent, &rules, false), Ok(vec!["x-auth-token".into(), "connection".into()]));
    }

    #[test]
    fn forwarding_fields_of_a_trusted_peer_and_identity_without_an_auth_filter_stay() {
        let sent = [("x-forwarded-for", "1.1.1.1"), ("x-user-id", "u")];
        assert_eq!(admitted(&sent, &OPEN, true).map(|names| names.len()), Ok(2));
    }

    #[test]
    fn two_hosts_and_long_lines_stay_out() {
        let rules = OPEN;
        for (sent, why) in [
            (vec![("host", "a"), ("host", "b")], Refusal::Ambiguous),
            (vec![("x-long", "012345678901234567890123456789012345678901234567890")], Refusal::HeaderTooLong),
        ] {
            assert_eq!(admitted(&sent, &rules, false), Err(why));
        }
    }

    #[test]
    fn the_host_of_an_absolute_target_stands_in_for_a_missing_one_and_a_tunnel_is_refused() {
        for (sent, counts) in [(None, "real:8774"), (Some("other"), "other")] {
            let mut request = http::Request::builder().uri("http://user@real:8774/v2");
            if let Some(host) = sent {
                request = request.header("host", host);
            }
            let mut request = request.body(Body::Empty).expect("valid");
            OPEN.admit(&mut request, &LIMITS, false).expect("admitted");
            assert_eq!(request.headers()[header::HOST], counts);
        }

        let request = http::Request::builder().method(Method::CONNECT).uri("real:443");
        let mut request = request.body(Body::Empty).expect("valid");
        assert_eq!(OPEN.admit(&mut request, &LIMITS, false), Err(Refusal::Tunnel));
    }
}
