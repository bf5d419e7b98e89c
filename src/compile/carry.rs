//! Which filters of the running generation serve on in the next one: what a filter has learnt (tokens, rate-limit
//! buckets) must not be lost by an edit elsewhere.
//!
//! A filter is the same when it stands at the same way through the same API, was made by the same factory for the
//! same release, and took the same options and files. Lines may move, and options that it never asked for may change.
//! Must not know what any filter keeps.

use std::collections::HashMap;
use std::sync::Arc;

use crate::filter::{Build, Factory, Filter};
use crate::release::Release;

/// The filters of one API, by what they are.
pub type Filters = HashMap<FilterKey, Arc<dyn Filter>>;

/// What a filter is; equal keys stand for filters that nobody can tell apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilterKey {
    /// The keys of the composites on the way to it.
    way: Vec<String>,
    section: String,
    factory: &'static str,
    release: Release,
    /// Group, name and text of each option.
    options: Vec<(Option<String>, String, String)>,
    /// Digests of files.
    files: Vec<[u8; 32]>,
    /// A pipeline may name a section twice.
    turn: usize,
}

impl FilterKey {
    /// The key of a filter that was just built with `build`.
    pub fn new(way: &[String], factory: &'static Factory, build: &Build<'_>) -> Self {
        let option = |taken: crate::filter::Taken| (taken.group, taken.name, taken.setting.value);
        Self {
            way: way.to_vec(),
            section: build.section.to_owned(),
            factory: factory.name,
            release: build.release,
            options: build.taken().into_iter().map(option).collect(),
            files: build.files(),
            turn: 0,
        }
    }

    /// The filter for this key: the running one if there is one, else the new one. Remembers it in `kept`.
    pub fn choose(mut self, new: Box<dyn Filter>, running: Option<&Filters>, kept: &mut Filters) -> Arc<dyn Filter> {
        while kept.contains_key(&self) {
            self.turn += 1;
        }
        let filter = running.and_then(|running| running.get(&self)).map_or_else(|| Arc::from(new), Arc::clone);
        kept.insert(self, Arc::clone(&filter));
        filter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::harness::load;
    use crate::compile::{Plan, Step, Tree};

    const CONF: &str =
        "[DEFAULT]\napi_paste_config = /a.ini\nenabled_apis = osapi_compute\n[pasteway]\nworker_kind = builtin\n";
    const PASTE: &str = "\
[composite:osapi_compute]
use = egg:Paste#urlmap
/a: one
/b: two
[pipeline:one]
pipeline = sizelimit sizelimit app
[pipeline:two]
pipeline = sizelimit app
[filter:sizelimit]
paste.filter_factory = oslo_middleware:RequestBodySizeLimiter.factory
[filter:cors]
paste.filter_factory = oslo_middleware.cors:filter_factory
oslo_config_project = nova
[app:app]
paste.app_factory = my.own:app
";

    fn plan(conf: &str, paste: &str, running: Option<&Plan>) -> Plan {
        let plan = load(&[("/nova.conf", conf), ("/a.ini", paste)], running);
        plan.unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    /// Where the sizelimit filters are in memory, in the order of the tree.
    fn limits(plan: &Plan) -> Vec<*const ()> {
        fn walk(tree: &Tree, found: &mut Vec<*const ()>) {
            match tree {
                Tree::Map { entries, .. } => entries.iter().for_each(|(_, target)| walk(target, found)),
                Tree::Cascade { branches, .. } => branches.iter().for_each(|branch| walk(branch, found)),
                Tree::Filtered(Step { filter, factory, .. }, next) => {
                    found.extend((factory.name == "sizelimit").then(|| Arc::as_ptr(filter).cast()));
                    walk(next, found);
                }
                Tree::App(_) | Tree::Mount { .. } => {}
            }
        }
        let mut found = Vec::new();
        plan.apis.iter().for_each(|api| walk(&api.tree, &mut found));
        found
    }

    #[test]
    fn every_place_has_a_filter_of_its_own_and_an_edit_elsewhere_leaves_all_of_them() {
        let before = plan(CONF, PASTE, None);
        let filters = limits(&before);
        assert_eq!(filters.iter().collect::<std::collections::HashSet<_>>().len(), 3);
        let edited =
            PASTE.replace("pipeline = sizelimit sizelimit", "# moved down\npipeline = cors sizelimit sizelimit");
        assert_eq!(limits(&plan(CONF, &edited, Some(&before))), filters);
        assert_eq!(limits(&plan(&(CONF.to_owned() + "queue_size = 7\n"), PASTE, Some(&before))), filters);
    }

    #[test]
    fn a_filter_whose_option_changed_or_that_moved_is_a_new_one() {
        let before = plan(CONF, PASTE, None);
        let limit = CONF.to_owned() + "[oslo_middleware]\nmax_request_body_size = 7\n";
        let after = limits(&plan(&limit, PASTE, Some(&before)));
        assert!(after.iter().all(|filter| !limits(&before).contains(filter)));
        let after = limits(&plan(CONF, &PASTE.replace("/b: two", "/c: two"), Some(&before)));
        let stayed = |filter: &&*const ()| limits(&before).contains(filter);
        assert_eq!(after.iter().filter(stayed).count(), 2);
    }
}
