//! The word for how a worker is chosen: the configuration reads it, the pools obey it.

use std::str::FromStr;

/// How the next worker is chosen among those that have room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests.
    #[default]
    LeastRequest,
    /// Of two random ones, that with the shorter expected wait: its recent answer time, longer where answers fail, by its
    /// requests in flight.
    P2cEwma,
    /// One after the other.
    RoundRobin,
}

impl Balance {
    /// Every word, the default first.
    pub const WORDS: &[&str] = &["least_request", "p2c_ewma", "round_robin"];

    /// The value of `balance`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeastRequest => "least_request",
            Self::P2cEwma => "p2c_ewma",
            Self::RoundRobin => "round_robin",
        }
    }
}

/// No such word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is one of least_request, p2c_ewma, round_robin")]
pub struct UnknownBalance;

impl FromStr for Balance {
    type Err = UnknownBalance;

    fn from_str(word: &str) -> Result<Self, UnknownBalance> {
        let all = [Self::LeastRequest, Self::P2cEwma, Self::RoundRobin];
        all.into_iter().find(|balance| balance.as_str() == word).ok_or(UnknownBalance)
    }
}
