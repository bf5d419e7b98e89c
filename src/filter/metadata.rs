//! `metadata`: what the metadata app can refuse, or tell, without its database
//! (`nova.api.metadata.handler:MetadataRequestHandler`, Havana and later).
//!
//! The app is the worker's. In front of it, the list of versions at `/` is answered, and where Neutron's proxy passes
//! requests on (`service_metadata_proxy`), one that is not complete gets 400 and one that is not signed with the shared
//! secret gets 403. What a release's answer is not known for is left to the app, which checks everything again.
//! Must not know what an instance's metadata are.

use aws_lc_rs::{constant_time, hmac};
use http::{HeaderName, StatusCode};

use super::headers::joined;
use super::prelude::*;
use super::reply::reply;
use super::webob::webob;
use crate::id::hex;

/// What it takes.
static OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "service_metadata_proxy",
        group: "neutron",
        default: "false",
        help: "whether requests come through Neutron's proxy, signed",
    },
    OptionSpec {
        name: "metadata_proxy_shared_secret",
        group: "neutron",
        default: "",
        help: "what that proxy signs with",
    },
];

static INSTANCE: HeaderName = HeaderName::from_static("x-instance-id");
static SIGNATURE: HeaderName = HeaderName::from_static("x-instance-id-signature");
static TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
static PROVIDER: HeaderName = HeaderName::from_static("x-metadata-provider");
static PROVIDER_SIGNATURE: HeaderName = HeaderName::from_static("x-metadata-provider-signature");
static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

const VERSIONS: &str = "1.0\n2007-01-19\n2007-03-01\n2007-08-29\n2007-10-10\n2007-12-15\n2008-02-01\n2008-09-01\n\
                        2009-04-04\nlatest";

/// The app in the registry.
pub static FACTORY: Factory = Factory {
    name: "metadata",
    about: "checks the signatures of Neutron's metadata proxy before the app does",
    eras: "Havana and later",
    aliases: &["nova.api.metadata.handler:MetadataRequestHandler.factory"],
    side: Side::Both,
    makes: Makes::App,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    let enabled = build.conf("neutron", "service_metadata_proxy");
    let secret = build.conf("neutron", "metadata_proxy_shared_secret").map(|s| s.value).unwrap_or_default();
    let key = build.flag(enabled, false).then(|| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    Some(Box::new(Metadata { release: build.release, key, has_secret: !secret.is_empty() }))
}

struct Metadata {
    release: Release,
    /// `None` where requests do not come through Neutron's proxy.
    key: Option<hmac::Key>,
    has_secret: bool,
}

impl Filter for Metadata {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        if is_root(&cx.path_info) {
            return match self.versions_type().filter(|_| cx.health.health().is_ok()) {
                Some(content_type) => Flow::Reply(reply(request, StatusCode::OK, content_type, VERSIONS.to_owned())),
                None => Flow::Next,
            };
        }
        let Some(key) = &self.key else { return Flow::Next };
        match self.refuse(key, request) {
            Some((status, why)) => Flow::Reply(webob(self.release, status, Some(why), "", request)),
            None => Flow::Next,
        }
    }
}

impl Metadata {
    /// The type of the list of versions, where it is known.
    fn versions_type(&self) -> Option<&'static str> {
        match self.release {
            Release::HAVANA => Some("text/html; charset=UTF-8"),
            release if release >= Release::KILO => Some("text/plain; charset=UTF-8"),
            _ => None,
        }
    }

    /// Why a request cannot be Neutron's.
    fn refuse(&self, key: &hmac::Key, request: &Request) -> Option<(StatusCode, &'static str)> {
        const UNSIGNED: (StatusCode, &str) = (StatusCode::FORBIDDEN, "Invalid proxy request signature.");
        let missing = |why| Some((StatusCode::BAD_REQUEST, why));
        let header = |name: &HeaderName| joined(request.headers(), name);
        if let Some(provider) = header(&PROVIDER).filter(|id| !id.is_empty() && self.release >= Release::KILO) {
            // The load balancers of NSX, which Kilo may know or not.
            if self.release == Release::KILO {
                return None;
            }
            if header(&FOR).is_none() {
                return missing("X-Forwarded-For is missing from request.");
            }
            let signature = header(&PROVIDER_SIGNATURE).unwrap_or_default();
            return (self.has_secret && !is_signed(key, &provider, &signature)).then_some(UNSIGNED);
        }
        let (Some(instance), signature, tenant) = (header(&INSTANCE), header(&SIGNATURE), header(&TENANT)) else {
            return missing("X-Instance-ID header is missing from request.");
        };
        let Some(signature) = signature else {
            // Before Kilo, comparing with nothing was an error of another kind.
            let said = missing("X-Instance-ID-Signature header is missing from request.");
            return said.filter(|_| self.release >= Release::KILO);
        };
        if tenant.is_none() {
            return missing("X-Tenant-ID header is missing from request.");
        }
        (!is_signed(key, &instance, &signature)).then_some(UNSIGNED)
    }
}

