//! `prefix`: tells the app the path under which a proxy has put it, and believes that proxy
//! (`paste.deploy.config:PrefixMiddleware`, PasteDeploy 1.5 to 3.1).
//!
//! SCRIPT_NAME becomes the prefix, whatever a urlmap outside has put there, and the prefix goes from the head of
//! PATH_INFO: as a regular expression, so that a dot in it is any character, and without a look at where a segment
//! ends. Headers that were believed are taken away, as the original does. Only a trusted peer is believed; the
//! original believes everybody.
//! Must not know how a peer becomes trusted.

use http::header::HOST;
use http::{HeaderName, HeaderValue};

use super::headers::joined;
use super::prelude::*;

/// What it takes.
static OPTIONS: &[OptionSpec] = &[
    spec("prefix", "/", "SCRIPT_NAME of the app; slashes at its end do not count"),
    spec("translate_forwarded_server", "true", "whether X-Forwarded-Server, -Host, -For, -Scheme and -Proto count"),
    spec("force_port", "", "port of the service as clients see it; empty, but there: the scheme's own"),
    spec("scheme", "", "scheme of the service as clients see it"),
];

const fn spec(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, group: "", default, help }
}

const SERVER: HeaderName = HeaderName::from_static("x-forwarded-server");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "prefix",
    about: "puts the app under a path, and believes the proxy in front",
    eras: "PasteDeploy 1.5 and later",
    aliases: &[
        "egg:PasteDeploy#prefix",
        "egg:pastedeploy#prefix",
        "egg:Paste#prefix",
        "paste.deploy.config:make_prefix_middleware",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    let prefix = build.local("prefix").map_or_else(String::new, |setting| setting.value);
    let translate = build.local("translate_forwarded_server");
    let translate = build.paste_flag(translate, true);
    let port = build.local("force_port");
    if let Some(port) = port.as_ref().filter(|port| HeaderValue::from_str(&port.value).is_err()) {
        build.error(Some(port), format!("`{}` is no port", port.value.escape_default()), "write digits only");
    }
    let scheme = build.local("scheme").map(|setting| scheme_named(setting.value));
    let prefix = prefix.trim_end_matches('/');
    if prefix.contains(['^', '$', '*', '+', '?', '{', '}', '[', ']', '\\', '|', '(', ')', '\n']) {
        return build.leave("its prefix is a regular expression");
    }
    Some(Box::new(Prefix {
        prefix: prefix.as_bytes().to_vec(),
        translate,
        force_port: port.map(|setting| setting.value),
        scheme,
    }))
}

fn scheme_named(text: String) -> Scheme {
    match text.as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => Scheme::Other(text),
    }
}

struct Prefix {
    prefix: Vec<u8>,
    translate: bool,
    /// `Some("")`: the scheme's own.
    force_port: Option<String>,
    scheme: Option<Scheme>,
}

impl Filter for Prefix {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        if self.fits(&cx.path_info) {
            cx.path_info.drain(..self.prefix.len());
        }
        if cx.path_info.is_empty() {
            cx.path_info.push(b'/');
        }
        cx.script_name.clone_from(&self.prefix);
        if self.translate && cx.trusted_peer {
            translate(cx, request);
        }
        if let Some(port) = &self.force_port {
            force(port, cx, request);
        }
        if let Some(scheme) = &self.scheme {
            cx.scheme = scheme.clone();
        }
        Flow::Next
    }
}

impl Prefix {
    /// `^prefix(.*)$`: a dot is any character but a line's end, and only the path's last one may be a line's end.
    fn fits(&self, path: &[u8]) -> bool {
        let Some((head, rest)) = path.split_at_checked(self.prefix.len()) else { return false };
        let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
        self.prefix.iter().zip(head).all(|(want, is)| want == is || (*want == b'.' && *is != b'\n'))
            && !rest.contains(&b'\n')
    }
}

/// Takes over what the proxy says; what was taken over is taken away.
fn translate(cx: &mut Context, request: &mut Request) {
    let headers = request.headers_mut();
    let mut taken = |name: &HeaderName| {
        let text = joined(headers, name)?.into_owned();
        headers.remove(name);
        Some(text)
    };
    let server = taken(&SERVER);
    let host = taken(&FORWARDED_HOST);
    let address = taken(&FOR);
    // Of these two the second stays where the first is.
    let scheme = taken(&SCHEME).or_else(|| taken(&PROTO));
    if let Some(server) = server.as_deref().map(first) {
        cx.set("SERVER_NAME", server);
        set_host(request, server);
    }
    if let Some(host) = host.as_deref().map(first) {
        set_host(request, host);
    }
    if let Some(address) = address.as_deref().map(first) {
        cx.remote_addr = RemoteAddr::Said(address.to_owned());
    }
    if let Some(scheme) = scheme {
        cx.scheme = scheme_named(scheme);
    }
}

