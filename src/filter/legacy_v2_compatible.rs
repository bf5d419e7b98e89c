//! `legacy_v2_compatible`: the v2.1 code answers as v2 did (`nova.api.openstack:LegacyV2CompatibleWrapper`, Liberty
//! and later).
//!
//! The microversion headers are taken out of the request and of the answer, and the app is told by the environ.
//! Must not know what the app then leaves out.

use http::header::VARY;
use http::{HeaderName, HeaderValue};

use super::prelude::*;

/// No options.
static OPTIONS: &[OptionSpec] = &[];

const VERSION: HeaderName = HeaderName::from_static("openstack-api-version");
const NOVA_VERSION: HeaderName = HeaderName::from_static("x-openstack-nova-api-version");

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "legacy_v2_compatible",
    about: "has the v2.1 code answer as v2 did",
    eras: "Liberty and later",
    aliases: &["nova.api.openstack:LegacyV2CompatibleWrapper.factory"],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |_| Some(Box::new(LegacyV2Compatible)),
};

struct LegacyV2Compatible;

impl Filter for LegacyV2Compatible {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        request.headers_mut().remove(NOVA_VERSION);
        request.headers_mut().remove(VERSION);
        cx.set("openstack.legacy_v2", true);
        Flow::Next
    }

    fn response(&self, _: &mut Context, _: &Request, response: &mut Response) {
        let headers = response.headers_mut();
        headers.remove(NOVA_VERSION);
        headers.remove(VERSION);
        let http::header::Entry::Occupied(vary) = headers.entry(VARY) else { return };
        let (name, values) = vary.remove_entry_mult();
        let kept: Vec<_> = values.filter_map(without_versions).collect();
        for value in kept {
            headers.append(name.clone(), value);
        }
    }
}

/// A value of `Vary` without the names of the two headers; `None` if nothing is left of it.
fn without_versions(value: HeaderValue) -> Option<HeaderValue> {
    let Ok(text) = value.to_str() else { return Some(value) };
    let is_version = |item: &&str| {
        let item = item.trim();
        [VERSION, NOVA_VERSION].iter().any(|name| item.eq_ignore_ascii_case(name.as_str()))
    };
    if !text.split(',').any(|item| is_version(&item)) {
        return Some(value);
    }
    let kept: Vec<_> = text.split(',').filter(|item| !is_version(item)).map(str::trim).collect();
    HeaderValue::from_str(&kept.join(", ")).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer, built, head};

    #[test]
    fn the_app_is_told_and_sees_no_microversion() {
        let mut case = Case::new("GET", "/")
            .header("openstack-api-version", "compute 2.53")
            .header("x-openstack-nova-api-version", "2.53");
        assert!(case.enter(&*built(&FACTORY, Release::NEWEST, &[], &[])).is_none());
        assert!(case.request.headers().is_empty());
        assert_eq!(case.cx.get("openstack.legacy_v2"), Some(&true.into()));
    }

    #[test]
    fn the_answer_shows_none_and_keeps_the_rest_of_vary() {
        let filter = built(&FACTORY, Release::NEWEST, &[], &[]);
        let below = answer(
            200,
            &[
                ("openstack-api-version", "compute 2.1"),
                ("x-openstack-nova-api-version", "2.1"),
                ("vary", "OpenStack-API-Version"),
                ("vary", "Accept, X-OpenStack-Nova-API-Version, Origin"),
                ("vary", "Cookie"),
                ("etag", "x"),
            ],
        );
        let mut left = head(&Case::new("GET", "/").through(&*filter, below));
        left.sort();
        assert_eq!(left, ["etag: x", "vary: Accept, Origin", "vary: Cookie"]);
    }
}
