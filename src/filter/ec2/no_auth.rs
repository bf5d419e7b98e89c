//! `ec2noauth`: any access key is a user, `USER[:PROJECT]` (`nova.api.ec2:NoAuth`, Havana to Liberty).
//!
//! A request without one is 400. The other half, in the worker, makes the context of it, and reads forms.
//! Must not know what the worker makes of a key.

use http::StatusCode;

use super::{ACCESS_KEY, is_form, parameter};
use crate::filter::prelude::*;
use crate::filter::webob::webob;

/// No options.
static OPTIONS: &[OptionSpec] = &[];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "ec2noauth",
    about: "takes everybody for who their access key says they are",
    eras: "Havana to Liberty",
    aliases: &["nova.api.ec2:NoAuth.factory"],
    side: Side::Both,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |_| Some(Box::new(NoAuth)),
};

struct NoAuth;

impl Filter for NoAuth {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        if is_form(request) || parameter(request, ACCESS_KEY).is_some() {
            Flow::Next
        } else {
            Flow::Reply(webob(cx.release, StatusCode::BAD_REQUEST, None, "", request))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, built, text};

    #[test]
    fn without_an_access_key_the_recorded_answer_comes() {
        let filter = built(&FACTORY, Release::HAVANA, &[], &[]);
        let response = Case::new("GET", "/").release(Release::HAVANA).enter(&*filter).expect("400");
        assert_eq!((response.status().as_u16(), &response.headers()["content-length"]), (400, &"119".parse().unwrap()));
        assert!(text(response).starts_with("400 Bad Request\n\nThe server could not comply"));
        assert!(Case::new("GET", "/?AWSAccessKeyId=u:p").enter(&*filter).is_none());
    }
}