/// The first of a list, blanks included.
fn first(list: &str) -> &str {
    list.split(',').next().unwrap_or_default()
}

fn set_host(request: &mut Request, host: &str) {
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(HOST, host);
    }
}

/// Everything from the first colon of `Host` on is the port to the original, also in `[::1]:80`.
fn force(port: &str, cx: &mut Context, request: &mut Request) {
    let host = joined(request.headers(), &HOST).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_owned();
    if port.is_empty() {
        cx.set("SERVER_PORT", if cx.scheme == Scheme::Http { "80" } else { "443" });
        set_host(request, &host);
    } else {
        cx.set("SERVER_PORT", port);
        set_host(request, &format!("{host}:{port}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::filter::harness::{Case, build, built};

    /// What PasteDeploy 1.5.2 and 3.1.0 did, alike; made by `integration/golden/paste/record.py`.
    const RECORDED: &str = include_str!("../../integration/golden/paste/prefix.json");

    fn pairs(value: &Value) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        value.as_object().expect("an object").iter().map(|(k, v)| (k.clone(), text(v))).collect()
    }

    #[test]
    fn the_environs_are_those_that_were_recorded() {
        let recorded: Vec<Value> = serde_json::from_str(RECORDED).expect("JSON");
        assert!(recorded.len() > 20);
        for recording in recorded {
            let local = pairs(&recording["options"]);
            let local: Vec<_> = local.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let mut case = Case::new("GET", recording["path"].as_str().expect("a path"));
            case.cx.script_name = recording["script"].as_str().expect("text").into();
            for (name, value) in pairs(&recording["headers"]) {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                case.request.headers_mut().append(name, value.parse().expect("a value"));
            }
            assert!(case.enter(&*built(&FACTORY, Release::NEWEST, &local, &[])).is_none());
            let mut seen = serde_json::Map::new();
            let mut put = |key: &str, value: String| seen.insert(key.to_owned(), value.into());
            put("SCRIPT_NAME", String::from_utf8(case.cx.script_name.clone()).expect("text"));
            put("PATH_INFO", String::from_utf8(case.cx.path_info.clone()).expect("text"));
            put("REMOTE_ADDR", case.cx.remote_addr.to_string());
            put("wsgi.url_scheme", case.cx.scheme.as_str().to_owned());
            for (key, default) in [("SERVER_NAME", "server"), ("SERVER_PORT", "8774")] {
                put(key, case.cx.get(key).and_then(Value::as_str).unwrap_or(default).to_owned());
            }
            for (name, value) in case.request.headers() {
                let key = format!("HTTP_{}", name.as_str().to_uppercase().replace('-', "_"));
                put(&key, value.to_str().expect("text").to_owned());
            }
            assert_eq!(Value::Object(seen), recording["environ"], "{recording}");
        }
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let mut case = Case::new("GET", "/james/x").header("host", "h").header("x-forwarded-host", "evil");
        case.cx.trusted_peer = false;
        assert!(case.enter(&*built(&FACTORY, Release::NEWEST, &[("prefix", "/james")], &[])).is_none());
        assert_eq!(case.request.headers()["host"], "h");
        assert_eq!(case.cx.path_info, b"/x");
    }

    #[test]
    fn a_prefix_that_is_an_expression_is_the_workers() {
        let (filter, left, _) = build(&FACTORY, Release::NEWEST, &[("prefix", "/(a|b)")], &[]);
        assert!(filter.is_none());
        assert_eq!(left.as_deref(), Some("its prefix is a regular expression"));
    }

    #[test]
    fn mistakes_are_told() {
        for (name, value, message) in [
            ("translate_forwarded_server", "maybe", "String is not true/false: \"maybe\""),
            ("force_port", "80\n", "`80\\n` is no port"),
            ("prefx", "/x", "[filter:tested] has no option `prefx`"),
        ] {
            let (_, _, findings) = build(&FACTORY, Release::NEWEST, &[(name, value)], &[]);
            assert_eq!(findings[0].message, message);
        }
    }
}
