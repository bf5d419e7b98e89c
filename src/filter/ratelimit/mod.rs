//! `ratelimit`, `legacy_ratelimit`, `ratelimit_v3`: so many requests of a kind per user and time (Nova's
//! `RateLimitingMiddleware`, Havana to Mitaka).
//!
//! The pattern of a limit is held against the whole URL, `http://host:port/...`, from its beginning: `^/servers`, which
//! the defaults have, matches nothing. Who the user is was decided by keystonecontext or noauth above; without them all
//! are one. The original counts in each worker process by itself; here a limit is one for the whole API, and so means
//! what it says. `limits.USER` gives a user limits of its own. Times are those of the arrival of requests.
//! Must not know how a user was found out.

mod buckets;
mod pattern;
mod rules;

use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use smallvec::SmallVec;

use super::fault::over_limit;
use super::prelude::*;
use crate::config::Setting;
use buckets::{Buckets, Level, Verdict};
use rules::{BadRules, Rule};

/// What it takes.
static OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "limits",
        group: "",
        default: "",
        help: "(VERB, URI, REGEX, VALUE, UNIT) with semicolons between them; empty = the release's own limits",
    },
    OptionSpec { name: "limits.<user_id>", group: "", default: "", help: "the same for one user; empty = no limit" },
    OptionSpec {
        name: "limiter",
        group: "",
        default: "nova.api.openstack.compute.limits.Limiter",
        help: "the class that counts; with another one the worker does",
    },
];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "ratelimit",
    about: "lets each user make so many requests of a kind in a time",
    eras: "Havana to Mitaka, where api_rate_limit is set",
    aliases: &[
        "nova.api.openstack.compute.limits:RateLimitingMiddleware.factory",
        "nova.api.openstack.compute.legacy_v2.limits:RateLimitingMiddleware.factory",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |build| self::build(build, false),
};

/// The filter in the registry, with the limits of Havana's v3.
pub static V3_FACTORY: Factory = Factory {
    name: "ratelimit_v3",
    about: "the same, with v3's own limits",
    eras: "Havana",
    aliases: &["nova.api.openstack.compute.plugins.v3.limits:RateLimitingMiddleware.factory"],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |build| self::build(build, true),
};

/// The class that is built in, by all its names.
const LIMITERS: &[&str] = &[
    "nova.api.openstack.compute.limits.Limiter",
    "nova.api.openstack.compute.legacy_v2.limits.Limiter",
    "nova.api.openstack.compute.plugins.v3.limits.Limiter",
];

fn build(build: &mut Build<'_>, is_v3: bool) -> Option<Box<dyn Filter>> {
    let limits = build.local("limits");
    let limiter = build.local("limiter");
    let users = build.local_by_prefix("limits.");
    if let Some(limiter) = limiter.filter(|setting| !LIMITERS.contains(&setting.value.trim())) {
        return build.leave(format!("the limiter `{}` is Python", limiter.value));
    }
    let own = match limits {
        Some(setting) => parse(build, &setting)?,
        None => Vec::new(),
    };
    let rules = if own.is_empty() { rules::defaults(is_v3) } else { own };
    let mut of_users = HashMap::new();
    for (user, setting) in users {
        if let Ok(user) = HeaderValue::from_str(&user) {
            of_users.insert(user, parse(build, &setting)?.into_boxed_slice());
        }
    }
    Some(Box::new(RateLimit { rules: rules.into(), of_users, buckets: Buckets::default(), start: Instant::now() }))
}

/// The limits of an option. `None` when it is wrong, which is reported, or the worker's.
fn parse(build: &mut Build<'_>, setting: &Setting) -> Option<Vec<Rule>> {
    match rules::parse(&setting.value) {
        Ok(rules) => Some(rules),
        Err(error @ BadRules::Wrong(_)) => {
            build.error(Some(setting), error.to_string(), "write (VERB, URI, REGEX, VALUE, UNIT); (...)");
            None
        }
        Err(BadRules::Foreign(why)) => build.leave(why),
    }
}

struct RateLimit {
    rules: Box<[Rule]>,
    of_users: HashMap<HeaderValue, Box<[Rule]>>,
    buckets: Buckets,
    /// The moment from which [`Buckets`] count seconds.
    start: Instant,
}

impl Filter for RateLimit {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        let user = cx.user_id.as_ref();
        let rules = user.and_then(|user| self.of_users.get(user)).unwrap_or(&self.rules);
        let hit = hit(cx, request, rules);
        let now = cx.started.saturating_duration_since(self.start).as_secs_f64();
        match self.buckets.count(user.map(HeaderValue::as_bytes), rules, &hit, now) {
            Verdict::Room(levels) => {
                cx.set_json("nova.limits", shown(rules, &levels));
                Flow::Next
            }
            Verdict::Over(index, delay) => {
                let message = rules.get(index).map_or("", |rule| &rule.message);
                Flow::Reply(over_limit(cx, request, message, delay.ceil() as u64))
            }
        }
    }

    fn sees_responses(&self) -> bool {
        false
    }
}

/// Which of the limits a request counts for.
fn hit(cx: &Context, request: &Request, rules: &[Rule]) -> SmallVec<[bool; 8]> {
    let (verb, mut url) = (request.method().as_str(), None);
    let hit = |rule: &Rule| {
        *rule.verb == *verb
            && match &rule.pattern {
                pattern::Pattern::Any => true,
                pattern => pattern.begins(url.get_or_insert_with(|| cx.url(request))),
            }
    };
    rules.iter().map(hit).collect()
}

/// The limits as the app's `GET /limits` reads them in the environ; `resetTime` in seconds since 1970.
fn shown(rules: &[Rule], levels: &[Level]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut text = String::with_capacity(rules.iter().map(|rule| rule.shown.len() + 64).sum::<usize>() + 2);
    text.push('[');
    for (rule, level) in rules.iter().zip(levels) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&rule.shown);
        // Several times cheaper than the formatting machinery.
        let mut digits = itoa::Buffer::new();
        text.push_str(digits.format(level.remaining));
        text.push_str(",\"resetTime\":");
        text.push_str(digits.format((now + level.wait) as u64));
        text.push('}');
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests;
