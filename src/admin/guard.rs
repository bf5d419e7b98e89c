//! Who may ask what: decided before any route is looked up.
//!
//! A browser on this machine is the enemy to think of: any web page may send requests to `127.0.0.1`, under a name
//! that it made resolve to there. So a foreign `Host` or `Origin` is refused, and only POST changes anything.
//!
//! Must not know what the routes do.

use std::net::IpAddr;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Version, request};
use serde_json::json;
use tokio::sync::watch;

use super::peer::Peer;
use super::token::Token;

/// What decides about access; follows a reload by itself.
#[derive(Clone, Debug)]
pub struct Access {
    /// The token of `admin_token_file`; `None` while that is unset.
    pub token: watch::Receiver<Option<Token>>,
    /// Does what the token does: for programs that may read the instance file.
    pub key: Option<Token>,
    /// Names, besides `localhost`, by which the operator calls the admin listener (a name in `admin_listen`).
    pub host_names: Vec<String>,
}

/// What a request is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// How things stand.
    ToLook,
    /// That something be changed.
    ToChange,
    /// What only the front's user may read.
    ForSecrets,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the request has no Host field, or several")]
    NoHost,
    #[error("the Host is none of this listener: use an address, localhost or the name in admin_listen")]
    ForeignHost,
    #[error("the Origin is another site")]
    ForeignOrigin,
    #[error("a bearer token is needed: Authorization: Bearer TOKEN (of admin_token_file, or the key in front.json)")]
    NoToken,
    #[error("the bearer token is wrong")]
    WrongToken,
    #[error("without admin_token_file only this machine is served")]
    Remote,
    #[error("only root and the user that the front runs as may change anything, or read its files")]
    OtherUser,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::ForeignOrigin | Self::Remote | Self::OtherUser => StatusCode::FORBIDDEN,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(json!({ "error": self.to_string() }))).into_response();
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Decides about one request; `user` is the one that the front runs as.
pub(super) fn admit(
    peer: &Peer,
    user: u32,
    asks: Asks,
    request: &request::Parts,
    access: &Access,
) -> Result<(), Refusal> {
    let host = host(request)?;
    if !host.as_ref().is_none_or(|host| is_ours(host, &access.host_names)) {
        return Err(Refusal::ForeignHost);
    }
    if !is_same_site(&request.headers, host.as_ref()) {
        return Err(Refusal::ForeignOrigin);
    }
    match peer {
        Peer::Unix { uid, .. } if asks != Asks::ToLook && *uid != user && *uid != 0 => Err(Refusal::OtherUser),
        Peer::Unix { .. } => Ok(()),
        Peer::Tcp { .. } => {
            let token = access.token.borrow();
            let needed = match (&*token, asks) {
                (None, _) if !peer.is_loopback() => return Err(Refusal::Remote),
                // Anybody on this machine, and whoever can make a program on it fetch something, comes from there.
                (_, Asks::ForSecrets) => true,
                (None, _) => false,
                (Some(_), Asks::ToChange) => true,
                (Some(_), Asks::ToLook) => !peer.is_loopback(),
            };
            if needed { bears([&access.key, &token], &request.headers) } else { Ok(()) }
        }
    }
}

/// The host that the request names. HTTP/1.0 may go without; no browser speaks it.
fn host(request: &request::Parts) -> Result<Option<Authority>, Refusal> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(Authority::try_from(host.as_bytes()).map_err(|_| Refusal::ForeignHost)?),
        (None, _) if request.version < Version::HTTP_11 => None,
        _ => return Err(Refusal::NoHost),
    };
    // The absolute form must not name another host than the field does.
    match (request.uri.authority(), &named) {
        (Some(target), Some(host)) if target != host => Err(Refusal::ForeignHost),
        (Some(target), None) => Ok(Some(target.clone())),
        _ => Ok(named),
    }
}

