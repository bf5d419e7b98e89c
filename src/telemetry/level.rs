//! Which events are worth a line: the root level and the levels of single loggers.
//!
//! Must not know how lines look.

use tracing::Level;
use tracing::level_filters::LevelFilter;

/// The lowest level that is logged, for all loggers and for some of them.
#[derive(Clone, Debug)]
pub struct Levels {
    root: LevelFilter,
    /// Longest name first, so that the first hit is the closest.
    overrides: Vec<(String, LevelFilter)>,
    most: LevelFilter,
}

/// Libraries whose debug lines tell about themselves, as `default_log_levels` has those of Python.
const LIBRARIES: &[&str] =
    &["axum", "h2", "hyper", "hyper_util", "mio", "notify", "reqwest", "rustls", "tokio", "tower"];

impl Levels {
    /// `overrides` as `default_log_levels` has them: a logger and the level for it and everything below it
    /// (`nova.wsgi` is below `nova`, `hyper::proto` below `hyper`). Of two for one name the later counts.
    /// The libraries that the front is built from are held to WARNING unless an override names them.
    pub fn new(root: LevelFilter, overrides: impl IntoIterator<Item = (String, LevelFilter)>) -> Self {
        let quiet = LIBRARIES.iter().map(|name| ((*name).to_owned(), LevelFilter::WARN));
        let mut overrides: Vec<_> = quiet.chain(overrides).collect();
        overrides.reverse();
        overrides.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let most = overrides.iter().map(|(_, level)| *level).fold(root, LevelFilter::max);
        Self { root, overrides, most }
    }

    /// The level of any logger that lets most through.
    pub(super) fn most(&self) -> LevelFilter {
        self.most
    }

    /// Whether an event of this level is logged for this logger.
    pub fn allow(&self, logger: &str, level: Level) -> bool {
        let of = self.overrides.iter().find(|(name, _)| is_below(logger, name)).map_or(self.root, |(_, level)| *level);
        level <= of
    }
}

fn is_below(logger: &str, name: &str) -> bool {
    logger.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':']))
}

/// A level by the name that Python's logging or oslo.log has for it (`WARN`, `WARNING`, `AUDIT`, …); case does not count.
pub fn level_named(name: &str) -> Option<LevelFilter> {
    Some(match name.trim().to_ascii_uppercase().as_str() {
        "TRACE" | "DEBUG" | "NOTSET" => LevelFilter::DEBUG,
        "INFO" | "AUDIT" => LevelFilter::INFO,
        "WARN" | "WARNING" => LevelFilter::WARN,
        // Critical events are errors that end the program: whoever asks for those alone gets errors too.
        "ERROR" | "CRITICAL" | "FATAL" => LevelFilter::ERROR,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_decides() {
        let levels = Levels::new(
            LevelFilter::INFO,
            [("nova".into(), LevelFilter::WARN), ("nova.wsgi".into(), LevelFilter::DEBUG)],
        );
        assert!(levels.allow("nova.wsgi", Level::DEBUG));
        assert!(levels.allow("nova.wsgi.server", Level::DEBUG));
        assert!(!levels.allow("nova.wsgix", Level::INFO));
        assert!(!levels.allow("nova.ec2.wsgi.server", Level::INFO));
        assert!(levels.allow("pasteway::reload", Level::INFO));
        assert_eq!(levels.most(), LevelFilter::DEBUG);
    }

    #[test]
    fn of_two_levels_for_one_logger_the_later_counts() {
        let levels =
            Levels::new(LevelFilter::INFO, [("a".into(), LevelFilter::DEBUG), ("a".into(), LevelFilter::ERROR)]);
        assert!(!levels.allow("a", Level::WARN));
    }

    #[test]
    fn libraries_are_quiet_unless_they_are_asked() {
        let levels = Levels::new(LevelFilter::DEBUG, [("rustls".into(), LevelFilter::DEBUG)]);
        assert!(!levels.allow("hyper::proto::h1", Level::DEBUG));
        assert!(levels.allow("rustls::server", Level::DEBUG));
    }

    #[test]
    fn levels_have_the_names_of_python() {
        assert_eq!(level_named("WARN"), Some(LevelFilter::WARN));
        assert_eq!(level_named("audit"), Some(LevelFilter::INFO));
        assert_eq!(level_named("LOUD"), None);
    }
}
