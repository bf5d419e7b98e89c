//! `osprofiler`: nothing while profiling is off, which it is by default (`osprofiler.web:WsgiMiddleware`).
//!
//! With `[profiler] enabled` it traces inside the app, so the section is left to the worker.
//! Must not know what a trace is.

use super::prelude::*;

/// What it takes.
static OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "enabled",
        group: "profiler",
        default: "false",
        help: "whether requests with a signed trace header are traced, which the worker does",
    },
    OptionSpec { name: "hmac_keys", group: "profiler", default: "", help: "keys that sign trace headers" },
];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "osprofiler",
    about: "traces requests; the front passes them on while it is switched off",
    eras: "Ocata and later",
    aliases: &[
        "nova.profiler:WsgiMiddleware.factory",
        "osprofiler.web:WsgiMiddleware.factory",
        "egg:osprofiler#osprofiler",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    build.local("hmac_keys");
    let own = build.local("enabled");
    // A service that reads [profiler] switches the filter itself; the section's own option counts without it.
    let conf = build.conf("profiler", "enabled").or_else(|| build.conf("profiler", "profiler_enabled"));
    let setting = conf.or(own);
    if build.flag(setting, false) {
        return build.leave("profiling is enabled");
    }
    Some(Box::new(Osprofiler))
}

struct Osprofiler;

impl Filter for Osprofiler {
    fn sees_requests(&self) -> bool {
        false
    }

    fn sees_responses(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer, build, built, head};

    #[test]
    fn it_does_nothing_while_profiling_is_off() {
        let filter = built(&FACTORY, Release::NEWEST, &[("enabled", "yes")], &[("profiler", "enabled", "false")]);
        assert_eq!(head(&Case::new("GET", "/").through(&*filter, answer(200, &[]))), Vec::<String>::new());
    }

    #[test]
    fn it_is_left_to_the_worker_while_profiling_is_on() {
        let (filter, left, findings) = build(&FACTORY, Release::NEWEST, &[], &[("profiler", "enabled", "true")]);
        assert!(filter.is_none() && findings.is_empty());
        assert_eq!(left.as_deref(), Some("profiling is enabled"));
        let (filter, ..) = build(&FACTORY, Release::MITAKA, &[("enabled", "yes"), ("hmac_keys", "K")], &[]);
        assert!(filter.is_none());
    }
}
