//! `ssl`: the scheme of a request is what a header of the proxy in front says (oslo.middleware's `SSLMiddleware`,
//! Liberty to Ocata).
//!
//! Only a trusted peer is believed; the original believed everybody.
//! Must not know how a peer becomes trusted.

use http::HeaderName;

use super::headers::joined;
use super::prelude::*;

/// What it takes.
static OPTIONS: &[OptionSpec] = &[OptionSpec {
    name: "secure_proxy_ssl_header",
    group: "oslo_middleware",
    default: "X-Forwarded-Proto",
    help: "the header that tells the scheme of the client's request; believed from trusted_proxies only",
}];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "ssl",
    about: "takes the scheme from what a proxy says",
    eras: "Liberty to Ocata, where an operator adds it",
    aliases: &[
        "oslo_middleware:SSLMiddleware.factory",
        "oslo_middleware.ssl:SSLMiddleware.factory",
        "egg:oslo.middleware#ssl",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    build.oslo_config();
    let setting = build.local_or_conf("oslo_middleware", "secure_proxy_ssl_header");
    let text = setting.as_ref().map_or("X-Forwarded-Proto", |setting| setting.value.trim());
    // The original looks for it in the environ, where `_` and `-` are alike.
    match text.replace('_', "-").parse::<HeaderName>() {
        Ok(header) => Some(Box::new(Ssl { header })),
        Err(_) => {
            let fact = format!("`{text}` is no name of a header");
            build.error(setting.as_ref(), fact, "write one such as X-Forwarded-Proto");
            None
        }
    }
}

struct Ssl {
    header: HeaderName,
}

impl Filter for Ssl {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        if cx.trusted_peer
            && let Some(scheme) = joined(request.headers(), &self.header)
        {
            cx.scheme = match &*scheme {
                "http" => Scheme::Http,
                "https" => Scheme::Https,
                _ => Scheme::Other(scheme.into_owned()),
            };
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, build, built};

    fn scheme(mut case: Case, local: &[(&str, &str)]) -> String {
        assert!(case.enter(&*built(&FACTORY, Release::MITAKA, local, &[])).is_none());
        case.cx.scheme.as_str().to_owned()
    }

    #[test]
    fn a_trusted_proxy_tells_the_scheme() {
        let said = || Case::new("GET", "/").header("x-forwarded-proto", "https");
        assert_eq!(scheme(said(), &[]), "https");
        assert_eq!(scheme(Case::new("GET", "/"), &[]), "http");
        let mut stranger = said();
        stranger.cx.trusted_peer = false;
        assert_eq!(scheme(stranger, &[]), "http");
        let own = [("secure_proxy_ssl_header", "X_My_Scheme")];
        assert_eq!(scheme(said().header("x-my-scheme", "wss"), &own), "wss");
    }

    #[test]
    fn what_is_no_header_is_an_error() {
        let (filter, _, findings) = build(&FACTORY, Release::MITAKA, &[("secure_proxy_ssl_header", "a b")], &[]);
        assert!(filter.is_none());
        assert_eq!(findings[0].message, "`a b` is no name of a header");
    }
}
