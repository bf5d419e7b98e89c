//! `http_proxy_to_wsgi`: believes what a proxy says about its client (oslo.middleware, Newton and later).
//!
//! On only with `enable_proxy_headers_parsing`, and only for a trusted peer. `Forwarded` counts before the
//! `X-Forwarded-*` headers; from a list of proxies the first counts, but the whole of `X-Forwarded-For` becomes
//! REMOTE_ADDR. Scheme, host and address are changed for everything inside this filter, not for a urlmap outside.
//! Must not know how a peer becomes trusted.

use http::header::{FORWARDED, HOST};
use http::{HeaderName, HeaderValue};

use super::headers::joined;
use super::prelude::*;

/// What it takes.
static OPTIONS: &[OptionSpec] = &[OptionSpec {
    name: "enable_proxy_headers_parsing",
    group: "oslo_middleware",
    default: "false",
    help: "whether the service stands behind a proxy whose headers are to be believed",
}];

const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "http_proxy_to_wsgi",
    about: "takes scheme, host and client address from what a proxy says",
    eras: "Newton and later",
    aliases: &[
        "oslo_middleware.http_proxy_to_wsgi:HTTPProxyToWSGI.factory",
        "oslo_middleware:HTTPProxyToWSGI.factory",
        "oslo_middleware.http_proxy_to_wsgi:HTTPProxyToWSGIMiddleware.factory",
        "oslo_middleware:HTTPProxyToWSGIMiddleware.factory",
        "egg:oslo.middleware#http_proxy_to_wsgi",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    build.oslo_config();
    let enabled = build.local_or_conf("oslo_middleware", "enable_proxy_headers_parsing");
    let enabled = build.flag(enabled, false);
    Some(Box::new(HttpProxyToWsgi { enabled }))
}

struct HttpProxyToWsgi {
    enabled: bool,
}

impl Filter for HttpProxyToWsgi {
    fn sees_requests(&self) -> bool {
        self.enabled
    }

    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        if !cx.trusted_peer {
            return Flow::Next;
        }
        let headers = request.headers();
        let text = |name: &HeaderName| joined(headers, name).filter(|value| !value.is_empty());
        let (proto, host, address) = match text(&FORWARDED) {
            Some(forwarded) => {
                let first = forwarded.split(',').next().unwrap_or_default();
                let part = |name| parameter(first, name).map(str::to_owned);
                (part("proto"), part("host"), part("for"))
            }
            None => {
                let own = |name| text(name).map(|value| value.into_owned());
                (own(&PROTO), own(&FORWARDED_HOST), own(&FOR))
            }
        };
        if let Some(prefix) = joined(headers, &PREFIX) {
            cx.script_name.splice(..0, prefix.bytes());
        }
        if let Some(proto) = proto {
            cx.scheme = match proto.as_str() {
                "http" => Scheme::Http,
                "https" => Scheme::Https,
                _ => Scheme::Other(proto),
            };
        }
        if let Some(address) = address {
            cx.remote_addr = RemoteAddr::Said(address);
        }
        if let Some(host) = host.and_then(|host| HeaderValue::from_str(&host).ok()) {
            request.headers_mut().insert(HOST, host);
        }
        Flow::Next
    }

    fn sees_responses(&self) -> bool {
        false
    }
}

/// The last non-empty value of a parameter in one element of `Forwarded`, quotes and brackets included.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = element.split(';').filter_map(|part| part.split_once('='));
    let found = parts.rfind(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, built};

    /// Scheme, host, address and SCRIPT_NAME behind the filter.
    fn seen(mut case: Case, enabled: &str) -> (String, String, String, String) {
        let conf = [("oslo_middleware", "enable_proxy_headers_parsing", enabled)];
        case.cx.script_name = b"/v2.1".to_vec();
        assert!(case.enter(&*built(&FACTORY, Release::NEWEST, &[], &conf)).is_none());
        (
            case.cx.scheme.as_str().to_owned(),
            case.request.headers()["host"].to_str().unwrap().to_owned(),
            case.cx.remote_addr.to_string(),
            String::from_utf8(case.cx.script_name).unwrap(),
        )
    }

    fn want(scheme: &str, host: &str, address: &str, script: &str) -> (String, String, String, String) {
        (scheme.to_owned(), host.to_owned(), address.to_owned(), script.to_owned())
    }

    fn forwarded() -> Case {
        Case::new("GET", "/x")
            .header("host", "127.0.0.1:8774")
            .header("forwarded", "for=1.2.3.4;Proto=https; host=ex.com;by=9.9.9.9, for=5.6.7.8")
            .header("x-forwarded-for", "6.6.6.6")
    }

    fn x_forwarded() -> Case {
        Case::new("GET", "/x")
            .header("host", "127.0.0.1:8774")
            .header("x-forwarded-for", "1.2.3.4, 5.6.7.8")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "ex.com")
            .header("x-forwarded-prefix", "/pfx")
    }

    #[test]
    fn a_header_that_came_twice_is_one_with_a_comma() {
        let twice = x_forwarded().header("x-forwarded-prefix", "/more").header("x-forwarded-host", "b");
        assert_eq!(seen(twice, "true"), want("https", "ex.com,b", "1.2.3.4, 5.6.7.8", "/pfx,/more/v2.1"));
    }

    #[test]
    fn the_first_element_of_forwarded_counts_before_the_others() {
        assert_eq!(seen(forwarded(), "true"), want("https", "ex.com", "1.2.3.4", "/v2.1"));
    }

    #[test]
    fn all_of_x_forwarded_for_becomes_the_address() {
        assert_eq!(seen(x_forwarded(), "true"), want("https", "ex.com", "1.2.3.4, 5.6.7.8", "/pfx/v2.1"));
    }

    #[test]
    fn quotes_and_brackets_stay() {
        let case = Case::new("GET", "/").header("host", "h").header("forwarded", "for=\"[::1]:80\";for=\"[::2]\"");
        assert_eq!(seen(case, "true").2, "\"[::2]\"");
    }

    #[test]
    fn it_is_off_by_default_and_for_strangers() {
        let nothing = want("http", "127.0.0.1:8774", "127.0.0.1", "/v2.1");
        assert_eq!(seen(x_forwarded(), "false"), nothing);
        let mut case = x_forwarded();
        case.cx.trusted_peer = false;
        assert_eq!(seen(case, "true"), nothing);
    }
}
