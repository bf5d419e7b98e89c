//! `ec2faultwrap`: exceptions from below become EC2's error document (`nova.api.ec2:FaultWrapper`, Havana to Liberty).
//!
//! Here it only marks the request; whoever makes the error asks [`exception`](super::exception). Exceptions of the app
//! are caught by its other half, in the worker. Must not know what errors there are.

use crate::filter::prelude::*;

/// No options.
static OPTIONS: &[OptionSpec] = &[];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "ec2faultwrap",
    about: "answers errors from below as EC2's error document",
    eras: "Havana to Liberty",
    aliases: &["nova.api.ec2:FaultWrapper.factory"],
    side: Side::Both,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |_| Some(Box::new(FaultWrapper)),
};

struct FaultWrapper;

impl Filter for FaultWrapper {
    fn request(&self, cx: &mut Context, _: &mut Request) -> Flow {
        cx.ec2.faultwrap = true;
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::ec2::exception;
    use crate::filter::harness::{Case, built, text};

    #[test]
    fn an_exception_below_is_an_error_document_when_the_request_has_an_access_key() {
        let filter = built(&FACTORY, Release::HAVANA, &[], &[]);
        let mut case = Case::new("GET", "/?AWSAccessKeyId=u").release(Release::HAVANA);
        assert_eq!(exception(&case.cx, &case.request).headers()["content-type"], "text/plain; charset=UTF-8");
        assert!(case.enter(&*filter).is_none());
        let response = exception(&case.cx, &case.request);
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (500, &"text/xml".parse().unwrap())
        );
        assert!(text(response).contains("<Code>HTTPInternalServerError</Code><Message>The server has either erred"));
        let mut without = Case::new("GET", "/").release(Release::HAVANA);
        assert!(without.enter(&*filter).is_none());
        assert_eq!(exception(&without.cx, &without.request).status(), 400);
    }
}
