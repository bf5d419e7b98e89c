//! Which factory names of Paste files stand for which native filters.

use super::{
    Factory, Makes, authtoken, basic_auth, catch_errors, compress, compute_req_id, correlation_id, cors, ec2,
    faultwrap, healthcheck, http_proxy_to_wsgi, keystonecontext, legacy_v2_compatible, metadata, noauth, osprofiler,
    paste_gzip, paste_objects, prefix, ratelimit, request_id, request_log, sizelimit, ssl, translogger, versions,
};

/// Every native filter and app, in the order in which they are shown.
pub static FACTORIES: &[&Factory] = &[
    &cors::FACTORY,
    &http_proxy_to_wsgi::FACTORY,
    &compute_req_id::FACTORY,
    &request_id::FACTORY,
    &correlation_id::FACTORY,
    &catch_errors::FACTORY,
    &ssl::FACTORY,
    &faultwrap::FACTORY,
    &request_log::FACTORY,
    &sizelimit::FACTORY,
    &osprofiler::FACTORY,
    &authtoken::FACTORY,
    &authtoken::CLIENT_FACTORY,
    &basic_auth::FACTORY,
    &keystonecontext::FACTORY,
    &noauth::FACTORY,
    &noauth::FACTORY_WITHOUT_PROJECT,
    &ratelimit::FACTORY,
    &ratelimit::V3_FACTORY,
    &legacy_v2_compatible::FACTORY,
    &ec2::fault_wrapper::FACTORY,
    &ec2::request_logging::FACTORY,
    &ec2::lockout::FACTORY,
    &ec2::keystone_auth::FACTORY,
    &ec2::no_auth::FACTORY,
    &healthcheck::FACTORY,
    &healthcheck::APP_FACTORY,
    &metadata::FACTORY,
    &versions::FACTORY,
    &versions::OWN_FACTORY,
    &prefix::FACTORY,
    &translogger::FACTORY,
    &paste_objects::HTTPEXCEPTIONS,
    &paste_objects::ERROR_CATCHER,
    &paste_objects::CGITB,
    &paste_objects::REGISTRY,
    &paste_objects::CONFIG,
    &paste_gzip::FACTORY,
    &compress::FACTORY,
];

/// The native filter that replaces a factory, by any of the spellings used since Havana.
pub fn find(factory: &str) -> Option<&'static Factory> {
    FACTORIES.iter().copied().find(|f| f.aliases.contains(&factory))
}

/// Like [`find`], for a name that stands for a filter in one place and for an app in another, as entry points of
/// a distribution do (`egg:oslo.middleware#healthcheck`).
pub fn find_as(makes: Makes, factory: &str) -> Option<&'static Factory> {
    FACTORIES.iter().copied().find(|f| f.makes == makes && f.aliases.contains(&factory))
}

/// Whether a factory is the front's own, so that no Python program has it.
pub fn is_of_the_front(factory: &str) -> bool {
    let dist = factory.strip_prefix("egg:").and_then(|egg| egg.split_once('#')).map(|(dist, _)| dist);
    dist.is_some_and(|dist| dist.eq_ignore_ascii_case("pasteway")) || factory.starts_with("pasteway:")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_spelling_stands_for_two_filters_or_two_apps() {
        let mut seen = HashSet::new();
        for factory in FACTORIES {
            for alias in factory.aliases {
                assert!(seen.insert((factory.makes == Makes::App, alias)), "{alias}");
            }
        }
    }

    #[test]
    fn every_spelling_of_a_filter_of_the_front_is_told_from_pythons() {
        for factory in FACTORIES {
            let of_the_front = factory.name == "compress";
            assert!(factory.aliases.iter().all(|alias| is_of_the_front(alias) == of_the_front), "{}", factory.name);
        }
    }

    #[test]
    fn a_name_may_stand_for_a_filter_and_an_app() {
        let egg = "egg:oslo.middleware#healthcheck";
        assert_eq!(find_as(Makes::Filter, egg).map(|f| f.makes), Some(Makes::Filter));
        assert_eq!(find_as(Makes::App, egg).map(|f| f.makes), Some(Makes::App));
        assert!(find("nova.api.openstack:FaultWrapper.factory").is_some());
        assert!(find("my.own:filter").is_none());
    }
}
