//! `faultwrap`: errors from below become Nova faults (`nova.api.openstack:FaultWrapper`, Havana and later).
//!
//! Here it only marks the request; whoever makes the error answers with [`fault`](super::fault::fault) when the mark
//! is there. Exceptions of the app are caught by its other half, in the worker.
//! Must not know what errors there are.

use super::prelude::*;

/// No options.
static OPTIONS: &[OptionSpec] = &[];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "faultwrap",
    about: "answers errors from below as Nova's faults",
    eras: "Havana and later",
    aliases: &["nova.api.openstack:FaultWrapper.factory"],
    side: Side::Both,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |_| Some(Box::new(FaultWrap)),
};

struct FaultWrap;

impl Filter for FaultWrap {
    fn request(&self, cx: &mut Context, _: &mut Request) -> Flow {
        (cx.faultwrap, cx.catch_errors) = (true, false);
        Flow::Next
    }

    fn sees_responses(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, built};

    #[test]
    fn a_request_that_has_entered_it_is_marked() {
        let filter = built(&FACTORY, Release::HAVANA, &[], &[]);
        let mut case = Case::new("GET", "/");
        assert!(!case.cx.faultwrap);
        assert!(case.enter(&*filter).is_none());
        assert!(case.cx.faultwrap);
    }
}
