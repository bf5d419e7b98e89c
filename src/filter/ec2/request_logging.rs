//! `logrequest`: a line in the log for every answer (`nova.api.ec2:RequestLogging`, Havana to Liberty).
//!
//! Seconds and microseconds stand beside a dot and are not padded: `0.9327s` is 9.3 ms, as in the original. Its
//! `controller:action` is always `None:None` here: only the worker knows it.
//! Must not know where log lines go.

use std::time::Duration;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName};

use crate::filter::prelude::*;
use crate::filter::request_log::shown;

/// No options.
static OPTIONS: &[OptionSpec] = &[];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "logrequest",
    about: "logs a line for every EC2 or metadata request",
    eras: "Havana to Liberty",
    aliases: &["nova.api.ec2:RequestLogging.factory"],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |_| Some(Box::new(RequestLogging)),
};

struct RequestLogging;

impl Filter for RequestLogging {
    fn sees_requests(&self) -> bool {
        false
    }

    fn response(&self, cx: &mut Context, request: &Request, response: &mut Response) {
        tracing::info!(target: "nova.api.ec2", "{}", line(cx, request, response, cx.started.elapsed()));
    }
}

fn line(cx: &Context, request: &Request, response: &Response, took: Duration) -> String {
    format!(
        "{}.{}s {} {} {}{} None:None {} [{}] {} {}",
        took.as_secs(),
        took.subsec_micros(),
        shown(cx.remote_addr.to_string().as_bytes()),
        request.method(),
        shown(&cx.script_name),
        shown(&cx.path_info),
        response.status().as_u16(),
        text(request.headers(), &USER_AGENT).unwrap_or_else(|| "None".to_owned()),
        // eventlet fills in what Python's mimetools takes for granted.
        content_type(request.headers()).unwrap_or_else(|| "text/plain".to_owned()),
        content_type(response.headers()).unwrap_or_else(|| "None".to_owned()),
    )
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| shown(value.as_bytes()).into_owned())
}

/// Without its parameters.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = text(headers, &CONTENT_TYPE)?;
    text.split(';').next().map(|name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer};

    #[test]
    fn the_recorded_line_is_ours() {
        let mut case = Case::new("GET", "/?Signature=x");
        case.cx.script_name = b"/services/Cloud".to_vec();
        let response = answer(400, &[("content-type", "text/xml")]);
        assert_eq!(
            line(&case.cx, &case.request, &response, Duration::from_micros(7858)),
            "0.7858s 127.0.0.1 GET /services/Cloud/ None:None 400 [None] text/plain text/xml"
        );
        let case = Case::new("POST", "/").header("user-agent", "boto\t2").header("content-type", "a/b; c=d");
        assert_eq!(
            line(&case.cx, &case.request, &answer(204, &[]), Duration::new(3, 12_000)),
            "3.12s 127.0.0.1 POST / None:None 204 [boto\\t2] a/b None"
        );
    }
}
