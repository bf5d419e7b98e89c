//! `compute_req_id`: like `request_id`, with Nova's own header (`nova.api.compute_req_id`, Juno and later).
//!
//! Up to Ocata it was Nova's own code and its only header was `x-compute-request-id`; since Pike it stands on
//! oslo.middleware and adds that one after `x-openstack-request-id`.
//! Must not know who reads the ids.

use http::HeaderName;

use super::prelude::*;
use super::request_id::{OPENSTACK, RequestId};

/// No options of its own.
static OPTIONS: &[OptionSpec] = &[];

const COMPUTE: HeaderName = HeaderName::from_static("x-compute-request-id");
static OWN: [HeaderName; 1] = [COMPUTE];
static BOTH: [HeaderName; 2] = [OPENSTACK, COMPUTE];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "compute_req_id",
    about: "gives every request an id, and tells it in the answer",
    eras: "Juno and later",
    aliases: &["nova.api.compute_req_id:ComputeReqIdMiddleware.factory"],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |build| {
        build.oslo_config();
        Some(Box::new(if build.release < Release::PIKE {
            RequestId { takes_global: false, headers: &OWN }
        } else {
            RequestId { takes_global: true, headers: &BOTH }
        }))
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer, built, head};

    fn headers(release: Release) -> Vec<String> {
        let filter = built(&FACTORY, release, &[], &[]);
        let mut case = Case::new("GET", "/");
        let response = case.through(&*filter, answer(404, &[]));
        let id = case.cx.get("openstack.request_id").and_then(|id| id.as_str()).expect("an id");
        head(&response).iter().map(|h| h.replace(id, "ID")).collect()
    }

    #[test]
    fn pike_brought_the_second_header() {
        assert_eq!(headers(Release::JUNO), ["x-compute-request-id: ID"]);
        assert_eq!(headers(Release::PIKE), ["x-openstack-request-id: ID", "x-compute-request-id: ID"]);
    }
}
