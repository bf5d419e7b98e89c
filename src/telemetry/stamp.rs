//! The time of a log line: formatted once a second, then copied.
//!
//! Must not know what the line says.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::format::{Item, StrftimeItems};
use chrono::{Local, TimeZone};

use super::percent::FormatError;

/// The time since 1970 by the wall clock.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A compiled `log_date_format`.
#[derive(Clone, Debug, Default)]
pub(super) struct DateFormat(Vec<Item<'static>>);

impl DateFormat {
    pub(super) fn compile(format: &str) -> Result<Self, FormatError> {
        StrftimeItems::new(format).parse_to_owned().map(Self).map_err(|_| FormatError::Date(format.to_owned()))
    }
}

/// The local time of one second as text.
#[derive(Debug)]
pub(super) struct Stamp {
    format: DateFormat,
    second: Option<u64>,
    text: String,
}

impl Stamp {
    pub(super) fn new(format: DateFormat) -> Self {
        Self { format, second: None, text: String::new() }
    }

    /// The text for `now` (since 1970).
    pub(super) fn at(&mut self, now: Duration) -> &str {
        if self.second != Some(now.as_secs()) {
            self.second = Some(now.as_secs());
            self.text.clear();
            let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            if let Some(time) = Local.timestamp_opt(seconds, 0).single() {
                // A directive that cannot be shown leaves the text as far as it got.
                let _ = write!(self.text, "{}", time.format_with_items(self.format.0.iter()));
            }
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_follows_the_second() {
        let mut stamp = Stamp::new(DateFormat::compile("%Y-%m-%d %H:%M:%S").expect("a good format"));
        let first = stamp.at(Duration::from_secs(1_389_206_478)).to_owned();
        assert_eq!(first.len(), "2014-01-08 18:41:18".len());
        assert!(first.starts_with("2014-01-0"), "{first}");
        assert_eq!(stamp.at(Duration::from_millis(1_389_206_478_999)), first);
        assert_ne!(stamp.at(Duration::from_secs(1_389_206_479)), first);
    }

    #[test]
    fn a_date_format_that_strftime_does_not_know_is_refused() {
        assert_eq!(DateFormat::compile("%Y %Q").err(), Some(FormatError::Date("%Y %Q".into())));
    }
}
