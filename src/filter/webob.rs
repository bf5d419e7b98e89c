//! Error pages as WebOb renders a `webob.exc` exception that nobody turned into a Nova fault (WebOb 1.2 to 1.8).
//!
//! Must not know why a request failed.

use http::header::ACCEPT;
use http::{Method, StatusCode};

use super::python::{html_escape, is_python3, json_string};
use super::reply::{reply, title};
use super::{Request, Response, accept, headers};
use crate::release::Release;

/// The three forms of a page.
enum Form {
    Plain,
    Html,
    Json,
}

/// The page for `status`, in the form that the client's `Accept` gets from the WebOb of that release.
///
/// `explanation` is the sentence of the exception's class when `None`; `detail` may be empty.
pub fn webob(
    release: Release,
    status: StatusCode,
    explanation: Option<&str>,
    detail: &str,
    request: &Request,
) -> Response {
    // HEAD gets what the exception is before it writes its page (`WSGIHTTPException.__call__`): an empty response.
    if request.method() == Method::HEAD {
        return reply(request, status, "text/html; charset=UTF-8", String::new());
    }
    let explanation = explanation.unwrap_or_else(|| self::explanation(status));
    let title = title(status);
    let line = format!("{} {title}", status.as_u16());
    match form(release, request) {
        // The spaces are what is left of the HTML template's line ends.
        Form::Plain => {
            let body = format!("{line}\n\n{explanation}\n\n {detail}  ");
            reply(request, status, "text/plain; charset=UTF-8", body)
        }
        Form::Html => {
            let python3 = is_python3(release);
            let body = format!(
                "<html>\n <head>\n  <title>{line}</title>\n </head>\n <body>\n  <h1>{line}</h1>\n  \
                 {}<br /><br />\n{}\n\n\n </body>\n</html>",
                html_escape(explanation, python3),
                html_escape(detail, python3),
            );
            reply(request, status, "text/html; charset=UTF-8", body)
        }
        Form::Json => {
            let message = json_string(&format!("{explanation}<br /><br />\n{detail}\n\n"));
            let body = format!("{{\"message\": {message}, \"code\": \"{line}\", \"title\": \"{title}\"}}");
            reply(request, status, "application/json", body)
        }
    }
}

/// The sentence that WebOb's exception class for a status says.
pub fn explanation(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => {
            "This server could not verify that you are authorized to access the document you requested. Either you \
             supplied the wrong credentials (e.g., bad password), or your browser does not understand how to supply \
             the credentials required."
        }
        403 => "Access was denied to this resource.",
        404 => "The resource could not be found.",
        408 => "The server has waited too long for the request to be sent by the client.",
        409 => "There was a conflict when trying to complete your request.",
        410 => "This resource is no longer available. No forwarding address is given.",
        411 => "Content-Length header required.",
        412 => "Request precondition failed.",
        413 => "The body of your request was too large for this server.",
        414 => "The request URI was too long for this server.",
        416 => "The Range requested is not available.",
        417 => "Expectation failed.",
        422 => "Unable to process the contained instructions",
        429 => "The client has sent too many requests in a given amount of time",
        502 => "Bad gateway.",
        503 => "The server is currently unavailable. Please try again at a later time.",
        504 => "The gateway has timed out.",
        505 => "The HTTP version is not supported.",
        507 => "There was not enough space to save the resource",
        500.. => "The server has either erred or is incapable of performing the requested operation.",
        // HTTPClientError's own, which 405, 406 and 415 have too.
        400.. => "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        _ => "",
    }
}

