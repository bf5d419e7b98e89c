//! `request_id`: every request gets an id, for the worker and in the answer (oslo.middleware's `RequestId`, and
//! Juno's own `nova.openstack.common.middleware.request_id`).
//!
//! Since Pike (oslo.middleware 3.27) a well-formed id that the caller sends is handed on as the global request id; it
//! never becomes the request's own.
//! Must not know who reads the ids.

use http::{HeaderName, HeaderValue};

use super::headers::single;
use super::prelude::*;

/// No options of its own.
static OPTIONS: &[OptionSpec] = &[];

/// The header of the id, in answers and from callers.
pub(super) const OPENSTACK: HeaderName = HeaderName::from_static("x-openstack-request-id");
static HEADERS: [HeaderName; 1] = [OPENSTACK];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "request_id",
    about: "gives every request an id, and tells it in the answer",
    eras: "Juno to Kilo, and other services",
    aliases: &[
        "oslo_middleware:RequestId.factory",
        "oslo_middleware.request_id:RequestId.factory",
        "oslo.middleware:RequestId.factory",
        "oslo.middleware.request_id:RequestId.factory",
        "egg:oslo.middleware#request_id",
        "egg:keystone#request_id",
        "nova.openstack.common.middleware.request_id:RequestIdMiddleware.factory",
        "cinder.openstack.common.middleware.request_id:RequestIdMiddleware.factory",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |build| {
        build.oslo_config();
        Some(Box::new(RequestId { takes_global: build.release >= Release::PIKE, headers: &HEADERS }))
    },
};

/// A filter that gives ids and shows them in `headers`.
pub(super) struct RequestId {
    /// Whether a caller's id is handed on.
    pub takes_global: bool,
    /// What carries the id in the answer.
    pub headers: &'static [HeaderName],
}

impl Filter for RequestId {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        cx.set("openstack.request_id", generate());
        if self.takes_global {
            let theirs = single(request.headers(), &OPENSTACK).and_then(|id| id.to_str().ok());
            if let Some(id) = theirs.filter(|id| is_request_id(id)) {
                cx.set("openstack.global_request_id", id);
            }
        }
        Flow::Next
    }

    fn response(&self, cx: &mut Context, _: &Request, response: &mut Response) {
        let id = cx.get("openstack.request_id").and_then(|id| id.as_str());
        let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) else { return };
        for name in self.headers {
            response.headers_mut().entry(name).or_insert_with(|| id.clone());
        }
    }
}

/// `req-` and a random UUID.
pub(super) fn generate() -> String {
    let mut id = String::with_capacity(40);
    id.push_str("req-");
    push_uuid(&mut id);
    id
}

/// A random UUID. It names a request in logs and guards nothing, so a quick generator will do.
pub(super) fn uuid() -> String {
    let mut text = String::with_capacity(36);
    push_uuid(&mut text);
    text
}

/// Formatting it piece by piece takes five times as long.
fn push_uuid(text: &mut String) {
    let random = fastrand::u128(..) & !(0xf000 << 64 | 0xc000 << 48) | 0x4000 << 64 | 0x8000 << 48;
    for (at, byte) in random.to_be_bytes().into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
}

fn digit(nibble: u8) -> char {
    char::from(if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble })
}

/// `req-` and a UUID in lower case.
fn is_request_id(text: &str) -> bool {
    let Some(uuid) = text.strip_prefix("req-") else { return false };
    uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer, built, head};

    const THEIRS: &str = "req-11111111-1111-1111-1111-111111111111";

    fn global(release: Release, theirs: &str) -> Option<String> {
        let mut case = Case::new("GET", "/").header("x-openstack-request-id", theirs);
        assert!(case.enter(&*built(&FACTORY, release, &[], &[])).is_none());
        let own = case.cx.get("openstack.request_id").and_then(|id| id.as_str()).expect("an id");
        assert_ne!(own, theirs);
        case.cx.get("openstack.global_request_id").and_then(|id| id.as_str()).map(str::to_owned)
    }

    #[test]
    fn ids_are_random_uuids_of_version_four() {
        let id = generate();
        assert!(is_request_id(&id), "{id}");
        assert_eq!(&id[18..19], "4", "{id}");
        assert!("89ab".contains(&id[23..24]), "{id}");
        assert_ne!(id, generate());
    }

    #[test]
    fn the_answer_shows_the_id_that_the_worker_got() {
        let filter = built(&FACTORY, Release::JUNO, &[], &[]);
        let mut case = Case::new("GET", "/");
        let response = case.through(&*filter, answer(500, &[]));
        let id = case.cx.get("openstack.request_id").and_then(|id| id.as_str()).expect("an id");
        assert_eq!(head(&response), [format!("x-openstack-request-id: {id}")]);
    }

    #[test]
    fn an_id_from_below_stays() {
        let filter = built(&FACTORY, Release::NEWEST, &[], &[]);
        let response = Case::new("GET", "/").through(&*filter, answer(200, &[("x-openstack-request-id", "theirs")]));
        assert_eq!(head(&response), ["x-openstack-request-id: theirs"]);
    }

    #[test]
    fn a_callers_id_is_global_if_it_is_well_formed_and_the_release_knows_of_it() {
        assert_eq!(global(Release::PIKE, THEIRS).as_deref(), Some(THEIRS));
        assert_eq!(global(Release::OCATA, THEIRS), None);
        for bad in
            ["abc", "req-", "req-1111111111111-1111-1111-111111111111", "REQ-11111111-1111-1111-1111-111111111111"]
        {
            assert_eq!(global(Release::PIKE, bad), None, "{bad}");
        }
        let twice = Case::new("GET", "/").header("x-openstack-request-id", THEIRS);
        let mut twice = twice.header("x-openstack-request-id", THEIRS);
        assert!(twice.enter(&*built(&FACTORY, Release::PIKE, &[], &[])).is_none());
        assert!(!twice.cx.has("openstack.global_request_id"));
        assert_eq!(global(Release::PIKE, &format!("{THEIRS}0")), None);
        assert_eq!(global(Release::PIKE, &THEIRS.replace("111-", "11A-")), None);
    }
}