/// Whether `signature` is the one of `id`, in lower-case hex. Takes the same time wherever they differ.
fn is_signed(key: &hmac::Key, id: &str, signature: &str) -> bool {
    // Python 3 signs other bytes than those of the header then; the app shall judge.
    if !id.is_ascii() {
        return true;
    }
    let expected = hex(hmac::sign(key, id.as_bytes()).as_ref());
    constant_time::verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).is_ok()
}

/// Whether `os.path.normpath` makes `/` of a path: to it, two slashes at the beginning are not one.
fn is_root(path: &[u8]) -> bool {
    if !path.starts_with(b"/") || (path.starts_with(b"//") && !path.starts_with(b"///")) {
        return false;
    }
    let mut depth = 0_usize;
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    depth == 0
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

    use super::*;
    use crate::filter::harness::{Case, built, text};

    /// HMAC-SHA256 of `i1` with `secret`, by Python's hmac.
    const SIGNED: &str = "26122fd58ee390d41c2a3801bed38888f184106de48992aaa8371e4d5fb55f5f";

    fn proxied(release: Release) -> Box<dyn Filter> {
        let conf =
            [("neutron", "service_metadata_proxy", "true"), ("neutron", "metadata_proxy_shared_secret", "secret")];
        built(&FACTORY, release, &[], &conf)
    }

    fn case(headers: &[(&'static str, &str)]) -> Case {
        headers.iter().fold(Case::new("GET", "/latest"), |case, (name, value)| case.header(name, value))
    }

    fn told(release: Release, headers: &[(&'static str, &str)]) -> Option<(u16, String)> {
        let answer = case(headers).release(release).enter(&*proxied(release))?;
        Some((answer.status().as_u16(), text(answer).lines().nth(2).unwrap_or_default().to_owned()))
    }

    #[test]
    fn the_recorded_list_of_versions_is_ours() {
        let filter = built(&FACTORY, Release::HAVANA, &[], &[]);
        let response = Case::new("GET", "/").release(Release::HAVANA).enter(&*filter).expect("the list");
        assert_eq!(response.headers()[CONTENT_LENGTH], "98");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=UTF-8");
        assert_eq!(text(response).lines().count(), 10);
        let response = Case::new("GET", "/./x/..").enter(&*proxied(Release::NEWEST)).expect("the list");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=UTF-8");
    }

    #[test]
    fn only_what_python_takes_for_the_root_is_answered_and_only_in_health() {
        for (path, is) in
            [("/", true), ("///", true), ("/..", true), ("/.", true), ("//", false), ("", false), ("/a", false)]
        {
            assert_eq!(is_root(path.as_bytes()), is, "{path}");
        }
        assert!(Case::new("GET", "/").sick("no worker").enter(&*proxied(Release::NEWEST)).is_none());
        assert!(Case::new("GET", "/").enter(&*built(&FACTORY, Release::JUNO, &[], &[])).is_none());
    }

    #[test]
    fn without_neutrons_proxy_everything_is_the_apps() {
        assert!(case(&[("x-instance-id", "i1")]).enter(&*built(&FACTORY, Release::NEWEST, &[], &[])).is_none());
    }

    #[test]
    fn a_signed_request_goes_on() {
        let signed = [("x-instance-id", "i1"), ("x-tenant-id", "t1"), ("x-instance-id-signature", SIGNED)];
        for release in [Release::HAVANA, Release::NEWEST] {
            assert_eq!(told(release, &signed), None);
        }
        let provider =
            [("x-metadata-provider", "i1"), ("x-forwarded-for", "10.0.0.2"), ("x-metadata-provider-signature", SIGNED)];
        assert_eq!(told(Release::NEWEST, &provider), None);
    }

    #[test]
    fn what_is_missing_gets_400() {
        let missing = |what: &str| Some((400, format!("{what} missing from request.")));
        assert_eq!(told(Release::NEWEST, &[]), missing("X-Instance-ID header is"));
        assert_eq!(told(Release::NEWEST, &[("x-instance-id", "i1")]), missing("X-Instance-ID-Signature header is"));
        assert_eq!(told(Release::HAVANA, &[("x-instance-id", "i1")]), None);
        let signed = [("x-instance-id", "i1"), ("x-instance-id-signature", SIGNED)];
        assert_eq!(told(Release::HAVANA, &signed), missing("X-Tenant-ID header is"));
        assert_eq!(told(Release::NEWEST, &[("x-metadata-provider", "p")]), missing("X-Forwarded-For is"));
    }

    #[test]
    fn a_wrong_signature_gets_403() {
        let refused = Some((403, "Invalid proxy request signature.".to_owned()));
        for signature in ["", "x", &SIGNED.to_uppercase(), &format!("{SIGNED}0")] {
            let headers = [("x-instance-id", "i1"), ("x-tenant-id", "t1"), ("x-instance-id-signature", signature)];
            assert_eq!(told(Release::NEWEST, &headers), refused, "{signature}");
            assert_eq!(told(Release::HAVANA, &headers), refused, "{signature}");
        }
        let provider = [("x-metadata-provider", "p"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(told(Release::NEWEST, &provider), refused);
        assert_eq!(told(Release::KILO, &provider), None);
    }
}
