//! Keystone played by a script: the same questions in the same order as the recordings of the original have them.

mod client;
pub mod fake;
mod options;
mod session;
mod tls;

use std::time::Duration;

use indexmap::IndexMap;

use super::*;
use crate::config::{ConfSource, Setting, Via};
use crate::message::{Diagnostic, Place};
use crate::release::Release;

const USER: Ask = Ask { allow_expired: false, catalog: true };
const GROUP: &str = "keystone_authtoken";

/// nova.conf: `("option", "value")` of `[keystone_authtoken]`, `("group/option", "value")` of others.
struct Conf<'a>(&'a [(&'a str, &'a str)]);

impl ConfSource for Conf<'_> {
    fn raw(&self, group: &str, name: &str) -> Option<Setting> {
        let is = |key: &str| key.split_once('/').unwrap_or((GROUP, key)) == (group, name);
        let (_, value) = self.0.iter().find(|(key, _)| is(key))?;
        Some(Setting { value: (*value).to_owned(), place: None, via: Via::Conf })
    }
}

fn build(
    era: Era,
    local: &[(&str, &str)],
    conf: &[(&str, &str)],
) -> (Option<Keystone>, Option<String>, Vec<Diagnostic>) {
    let setting = |value: &str| Setting { value: value.to_owned(), place: None, via: Via::Local };
    let local: IndexMap<_, _> = local.iter().map(|(name, value)| ((*name).to_owned(), setting(value))).collect();
    let (place, global, conf) = (Place::file("api-paste.ini"), IndexMap::new(), Conf(conf));
    let reading = crate::config::Reading::new();
    let mut build = Build::new(Release::NEWEST, "filter:authtoken", &place, &global, &local, &conf, &reading);
    let keystone = Keystone::build(&mut build, era);
    let left = build.left.take();
    (keystone, left, build.finish(crate::filter::authtoken::options::OPTIONS))
}

fn built(era: Era, conf: &[(&str, &str)]) -> Keystone {
    let (keystone, left, found) = build(era, &[], conf);
    assert!(found.is_empty(), "{found:?}");
    keystone.unwrap_or_else(|| panic!("not built: {left:?}")).hasty(Duration::from_secs(30))
}

impl Keystone {
    /// With bounds that a test has the time for.
    fn hasty(mut self, longest: Duration) -> Self {
        match &mut self.how {
            How::Client(client) => client.transport.hasten(longest),
            How::Session(session) => session.transport.hasten(longest),
        }
        self
    }

    async fn ask(&self, token: &'static str) -> Result<Validated, KeystoneError> {
        self.validate(&Metrics::new(), &Secret::from(token), USER).await
    }
}

fn unavailable(result: Result<Validated, KeystoneError>) -> String {
    match result {
        Err(KeystoneError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn broken(result: Result<Validated, KeystoneError>) -> String {
    match result {
        Err(KeystoneError::Broken(why)) => why,
        other => panic!("{other:?}"),
    }
}