/// WebOb up to 1.5 looked for words, 1.6 let JSON win ties, 1.7 and later follow RFC 7231 and know no plain text.
fn form(release: Release, request: &Request) -> Form {
    const JSON: &str = "application/json";
    const HTML: &str = "text/html";
    let text = headers::joined(request.headers(), &ACCEPT).unwrap_or_default();
    let best = if release < Release::NEWTON {
        (text.contains("html") || text.contains("*/*")).then_some(HTML)
    } else if release < Release::PIKE {
        accept::best_match(&text, &[JSON, HTML, "text/plain"]).filter(|b| b.quality > 0.0).map(|b| b.offer)
    } else {
        accept::acceptable(&text, &[HTML, JSON])
    };
    match best {
        Some(HTML) => Form::Html,
        Some(JSON) => Form::Json,
        _ => Form::Plain,
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

    use super::*;
    use crate::filter::harness::{Case, text};

    const LARGE: StatusCode = StatusCode::PAYLOAD_TOO_LARGE;
    const MODERN: &str = "Request is too large. Larger than max_request_body_size (%s).";

    fn content_type(release: Release, accept: &str) -> String {
        let request = Case::new("GET", "/").header("accept", accept).request;
        let response = webob(release, LARGE, None, "", &request);
        response.headers()[CONTENT_TYPE].to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_plain_page_has_the_recorded_bytes() {
        let get = Case::new("GET", "/").request;
        let response = webob(Release::HAVANA, LARGE, Some("Request is too large."), "", &get);
        assert_eq!(response.headers()[CONTENT_LENGTH], "56");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=UTF-8");
        assert_eq!(text(response), "413 Request Entity Too Large\n\nRequest is too large.\n\n   ");

        let response = webob(Release::HAVANA, StatusCode::FORBIDDEN, None, "Timestamp failed validation.", &get);
        assert_eq!(response.headers()[CONTENT_LENGTH], "83");
        assert!(text(response).ends_with("\n\nAccess was denied to this resource.\n\n Timestamp failed validation.  "));
    }

    #[test]
    fn an_html_page_has_the_recorded_bytes() {
        let request = Case::new("POST", "/").header("accept", "text/html").request;
        let response = webob(Release::NOVA_31, LARGE, Some(MODERN), "", &request);
        assert_eq!(response.headers()[CONTENT_LENGTH], "213");
        assert_eq!(
            text(response),
            "<html>\n <head>\n  <title>413 Request Entity Too Large</title>\n </head>\n <body>\n  \
             <h1>413 Request Entity Too Large</h1>\n  \
             Request is too large. Larger than max_request_body_size (%s).<br /><br />\n\n\n\n </body>\n</html>"
        );
    }

    #[test]
    fn a_json_page_has_the_recorded_bytes() {
        let request = Case::new("POST", "/").header("accept", "application/json").request;
        let response = webob(Release::NOVA_31, LARGE, Some(MODERN), "", &request);
        assert_eq!(response.headers()[CONTENT_LENGTH], "171");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(
            text(response),
            r#"{"message": "Request is too large. Larger than max_request_body_size (%s).<br /><br />\n\n\n", "code": "413 Request Entity Too Large", "title": "Request Entity Too Large"}"#
        );
    }

    #[test]
    fn each_era_reads_accept_in_its_own_way() {
        for (accept, havana, ocata, today) in [
            ("*/*", "text/html", "application/json", "text/html"),
            ("application/json", "text/plain", "application/json", "application/json"),
            ("text/plain", "text/plain", "text/plain", "text/plain"),
            ("application/xml", "text/plain", "text/plain", "text/plain"),
            ("text/*", "text/plain", "text/html", "text/html"),
            ("application/xhtml+xml", "text/html", "text/plain", "text/plain"),
            ("application/json;q=0", "text/plain", "text/plain", "text/plain"),
            ("text/html;q=0.5, application/json", "text/html", "application/json", "application/json"),
            ("", "text/plain", "text/plain", "text/plain"),
        ] {
            assert_eq!(content_type(Release::HAVANA, accept), havana, "havana {accept:?}");
            assert_eq!(content_type(Release::OCATA, accept), ocata, "ocata {accept:?}");
            assert_eq!(content_type(Release::NEWEST, accept), today, "today {accept:?}");
        }
    }

    #[test]
    fn classes_without_words_of_their_own_have_their_parents() {
        let said = |code: u16| explanation(StatusCode::from_u16(code).unwrap());
        assert_eq!((said(405), said(501)), (said(400), said(500)));
        assert!(!said(429).ends_with('.') && said(411).starts_with("Content-Length"));
        assert_eq!(said(200), "");
    }

    #[test]
    fn text_from_outside_is_escaped_in_html() {
        let request = Case::new("GET", "/").header("accept", "*/*").request;
        let page = text(webob(Release::NEWEST, StatusCode::BAD_REQUEST, Some("<b>"), "it's", &request));
        assert!(page.contains("  &lt;b&gt;<br /><br />\nit&#x27;s\n"), "{page}");
    }
}
