//! `authtoken`: who sends a request, by the word of Keystone (`keystoneclient.middleware.auth_token` in Havana and
//! Icehouse, `keystonemiddleware.auth_token` since).
//!
//! ```text
//! request ─▶ tokens ─▶ [TokenCache::peek] ─ all known ─▶ judge ─▶ headers, or 401, 503, 500
//!                           │ not known                    ▲
//!                           ▼                              │ resume
//!                       [Flights] ─▶ control runtime: [TokenCache::get] ─▶ [Keystone::validate] ─▶ put
//! ```
//!
//! A known token is judged without waiting; its headers were made when Keystone's answer came ([`Identity`]). What is
//! not known is asked on the control runtime, once for all who want to know it. Which release of the original answers
//! is an [`Era`]. Tokens that are signed are verified without asking Keystone for each ([`Pki`]).
//! Must not know what becomes of the request.
//!
//! [`Identity`]: identity::Identity

mod ask;
mod bind;
mod cache;
mod catalog;
mod era;
mod flights;
mod identity;
mod keystone;
mod options;
mod overlay;
mod pki;
mod refusal;
mod rules;
mod secret;
mod shared;
#[cfg(test)]
mod tests;
mod token;

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use http::HeaderName;
use http::header::WWW_AUTHENTICATE;
use smallvec::SmallVec;

use self::ask::{Asker, Wall};
use self::cache::TokenCache;
use self::era::Era;
use self::flights::Verdict;
use self::identity::{Flaw, joined};
use self::keystone::Keystone;
use self::options::Policy;
use self::overlay::{CONFIRMED, INVALID, SERVICE_STATUS, STATUS};
use self::pki::Pki;
use self::rules::Asked;
use self::token::{Entry, TokenKey};
use super::TokenFacts;
use super::context::quote_path;
use super::headers;
use super::identity::is_identity_header;
use super::prelude::*;

/// The filter in the registry, as Juno and later have it.
pub static FACTORY: Factory = Factory {
    name: "authtoken",
    about: "lets in who has a token that Keystone knows, and says who it is",
    eras: "Juno and later",
    aliases: &[
        "keystonemiddleware.auth_token:filter_factory",
        "keystonemiddleware.auth_token:AuthProtocol.factory",
        "egg:keystonemiddleware#auth_token",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: options::OPTIONS,
    build: |build| build_of(build, false),
};

/// The filter in the registry, as Havana and Icehouse have it.
pub static CLIENT_FACTORY: Factory = Factory {
    name: "authtoken_keystoneclient",
    about: "the same, as python-keystoneclient had it",
    eras: "Havana and Icehouse",
    aliases: &["keystoneclient.middleware.auth_token:filter_factory", "keystone.middleware.auth_token:filter_factory"],
    side: Side::Front,
    makes: Makes::Filter,
    options: options::OPTIONS,
    build: |build| build_of(build, true),
};

const USER_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const STORAGE_TOKEN: HeaderName = HeaderName::from_static("x-storage-token");
const SERVICE_TOKEN: HeaderName = HeaderName::from_static("x-service-token");

fn build_of(build: &mut Build<'_>, client: bool) -> Option<Box<dyn Filter>> {
    let era = options::era(build, client);
    if !client && era >= Era::KSM_4_5 {
        build.unknown = Some(|name| format!("The option \"{name}\" is not known to keystonemiddleware"));
    }
    options::take_the_rest(build);
    let policy = Policy::take(build, era);
    let uri = options::uri(build, era);
    // All report what is wrong, whatever the others find.
    let (cache, keystone, pki) = (TokenCache::build(build, era), Keystone::build(build, era), Pki::build(build, era));
    let (cache, keystone, pki) = (cache?, keystone?, pki?);
    let asker = Asker::new(era, policy.catalog, policy.delay, cache, keystone, pki, uri);
    Some(Box::new(AuthToken { era, policy, asker: Arc::new(asker), warned: AtomicBool::new(false) }))
}

struct AuthToken {
    era: Era,
    policy: Policy,
    asker: Arc<Asker>,
    /// Whether the log knows that valid tokens of anybody are taken for service tokens.
    warned: AtomicBool,
}

/// What is known of the tokens of a request; `None` for one that it has not.
#[derive(Default)]
struct Heard {
    user: Option<Verdict>,
    service: Option<Verdict>,
}

/// Why the original stops in the middle.
enum Stop {
    Unavailable,
    Broken,
}

impl Filter for AuthToken {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        strip(request);
        cx.token = None;
        let [user, service] = self.tokens(request);
        let user = user.as_deref().filter(|token| !token.is_empty());
        let service = service.as_deref().filter(|token| !token.is_empty());
        let tally = self.asker.tally(&cx.outside.metrics);
        let wall = Wall::new(SystemTime::now);
        let known = |token: &[u8]| self.asker.known(token, cx.now, &wall, tally);
        let heard = match (user, service) {
            (None, None) => Some(Heard::default()),
            (Some(user), None) => known(user).map(|verdict| Heard { user: Some(verdict), service: None }),
            // Whether an expired token is good is for the service token to say, so both must be known.
            (user, Some(service)) => {
                let (service, user) = (known(service), user.map(known));
                match (service, user) {
                    (Some(service), None) => Some(Heard { user: None, service: Some(service) }),
                    (Some(service), Some(Some(user))) => Some(Heard { user: Some(user), service: Some(service) }),
                    _ => None,
                }
            }
        };
        if let Some(heard) = heard {
            return self.judge(cx, request, heard, &wall);
        }
        let key = |token: &[u8]| self.asker.key(token);
        self.ask(cx, user.map(key), service.map(key))
    }

    fn resume(&self, cx: &mut Context, request: &mut Request, answer: Answer) -> Flow {
        // Nothing else is ever waited for.
        let heard = answer.downcast::<Heard>().map_or_else(|_| Heard::default(), |heard| *heard);
        self.judge(cx, request, heard, &Wall::new(SystemTime::now))
    }

    fn response(&self, _: &mut Context, _: &Request, response: &mut Response) {
        if self.era >= Era::KSM_1_3 && response.status() == http::StatusCode::UNAUTHORIZED {
            response.headers_mut().append(WWW_AUTHENTICATE, self.asker.challenge().clone());
        }
    }
}

