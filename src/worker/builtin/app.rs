//! Which app a mount is, as far as the stand-in knows apps.
//!
//! Must not know requests.

use crate::worker::manifest::Mount;

/// What answers for a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum App {
    /// Nova's list of versions.
    Versions,
    /// One version's own document (Ussuri and later).
    OwnVersion {
        /// `legacy_v2_compatible` stands in front of it.
        legacy: bool,
    },
    /// Anything else: a picture of the request.
    StandIn,
}

const VERSIONS: &str = "nova.api.openstack.compute.versions:Versions.factory";
const OWN_VERSION: &str = "nova.api.openstack.compute.versions:VersionsV2.factory";
const LEGACY: &str = "nova.api.openstack:LegacyV2CompatibleWrapper.factory";
/// Filters that do nothing to a version document: their work is on exceptions, and the documents raise none.
const WITHOUT_EFFECT: &[&str] = &[
    "nova.api.openstack:FaultWrapper.factory",
    "oslo_middleware:CatchErrors.factory",
    "oslo_middleware.catch_errors:CatchErrors.factory",
    "oslo.middleware:CatchErrors.factory",
    "egg:oslo.middleware#catch_errors",
];

impl App {
    /// The app of a mount. A filter that the stand-in cannot stand in for makes the whole mount a picture.
    pub fn of(mount: &Mount) -> Self {
        let Some((last, filters)) = mount.contexts.split_last() else { return Self::StandIn };
        let mut legacy = false;
        for filter in filters {
            match filter.factory.as_str() {
                LEGACY => legacy = true,
                factory if WITHOUT_EFFECT.contains(&factory) => {}
                _ => return Self::StandIn,
            }
        }
        match last.factory.as_str() {
            VERSIONS => Self::Versions,
            OWN_VERSION => Self::OwnVersion { legacy },
            _ => Self::StandIn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::manifest::MountContext;

    fn app(factories: &[&str]) -> App {
        let context = |factory: &&str| MountContext {
            section: "x".into(),
            factory: (*factory).into(),
            kind: "filter".into(),
            file: "api-paste.ini".into(),
            line: 1,
            ..Default::default()
        };
        App::of(&Mount { contexts: factories.iter().map(context).collect() })
    }

    #[test]
    fn the_version_app_is_known_alone_and_behind_filters_that_do_not_matter_to_it() {
        assert_eq!(app(&[VERSIONS]), App::Versions);
        assert_eq!(app(&["nova.api.openstack:FaultWrapper.factory", VERSIONS]), App::Versions);
        assert_eq!(app(&[OWN_VERSION]), App::OwnVersion { legacy: false });
        assert_eq!(app(&[LEGACY, OWN_VERSION]), App::OwnVersion { legacy: true });
    }

    #[test]
    fn an_unknown_filter_makes_the_mount_a_picture() {
        assert_eq!(app(&["my.filters:Audit.factory", VERSIONS]), App::StandIn);
        assert_eq!(app(&["nova.api.openstack.compute:APIRouter.factory"]), App::StandIn);
        assert_eq!(app(&[]), App::StandIn);
    }
}
