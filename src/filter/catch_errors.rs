//! `catch_errors`: errors from below become WebOb's page of a 500 (oslo.middleware's `CatchErrors`, and
//! `nova.openstack.common.middleware.catch_errors` before it).
//!
//! Here it only marks the request; whoever makes the error answers with the page when the mark is there. Exceptions of
//! the app are caught, and logged with their tokens masked, by its other half in the worker.
//! Must not know what errors there are.

use super::prelude::*;

/// No options of its own.
static OPTIONS: &[OptionSpec] = &[];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "catch_errors",
    about: "answers errors from below as plain error pages",
    eras: "Havana and later, where an operator adds it",
    aliases: &[
        "oslo_middleware:CatchErrors.factory",
        "oslo_middleware.catch_errors:CatchErrors.factory",
        "oslo.middleware:CatchErrors.factory",
        "oslo.middleware.catch_errors:CatchErrors.factory",
        "egg:oslo.middleware#catch_errors",
        "nova.openstack.common.middleware.catch_errors:CatchErrorsMiddleware.factory",
    ],
    side: Side::Both,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |build| {
        build.oslo_config();
        Some(Box::new(CatchErrors))
    },
};

struct CatchErrors;

impl Filter for CatchErrors {
    fn request(&self, cx: &mut Context, _: &mut Request) -> Flow {
        (cx.catch_errors, cx.faultwrap) = (true, false);
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::faultwrap;
    use crate::filter::harness::{Case, built};

    #[test]
    fn the_inner_of_two_that_catch_is_the_one_that_answers() {
        let (catch, wrap) =
            (built(&FACTORY, Release::NEWEST, &[], &[]), built(&faultwrap::FACTORY, Release::NEWEST, &[], &[]));
        let mut case = Case::new("GET", "/");
        assert!(case.enter(&*wrap).is_none() && case.enter(&*catch).is_none());
        assert!(case.cx.catch_errors && !case.cx.faultwrap);
        assert!(case.enter(&*wrap).is_none());
        assert!(case.cx.faultwrap && !case.cx.catch_errors);
    }
}