impl AuthToken {
    /// The user's token and the service's, as sent.
    fn tokens<'a>(&self, request: &'a Request) -> [Option<Cow<'a, [u8]>>; 2] {
        let get = |name: &HeaderName| {
            let mut values = request.headers().get_all(name).iter();
            let first = values.next()?;
            Some(match values.next() {
                None => Cow::Borrowed(first.as_bytes()),
                Some(_) => Cow::Owned(headers::joined(request.headers(), name)?.into_owned().into_bytes()),
            })
        };
        let user = get(&USER_TOKEN).or_else(|| get(&STORAGE_TOKEN));
        [user, if self.era >= Era::KSM_1_2 { get(&SERVICE_TOKEN) } else { None }]
    }

    fn ask(&self, cx: &Context, user: Option<TokenKey>, service: Option<TokenKey>) -> Flow {
        let (asker, outside) = (Arc::clone(&self.asker), Rc::clone(&cx.outside));
        let roles = self.policy.service_roles.clone();
        Flow::Wait(Box::pin(async move {
            let mut heard = Heard::default();
            if let Some(service) = service {
                heard.service = Some(asker.verdict(&outside, service, false).await);
            }
            let stops = match &heard.service {
                Some(verdict) => asker.stops(verdict).is_some(),
                None => false,
            };
            if let Some(user) = user.filter(|_| !stops) {
                let lenient = matches!(&heard.service, Some(Verdict::Valid(entry)) if grants(entry, &roles, asker.era));
                heard.user = Some(asker.verdict(&outside, user, lenient).await);
            }
            Box::new(heard) as Answer
        }))
    }

    /// Lets a request in, or not.
    fn judge(&self, cx: &mut Context, request: &mut Request, heard: Heard, wall: &Wall) -> Flow {
        let service_sent = heard.service.is_some();
        let service = match self.asker.accepted(heard.service) {
            Ok(service) => service,
            Err(stop) => return self.stop(cx, request, &stop),
        };
        let service = service.filter(|entry| !entry.is_expired(**wall) && self.is_bound(cx, entry));
        let lenient = service.as_ref().is_some_and(|entry| grants(entry, &self.policy.service_roles, self.era));
        let service = service.filter(|_| lenient || !self.policy.service_roles_required);
        if service.is_some() && !lenient && self.era >= Era::KSM_4_12 && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "keystonemiddleware.auth_token",
                "A valid token was submitted as a service token, but it was not a valid service token. This is \
                 incorrect but backwards compatible behaviour. This will be removed in future releases."
            );
        }
        let user = match self.asker.accepted(heard.user) {
            Ok(user) => user,
            Err(stop) => return self.stop(cx, request, &stop),
        };
        if user.as_ref().is_some_and(|entry| entry.identity.flaw == Some(Flaw::Incomplete)) {
            return self.stop(cx, request, &Stop::Broken);
        }
        let user = user.filter(|entry| {
            (lenient || !entry.is_expired(**wall))
                && entry.identity.flaw.is_none()
                && self.is_ruled_in(cx, request, entry, service_sent)
                && ((service_sent && self.era >= Era::KSM_4_12) || self.is_bound(cx, entry))
        });
        if !self.policy.delay && (user.is_none() || (service_sent && service.is_none())) {
            return Flow::Reply(refusal::unauthorized(self.era, request, self.asker.challenge()));
        }
        self.identify(cx, request, user.as_deref(), service_sent, service.as_deref());
        Flow::Next
    }

    /// Says on the request who it comes from.
    fn identify(
        &self,
        cx: &mut Context,
        request: &mut Request,
        user: Option<&Entry>,
        service_sent: bool,
        service: Option<&Entry>,
    ) {
        let headers = request.headers_mut();
        let mut facts = TokenFacts::default();
        match user {
            None => drop(headers.insert(STATUS, INVALID)),
            Some(entry) if service_sent => {
                headers.reserve(entry.identity.user.len() + 3);
                entry.identity.user.put(headers);
            }
            // The common case: nobody changes them any more, so they need not pass through the request's map.
            Some(entry) => facts.headers.push(Arc::clone(&entry.identity.user.headers)),
        }
        if let Some(entry) = user {
            facts.headers.extend(entry.identity.catalog.clone().filter(|_| self.policy.catalog));
            facts.environ = Arc::clone(&entry.identity.user.environ);
            facts.info = Some(entry.body.clone());
        }
        if service_sent {
            headers.insert(SERVICE_STATUS, if service.is_some() { CONFIRMED } else { INVALID });
        }
        if let Some(entry) = service {
            let overlay = entry.identity.service(self.era);
            // The service's scope takes the place of the user's, also when it has none.
            headers.remove(overlay::SYSTEM_SCOPE_HEADER);
            overlay.put(headers);
            facts.environ = joined(&facts.environ, overlay);
            facts.service_info = Some(entry.body.clone());
        }
        if user.is_some() || service.is_some() {
            cx.token = Some(facts);
        }
    }

    fn stop(&self, cx: &Context, request: &Request, stop: &Stop) -> Flow {
        Flow::Reply(match stop {
            Stop::Unavailable => refusal::unavailable(self.era, cx, request),
            Stop::Broken => refusal::broken(cx, request),
        })
    }

    fn is_bound(&self, cx: &Context, entry: &Entry) -> bool {
        let text = |key| cx.get(key).and_then(serde_json::Value::as_str);
        self.policy.bind.permits(entry.identity.bind.as_ref(), text("AUTH_TYPE"), text("REMOTE_USER"))
    }

    fn is_ruled_in(&self, cx: &Context, request: &Request, entry: &Entry, by_service: bool) -> bool {
        let Some(rules) = entry.identity.rules.as_ref().filter(|_| self.era >= Era::KSM_7_0) else { return true };
        let path = quote_path(&cx.script_name) + &quote_path(&cx.path_info);
        let asked = Asked { method: request.method().as_str(), path: &path, by_service };
        rules.permit(self.policy.service_type.as_deref(), asked)
    }
}

/// Whether a service token lets an expired token of a user pass.
fn grants(service: &Entry, roles: &[String], era: Era) -> bool {
    era >= Era::KSM_4_12 && service.identity.roles.iter().any(|role| roles.contains(role))
}

/// Takes off what only this filter may say; the door does so too.
fn strip(request: &mut Request) {
    let found: SmallVec<[HeaderName; 2]> =
        request.headers().keys().filter(|name| is_identity_header(name.as_str())).cloned().collect();
    for name in found {
        request.headers_mut().remove(name);
    }
}