/// Whether no other site can have made a browser send this name: nobody can make an address literal resolve.
fn is_ours(host: &Authority, names: &[String]) -> bool {
    if host.as_str().contains('@') {
        return false;
    }
    let host = host.host();
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let name = host.strip_suffix('.').unwrap_or(host);
    literal.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// Whether the request comes from our own page, or from no page at all.
fn is_same_site(headers: &HeaderMap, host: Option<&Authority>) -> bool {
    headers.get_all(ORIGIN).iter().all(|origin| {
        let authority = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
        authority.is_some_and(|authority| host.is_some_and(|host| host.as_str().eq_ignore_ascii_case(authority)))
    })
}

/// Whether the request carries one of the tokens.
fn bears(tokens: [&Option<Token>; 2], headers: &HeaderMap) -> Result<(), Refusal> {
    let credentials = headers.get(AUTHORIZATION).ok_or(Refusal::NoToken)?.as_bytes();
    let (scheme, presented) = credentials.split_at_checked(7).ok_or(Refusal::NoToken)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Refusal::NoToken);
    }
    let right = tokens.into_iter().flatten().any(|token| token.is(presented.trim_ascii()));
    if right { Ok(()) } else { Err(Refusal::WrongToken) }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const US: u32 = 1000;

    fn access(token: Option<&str>) -> Access {
        let (_, token) = watch::channel(token.and_then(Token::new));
        Access { token, key: Token::new("k3y"), host_names: vec!["control.example".into()] }
    }

    fn local() -> Peer {
        Peer::Tcp { remote: "127.0.0.1:40000".parse().unwrap(), local: "127.0.0.1:9774".parse().unwrap() }
    }

    fn remote() -> Peer {
        Peer::Tcp { remote: "192.0.2.7:40000".parse().unwrap(), local: "192.0.2.1:9774".parse().unwrap() }
    }

    fn user(uid: u32) -> Peer {
        Peer::Unix { uid, pid: None }
    }

    fn ask(peer: Peer, token: Option<&str>, method: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        ask_for(if method == "GET" { Asks::ToLook } else { Asks::ToChange }, peer, token, method, headers)
    }

    fn ask_for(
        asks: Asks,
        peer: Peer,
        token: Option<&str>,
        method: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), Refusal> {
        let mut request = Request::builder().method(method).uri("/reload");
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(HOST, "127.0.0.1:9774");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        admit(&peer, US, asks, &request.body(()).unwrap().into_parts().0, &access(token))
    }

    #[test]
    fn secrets_need_a_token_or_the_key_from_this_machine_too() {
        let ask = |peer, token, bearer: Option<&str>| {
            let bearer = bearer.map(|text| format!("Bearer {text}"));
            let headers: Vec<_> = bearer.iter().map(|text| ("authorization", text.as_str())).collect();
            ask_for(Asks::ForSecrets, peer, token, "GET", &headers)
        };
        for token in [None, Some("s3cret")] {
            assert_eq!(ask(local(), token, None), Err(Refusal::NoToken));
            assert_eq!(ask(local(), token, Some("guess")), Err(Refusal::WrongToken));
            assert_eq!(ask(local(), token, Some("k3y")), Ok(()));
            assert_eq!(ask(user(1001), token, Some("k3y")), Err(Refusal::OtherUser));
            assert_eq!(ask(user(US), token, None), Ok(()));
        }
        assert_eq!(ask(local(), Some("s3cret"), Some("s3cret")), Ok(()));
        assert_eq!(ask(remote(), None, Some("k3y")), Err(Refusal::Remote));
        assert_eq!(ask(remote(), Some("s3cret"), Some("k3y")), Ok(()));
    }

    #[test]
    fn this_machine_may_post_while_there_is_no_token() {
        assert_eq!(ask(local(), None, "POST", &[]), Ok(()));
        assert_eq!(ask(remote(), None, "POST", &[]), Err(Refusal::Remote));
        assert_eq!(ask(remote(), None, "GET", &[]), Err(Refusal::Remote));
        let mapped = Peer::Tcp {
            remote: "[::ffff:127.0.0.1]:4".parse().unwrap(),
            local: "[::ffff:127.0.0.1]:5".parse().unwrap(),
        };
        assert_eq!(ask(mapped, None, "POST", &[]), Ok(()));
    }

    #[test]
    fn with_a_token_every_change_and_every_remote_request_needs_it() {
        let right = [("authorization", "Bearer s3cret")];
        for (peer, method) in [(local(), "POST"), (remote(), "GET"), (remote(), "POST")] {
            assert_eq!(ask(peer, Some("s3cret"), method, &[]), Err(Refusal::NoToken));
            assert_eq!(ask(peer, Some("s3cret"), method, &[("authorization", "Basic s3cret")]), Err(Refusal::NoToken));
            let wrong = [("authorization", "Bearer s3cre")];
            assert_eq!(ask(peer, Some("s3cret"), method, &wrong), Err(Refusal::WrongToken));
            assert_eq!(ask(peer, Some("s3cret"), method, &right), Ok(()));
        }
        assert_eq!(ask(local(), Some("s3cret"), "GET", &[]), Ok(()));
    }

    #[test]
    fn on_the_socket_the_kernel_says_who_asks() {
        assert_eq!(ask(user(US), Some("s3cret"), "POST", &[]), Ok(()));
        assert_eq!(ask(user(0), None, "POST", &[]), Ok(()));
        assert_eq!(ask(user(1001), None, "POST", &[]), Err(Refusal::OtherUser));
        assert_eq!(ask(user(1001), None, "GET", &[]), Ok(()));
    }

    #[test]
    fn only_addresses_localhost_and_the_listeners_name_are_hosts() {
        for host in ["127.0.0.1", "192.0.2.1:9774", "[::1]:9774", "localhost:9774", "LocalHost.", "control.example"] {
            assert_eq!(ask(local(), None, "GET", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:9774", "localhost.evil.example", "a@127.0.0.1", ""] {
            assert_eq!(ask(local(), None, "GET", &[("host", host)]), Err(Refusal::ForeignHost), "{host}");
            assert_eq!(ask(user(US), None, "POST", &[("host", host)]), Err(Refusal::ForeignHost), "{host}");
        }
        let two = [("host", "127.0.0.1"), ("host", "evil.example")];
        assert_eq!(ask(local(), None, "GET", &two), Err(Refusal::NoHost));
    }

    #[test]
    fn the_target_may_not_name_another_host_than_the_field() {
        let request = Request::get("http://127.0.0.1/").header(HOST, "localhost").body(()).unwrap().into_parts().0;
        assert_eq!(admit(&local(), US, Asks::ToLook, &request, &access(None)), Err(Refusal::ForeignHost));
        let old = Request::get("/live").version(Version::HTTP_10).body(()).unwrap().into_parts().0;
        assert_eq!(admit(&local(), US, Asks::ToLook, &old, &access(None)), Ok(()));
        let new = Request::get("/live").body(()).unwrap().into_parts().0;
        assert_eq!(admit(&local(), US, Asks::ToLook, &new, &access(None)), Err(Refusal::NoHost));
    }

    #[test]
    fn another_sites_page_is_refused() {
        for origin in ["http://evil.example", "null", "http://127.0.0.1:80", "http://localhost:9774", "file://"] {
            let headers = [("origin", origin)];
            assert_eq!(ask(local(), None, "POST", &headers), Err(Refusal::ForeignOrigin), "{origin}");
        }
        assert_eq!(ask(local(), None, "POST", &[("origin", "http://127.0.0.1:9774")]), Ok(()));
    }
}
