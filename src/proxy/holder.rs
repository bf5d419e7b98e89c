//! Who holds a generation: the requests that began with it and have not ended, without what they ask or who asks.
//!
//! Must not know connections.

use std::net::SocketAddr;
use std::time::Instant;

use http::Method;

use crate::id::ApiName;

/// So many are told of a generation: its oldest.
pub const HOLDERS: usize = 5;

/// A request that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The other end of its connection.
    pub peer: SocketAddr,
    /// The API that it is for.
    pub api: ApiName,
    /// The name of its method; `other` for those that are not registered, which clients make up.
    pub method: &'static str,
    /// When it began.
    pub began: Instant,
    /// Its client has gone away; a worker is still at it.
    pub client_gone: bool,
}

/// The method's name, and whether asking again does nothing that asking once has not done: such a request may be ended
/// for the sake of a drain.
pub fn method_word(method: &Method) -> (&'static str, bool) {
    match *method {
        Method::GET => ("GET", true),
        Method::HEAD => ("HEAD", true),
        Method::OPTIONS => ("OPTIONS", true),
        Method::TRACE => ("TRACE", true),
        // Nova answers a repeated DELETE or PUT otherwise than the first: who was cut off could not tell.
        Method::PUT => ("PUT", false),
        Method::DELETE => ("DELETE", false),
        Method::POST => ("POST", false),
        Method::PATCH => ("PATCH", false),
        Method::CONNECT => ("CONNECT", false),
        _ => ("other", false),
    }
}

/// Keeps the oldest of many.
#[derive(Debug, Default)]
pub struct Oldest(Vec<Holder>);

impl Oldest {
    /// One more.
    pub fn add(&mut self, holder: Holder) {
        if self.0.len() == HOLDERS && self.0.last().is_some_and(|last| last.began <= holder.began) {
            return;
        }
        let at = self.0.partition_point(|other| other.began <= holder.began);
        self.0.insert(at, holder);
        self.0.truncate(HOLDERS);
    }

    /// They, the oldest first.
    pub fn into_vec(self) -> Vec<Holder> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_many_requests_the_oldest_are_told() {
        let (now, mut oldest) = (Instant::now(), Oldest::default());
        let holder = |ms| Holder {
            peer: ([127, 0, 0, 1], 1).into(),
            api: "ec2".into(),
            method: "GET",
            began: now + Duration::from_millis(ms),
            client_gone: false,
        };
        [7, 3, 9, 1, 8, 2, 6].into_iter().for_each(|ms| oldest.add(holder(ms)));
        assert_eq!(oldest.into_vec(), [1, 2, 3, 6, 7].map(holder));
    }
}
