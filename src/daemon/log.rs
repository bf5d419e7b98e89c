//! The log as nova.conf wants it, in the terms of the telemetry.

use crate::config::settings::{LogSettings, Settings};
use crate::telemetry::{Destination, Formats, Levels, LogConfig, LogStyle};

/// The telemetry's configuration from the log options.
pub fn config(settings: &Settings) -> LogConfig {
    let _: &LogSettings = &settings.log;
    todo_after_settings()
}
