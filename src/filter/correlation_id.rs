//! `correlation_id`: a request without `X-Correlation-Id` gets a random one (oslo.middleware's `CorrelationId`, and
//! `nova.openstack.common.middleware.correlation_id` before it).
//!
//! Must not know who reads the ids.

use http::{HeaderName, HeaderValue};

use super::prelude::*;
use super::request_id::uuid;

/// No options of its own.
static OPTIONS: &[OptionSpec] = &[];

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "correlation_id",
    about: "gives an id to requests that bring none",
    eras: "Havana and later, where an operator adds it",
    aliases: &[
        "oslo_middleware:CorrelationId.factory",
        "oslo_middleware.correlation_id:CorrelationId.factory",
        "oslo.middleware:CorrelationId.factory",
        "oslo.middleware.correlation_id:CorrelationId.factory",
        "egg:oslo.middleware#correlation_id",
        "nova.openstack.common.middleware.correlation_id:CorrelationIdMiddleware.factory",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |build| {
        build.oslo_config();
        Some(Box::new(CorrelationId))
    },
};

struct CorrelationId;

impl Filter for CorrelationId {
    fn request(&self, _: &mut Context, request: &mut Request) -> Flow {
        let headers = request.headers_mut();
        if headers.get(CORRELATION_ID).is_none_or(HeaderValue::is_empty)
            && let Ok(id) = HeaderValue::try_from(uuid())
        {
            headers.insert(CORRELATION_ID, id);
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, built};

    fn id(mut case: Case) -> String {
        assert!(case.enter(&*built(&FACTORY, Release::NEWEST, &[], &[])).is_none());
        case.request.headers()[CORRELATION_ID].to_str().unwrap().to_owned()
    }

    #[test]
    fn an_id_stays_and_a_missing_or_empty_one_is_made() {
        assert_eq!(id(Case::new("GET", "/").header("x-correlation-id", "mine")), "mine");
        let (made, again) = (id(Case::new("GET", "/")), id(Case::new("GET", "/").header("x-correlation-id", "")));
        let places: Vec<_> = made.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((made.len(), places), (36, vec![8, 13, 18, 23]));
        assert_ne!(made, again);
    }
}
