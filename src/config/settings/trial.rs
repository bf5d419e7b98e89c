//! How new generations are tried: confirmation, canary, and by how much one may be worse.
//!
//! Must not know how it is measured.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::reader::Reader;
use crate::config::options;

/// `reload_confirm*` and `canary_*`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialSettings {
    /// A reload that is not confirmed within this time is taken back; `None` = it need not be.
    pub confirm: Option<Duration>,
    /// So many more of 100 answers may be server errors.
    pub errors: u8,
    /// So many times as long may 99 of 100 requests take; `None` = any.
    pub p99: Option<u32>,
    /// Answers before anything is compared, at least 1.
    pub requests: u64,
    /// Of 100 requests so many try a new generation.
    pub share: u8,
    /// Requests with this field try it; without a value any is meant.
    pub header: Option<(HeaderName, Option<HeaderValue>)>,
    /// A canary that is no worse is promoted after this time; `None` = when it is confirmed.
    pub canary_time: Option<Duration>,
}

/// Reads them.
pub(super) fn trial(read: &mut Reader<'_>) -> TrialSettings {
    TrialSettings {
        confirm: read.timeout(&options::RELOAD_CONFIRM),
        errors: percent(read.get(&options::RELOAD_CONFIRM_ERRORS)),
        p99: Some(read.get(&options::RELOAD_CONFIRM_P99)).filter(|factor| *factor > 0),
        requests: read.get(&options::RELOAD_CONFIRM_REQUESTS),
        share: percent(read.get(&options::CANARY_SHARE)),
        header: header(read),
        canary_time: read.timeout(&options::CANARY_TIME),
    }
}

/// The kind of the option lets no more than 100 in.
fn percent(value: u32) -> u8 {
    value.try_into().unwrap_or(100)
}

fn header(read: &mut Reader<'_>) -> Option<(HeaderName, Option<HeaderValue>)> {
    let opt = &options::CANARY_HEADER;
    let text = read.get::<Option<String>>(opt)?;
    let (name, value) = match text.split_once(':') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (text.trim(), None),
    };
    if name.is_empty() && value.is_none() {
        return None;
    }
    let parsed = match (name.parse::<HeaderName>(), value.map(str::parse::<HeaderValue>)) {
        (Ok(name), None) => Some((name, None)),
        (Ok(name), Some(Ok(value))) => Some((name, Some(value))),
        _ => None,
    };
    if parsed.is_none() {
        read.error(opt, format!("canary_header: `{text}` is no header"), "write NAME or NAME:VALUE");
    }
    parsed
}
