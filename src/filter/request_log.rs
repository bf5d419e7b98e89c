//! `request_log`: a line in the log for every answer (`nova.api.openstack.requestlog`, Pike and later).
//!
//! The original keeps silent under eventlet, whose server logs by itself; so does this one for every release whose
//! nova-api served with eventlet (up to Nova 31). The microversion is the one that the answer names.
//! Must not know where log lines go.

use std::borrow::Cow;

use http::header::CONTENT_LENGTH;

use super::prelude::*;

/// No options.
static OPTIONS: &[OptionSpec] = &[];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "request_log",
    about: "logs a line for every request",
    eras: "Pike and later",
    aliases: &["nova.api.openstack.requestlog:RequestLog.factory"],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |build| Some(Box::new(RequestLog { silent: build.release < Release::NOVA_32 })),
};

struct RequestLog {
    silent: bool,
}

impl Filter for RequestLog {
    fn sees_requests(&self) -> bool {
        false
    }

    fn sees_responses(&self) -> bool {
        !self.silent
    }

    fn response(&self, cx: &mut Context, request: &Request, response: &mut Response) {
        if !self.silent {
            let seconds = cx.started.elapsed().as_secs_f64();
            tracing::info!(target: "nova.api.openstack.requestlog", "{}", line(cx, request, response, seconds));
        }
    }
}

fn line(cx: &Context, request: &Request, response: &Response, seconds: f64) -> String {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let query = request.uri().query().filter(|query| !query.is_empty());
    format!(
        "{} \"{} {}{}{}{}\" status: {} len: {} microversion: {} time: {seconds:.6}",
        shown(cx.remote_addr.to_string().as_bytes()),
        request.method(),
        shown(&cx.script_name),
        shown(&cx.path_info),
        if query.is_some() { "?" } else { "" },
        query.unwrap_or_default(),
        response.status().as_u16(),
        header(CONTENT_LENGTH.as_str()).unwrap_or("0"),
        header("x-openstack-nova-api-version").unwrap_or("-"),
    )
}

/// Decoded text from a client, with control characters escaped: it must not be able to forge lines.
pub(super) fn shown(text: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(text);
    if !text.contains(char::is_control) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer};

    #[test]
    fn the_line_is_the_originals() {
        let mut case = Case::new("GET", "/servers?limit=1");
        case.cx.script_name = b"/v2.1".to_vec();
        let response = answer(200, &[("content-length", "15"), ("x-openstack-nova-api-version", "2.53")]);
        assert_eq!(
            line(&case.cx, &case.request, &response, 0.0123),
            "127.0.0.1 \"GET /v2.1/servers?limit=1\" status: 200 len: 15 microversion: 2.53 time: 0.012300"
        );
    }

    #[test]
    fn what_is_not_known_is_a_zero_and_a_dash() {
        let case = Case::new("DELETE", "/");
        assert_eq!(
            line(&case.cx, &case.request, &answer(204, &[]), 1.0),
            "127.0.0.1 \"DELETE /\" status: 204 len: 0 microversion: - time: 1.000000"
        );
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        let case = Case::new("GET", "/x\n6.6.6.6 \"GET");
        let line = line(&case.cx, &case.request, &answer(200, &[]), 0.0);
        assert!(line.starts_with("127.0.0.1 \"GET /x\\n6.6.6.6 \"GET\" status"), "{line}");
    }
}
