//! `ec2lockout`: an access key that fails too often is locked out for a while (`nova.api.ec2:Lockout`, Havana to
//! Liberty; in no default pipeline).
//!
//! Every 403 from below counts against the key. The original counts in memcached where `memcached_servers` is set, in
//! the process otherwise; here all threads share one count. Keys beyond [`MOST`] push the oldest out: who invents keys
//! gets no memory for each. Must not know why a request is forbidden.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use indexmap::IndexMap;

use super::{ACCESS_KEY, awaited_form, exception, hold_form, parameter};
use crate::filter::body::Whole;
use crate::filter::prelude::*;
use crate::filter::webob::webob;

/// Keys that are remembered at a time.
const MOST: usize = 16 * 1024;

/// All in nova.conf.
static OPTIONS: &[OptionSpec] = &[];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "ec2lockout",
    about: "locks out access keys that fail too often (lockout_attempts, lockout_minutes, lockout_window)",
    eras: "Havana to Liberty, where an operator adds it",
    aliases: &["nova.api.ec2:Lockout.factory"],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    if build.conf("DEFAULT", "memcached_servers").is_some_and(|servers| !servers.value.trim().is_empty()) {
        return build.leave("memcached_servers is set: the count is shared through memcached");
    }
    let attempts = build.conf("DEFAULT", "lockout_attempts");
    let attempts = build.integer(attempts, 5);
    let mut minutes = |name, default| {
        let setting = build.conf("DEFAULT", name);
        Duration::from_secs(60 * build.integer::<u32>(setting, default) as u64)
    };
    let (locked, window) = (minutes("lockout_minutes", 15), minutes("lockout_window", 15));
    Some(Box::new(Lockout { attempts, locked, window, failures: Mutex::default() }))
}

struct Lockout {
    attempts: u32,
    locked: Duration,
    window: Duration,
    /// By access key: how many, and until when they count.
    failures: Mutex<IndexMap<String, (u32, Instant)>>,
}

impl Filter for Lockout {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        match awaited_form(request) {
            Some(form) => Flow::Wait(form),
            None => self.decide(cx, request),
        }
    }

    fn resume(&self, cx: &mut Context, request: &mut Request, answer: Answer) -> Flow {
        let Ok(form) = answer.downcast::<Whole>() else { return Flow::Reply(exception(cx, request)) };
        match hold_form(cx, request, *form) {
            Ok(()) => self.decide(cx, request),
            Err(response) => Flow::Reply(response),
        }
    }

    fn response(&self, cx: &mut Context, _: &Request, response: &mut Response) {
        let key = cx.ec2.access_key.take();
        if response.status() == StatusCode::FORBIDDEN
            && let Some(key) = key
        {
            self.count(key, Instant::now());
        }
    }
}

impl Lockout {
    fn decide(&self, cx: &mut Context, request: &Request) -> Flow {
        // The original dies of a missing key.
        let Some(key) = parameter(request, ACCESS_KEY) else { return Flow::Reply(exception(cx, request)) };
        if self.failed(&key, cx.started) >= self.attempts {
            let detail = "Too many failed authentications.";
            return Flow::Reply(webob(cx.release, StatusCode::FORBIDDEN, None, detail, request));
        }
        cx.ec2.access_key = Some(key);
        Flow::Next
    }

    /// How often the key has failed of late.
    fn failed(&self, key: &str, now: Instant) -> u32 {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(key).filter(|(_, until)| *until > now).map_or(0, |(count, _)| *count)
    }

    fn count(&self, key: String, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut count, mut until) = failures.get(&key).copied().unwrap_or((0, now));
        if until <= now {
            (count, until) = (0, now + self.window);
        }
        count += 1;
        if count >= self.attempts {
            // The log names no key.
            tracing::warn!(
                target: "nova.api.ec2",
                "An access key has had {count} failed authentications and will be locked out for {} minutes.",
                self.locked.as_secs() / 60,
            );
            until = now + self.locked;
        }
        failures.shift_remove(&key);
        failures.insert(key, (count, until));
        if failures.len() > MOST {
            failures.shift_remove_index(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer, build as built_with, built, text};

    fn case() -> Case {
        Case::new("GET", "/?AWSAccessKeyId=AK").release(Release::HAVANA)
    }

    fn locked(filter: &dyn Filter, mut case: Case) -> bool {
        case.enter(filter).is_some_and(|response| text(response).contains(" Too many failed authentications.  "))
    }

    #[test]
    fn a_key_is_locked_out_after_its_attempts_and_no_other_is() {
        let filter = built(&FACTORY, Release::HAVANA, &[], &[("DEFAULT", "lockout_attempts", "2")]);
        for status in [403, 500, 403] {
            assert_eq!(case().through(&*filter, answer(status, &[])).status(), status);
        }
        assert!(locked(&*filter, case()));
        assert!(!locked(&*filter, Case::new("GET", "/?AWSAccessKeyId=other")));
        let form = Case::new("POST", "/").header("content-type", "application/x-www-form-urlencoded");
        assert!(locked(&*filter, form.body(Body::from("AWSAccessKeyId=AK")).release(Release::HAVANA)));
    }

    #[test]
    fn failures_are_forgotten_and_memory_is_bounded() {
        let lockout = Lockout {
            attempts: 2,
            locked: Duration::from_secs(60),
            window: Duration::from_secs(9),
            failures: Mutex::default(),
        };
        let now = Instant::now();
        lockout.count("a".to_owned(), now);
        assert_eq!(lockout.failed("a", now + Duration::from_secs(8)), 1);
        assert_eq!(lockout.failed("a", now + Duration::from_secs(9)), 0);
        for n in 0..MOST + 9 {
            lockout.count(n.to_string(), now);
        }
        assert_eq!(lockout.failures.lock().expect("no panic").len(), MOST);
    }

    #[test]
    fn without_a_key_it_is_the_original_s_crash_and_with_memcached_the_worker_s() {
        let filter = built(&FACTORY, Release::HAVANA, &[], &[]);
        let mut case = Case::new("GET", "/").release(Release::HAVANA);
        assert_eq!(case.enter(&*filter).map(|r| r.status().as_u16()), Some(500));
        let (filter, left, _) =
            built_with(&FACTORY, Release::HAVANA, &[], &[("DEFAULT", "memcached_servers", "localhost:11211")]);
        assert!(filter.is_none() && left.is_some_and(|why| why.contains("memcached")));
    }
}
