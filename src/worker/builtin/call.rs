//! A request as the front hands it over: its mount and the WSGI values that travel in trusted headers.
//!
//! Must not know what answers it.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use percent_encoding::percent_decode;
use serde::Deserialize;

use crate::worker::wire;

/// The front's part of a request.
pub struct Call<'a> {
    /// Index of the mount.
    pub mount: usize,
    /// `SCRIPT_NAME`, decoded.
    pub script_name: Cow<'a, [u8]>,
    /// `PATH_INFO`, decoded.
    pub path_info: Cow<'a, [u8]>,
    /// The JSON object of further environ values; empty if there are none.
    pub environ: &'a [u8],
    headers: &'a HeaderMap,
}

/// The front did not say what a worker must know.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No mount, or no number.
    #[error("the request has no usable `x-pasteway-mount` header: it does not come from the front")]
    NoMount,
    /// Not a JSON object of the expected types.
    #[error("the `x-pasteway-environ` header cannot be understood: {0}")]
    Environ(#[from] serde_json::Error),
}

/// Environ values that the version apps read.
#[derive(Default, Deserialize)]
pub struct Known {
    /// Nova's urlmap's choice.
    #[serde(rename = "nova.best_content_type")]
    pub best_content_type: Option<String>,
    /// `http` or `https`
    #[serde(rename = "wsgi.url_scheme")]
    pub scheme: Option<String>,
    /// Set by `legacy_v2_compatible`.
    #[serde(rename = "openstack.legacy_v2", default)]
    pub legacy: bool,
    #[serde(rename = "SERVER_NAME")]
    server_name: Option<String>,
    #[serde(rename = "SERVER_PORT")]
    server_port: Option<String>,
}

impl<'a> Call<'a> {
    /// Reads the front's headers.
    ///
    /// # Errors
    /// [`CallError::NoMount`] for a request that did not come from the front.
    pub fn read(parts: &'a Parts) -> Result<Self, CallError> {
        let value = |name: HeaderName| parts.headers.get(name).map(|value| value.as_bytes());
        let mount = value(wire::MOUNT).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let path_info = value(wire::PATH_INFO).unwrap_or(parts.uri.path().as_bytes());
        Ok(Self {
            mount: mount.ok_or(CallError::NoMount)?,
            script_name: percent_decode(value(wire::SCRIPT_NAME).unwrap_or_default()).into(),
            path_info: percent_decode(path_info).into(),
            environ: value(wire::ENVIRON).unwrap_or_default(),
            headers: &parts.headers,
        })
    }

    /// The values that the version apps read.
    ///
    /// # Errors
    /// [`CallError::Environ`]
    pub fn known(&self) -> Result<Known, CallError> {
        if self.environ.is_empty() {
            return Ok(Known::default());
        }
        Ok(serde_json::from_slice(self.environ)?)
    }

    /// The `Host` header, else the server's name and port.
    pub fn host(&self, known: &Known) -> Cow<'a, str> {
        match (self.headers.get(header::HOST), &known.server_name, &known.server_port) {
            (Some(host), ..) => text(host.as_bytes()),
            (None, Some(name), Some(port)) => format!("{name}:{port}").into(),
            (None, Some(name), None) => name.clone().into(),
            (None, None, _) => "localhost".into(),
        }
    }
}

/// A header's bytes as text, the way WSGI has it: Latin-1.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text.into(),
        _ => bytes.iter().map(|b| char::from(*b)).collect::<String>().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, headers: &[(HeaderName, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_path_is_that_of_the_request_line_unless_the_front_says_otherwise() {
        let parts = parts("/v2/a%2Fb?q", &[(wire::MOUNT, "3")]);
        let call = Call::read(&parts).expect("a call");
        assert_eq!((call.mount, &*call.script_name, &*call.path_info), (3, &b""[..], &b"/v2/a/b"[..]));
    }

    #[test]
    fn script_name_and_path_info_are_decoded() {
        let parts = parts("/v2/x", &[(wire::MOUNT, "0"), (wire::SCRIPT_NAME, "/v%32"), (wire::PATH_INFO, "/%ff")]);
        let call = Call::read(&parts).expect("a call");
        assert_eq!((&*call.script_name, &*call.path_info), (&b"/v2"[..], &b"/\xff"[..]));
    }

    #[test]
    fn a_request_that_does_not_come_from_the_front_is_an_error() {
        assert!(matches!(Call::read(&parts("/", &[])), Err(CallError::NoMount)));
        assert!(matches!(Call::read(&parts("/", &[(wire::MOUNT, "-1")])), Err(CallError::NoMount)));
    }
}
