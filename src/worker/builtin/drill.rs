//! What the query string of a request asks the stand-in to act out; the table stands in [the module](super).
//!
//! Must not know how it is acted out.

use std::num::ParseIntError;
use std::time::Duration;

use http::StatusCode;

/// When the worker kills itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Before the head of the response.
    BeforeHead,
    /// After half of its body.
    InBody,
}

/// A request's drill; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drill {
    /// Time to wait before the head.
    pub delay: Option<Duration>,
    /// Status instead of the app's.
    pub status: Option<StatusCode>,
    /// Bytes to send instead of the app's body.
    pub size: Option<u64>,
    /// No `Content-Length`.
    pub chunked: bool,
    /// The request's body instead of the app's.
    pub echo: bool,
    /// MiB to take, and to keep as long as the worker lives.
    pub memory: Option<u16>,
    /// Whether and when to die.
    pub exit: Option<Exit>,
}

/// The query asks for something that is no drill.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// Of the right name.
    #[error("`pasteway.{0}={1}` is not a drill")]
    Value(String, String),
    /// Not even that.
    #[error("`pasteway.{0}` is not a drill: there are delay, status, size, chunked, echo, memory and exit")]
    Name(String),
}

impl Drill {
    /// Reads the query string; parameters that do not begin with `pasteway.` are the app's.
    ///
    /// # Errors
    /// A parameter that cannot be understood: a test should not pass because its drill was misspelt.
    pub fn parse(query: &str) -> Result<Self, DrillError> {
        let mut drill = Self::default();
        for parameter in query.split('&') {
            let Some(parameter) = parameter.strip_prefix("pasteway.") else { continue };
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            drill.set(name, value)?;
        }
        Ok(drill)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), DrillError> {
        let wrong = || DrillError::Value(name.to_owned(), value.to_owned());
        let number = |_: ParseIntError| wrong();
        let switch = || match value {
            "1" => Ok(true),
            "0" => Ok(false),
            _ => Err(wrong()),
        };
        match name {
            "delay" => self.delay = Some(Duration::from_millis(value.parse().map_err(number)?)),
            "memory" => self.memory = Some(value.parse().map_err(number)?),
            "size" => self.size = Some(value.parse().map_err(number)?),
            "chunked" => self.chunked = switch()?,
            "echo" => self.echo = switch()?,
            "status" => {
                let code: u16 = value.parse().map_err(number)?;
                // 1xx is no final status.
                self.status = Some(StatusCode::from_u16(code).ok().filter(|_| code >= 200).ok_or_else(wrong)?);
            }
            "exit" if value == "1" => self.exit = Some(Exit::BeforeHead),
            "exit" if value == "body" => self.exit = Some(Exit::InBody),
            "exit" => return Err(wrong()),
            _ => return Err(DrillError::Name(name.to_owned())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_the_app_are_no_drill() {
        assert_eq!(Drill::parse("limit=3&marker=pasteway.exit=1").expect("no drill"), Drill::default());
    }

    #[test]
    fn drills_are_read_beside_other_parameters() {
        let drill = Drill::parse("a=b&pasteway.size=9&pasteway.chunked=1&pasteway.exit=body").expect("a drill");
        let want = Drill { size: Some(9), chunked: true, exit: Some(Exit::InBody), ..Drill::default() };
        assert_eq!(drill, want);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for query in
            ["pasteway.delay=long", "pasteway.status=100", "pasteway.exit=", "pasteway.size=-1", "pasteway.x=1"]
        {
            assert!(Drill::parse(query).is_err(), "{query}");
        }
    }
}
