//! The cut: which part of each pipeline runs in the front, and what remains for the worker.
//!
//! The longest leading run of filters that the front knows runs in the front. A filter of [`Side::Both`] does not end
//! it; its Paste context goes to the worker as well. The first filter that the front does not know ends it: that
//! filter and all below it are the worker's, a composite below it as a whole. An app that the front knows is native
//! only where nothing above it went to the worker; one of [`Side::Both`] then stands before the worker's as a filter
//! does.
//! Must not know listeners or workers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use indexmap::IndexMap;

use super::carry::{FilterKey, Filters};
use crate::config::composite::{self, MapKey, MapKind};
use crate::config::oslo::Conf;
use crate::config::paste::Context;
use crate::config::settings::Settings;
use crate::config::{Reading, Setting};
use crate::filter::urlmap::UrlMap;
use crate::filter::{Build, Factory, Filter, Makes, Side, Taken, kept, registry};
use crate::message::Diagnostic;
use crate::proxy::snapshot::{FilterNode, Node};
use crate::release::Release;
use crate::worker::manifest::{Mount, MountContext};

/// A compiled tree with the sections that it was made from: what `tree` and `explain` show, and what
/// [`Tree::node`] turns into the tree that requests walk.
pub enum Tree {
    /// A urlmap.
    Map {
        /// Its section.
        context: Arc<Context>,
        /// Paste's or Nova's.
        kind: MapKind,
        /// In the order in which they are tried.
        entries: Vec<(MapKey, Tree)>,
        /// `not_found_app`.
        not_found: Option<Box<Tree>>,
    },
    /// A cascade, of whose branches at least one begins in the front.
    Cascade {
        /// Its section.
        context: Arc<Context>,
        /// Status codes after which the next branch is asked.
        catch: Vec<u16>,
        /// In their order.
        branches: Vec<Tree>,
    },
    /// A native filter.
    Filtered(Step, Box<Tree>),
    /// A native app.
    App(Step),
    /// The worker's part.
    Mount {
        /// In the manifest.
        index: u32,
        /// Why the native part ends here.
        reason: Reason,
        /// What the worker gets, outermost first.
        contexts: Vec<Arc<Context>>,
    },
}

/// A native filter or app at its place.
pub struct Step {
    /// Its section.
    pub context: Arc<Context>,
    /// What it is.
    pub factory: &'static Factory,
    /// Built from its options.
    pub filter: Arc<dyn Filter>,
    /// Counts the steps of an API.
    pub index: usize,
    /// Where its options came from.
    pub taken: Vec<Taken>,
}

/// Why the native part of a pipeline ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Only the app is left.
    App,
    /// The front does not know this factory.
    Unknown(String),
    /// The options of the section ask for what only the worker can do.
    Left(String),
    /// An option (`python_filters`) forces this factory to the worker.
    Forced(String),
}

/// What [`split`] makes of an API's tree.
pub struct Split {
    /// The compiled tree.
    pub tree: Tree,
    /// Its mounts; equal ones are one.
    pub mounts: Vec<Mount>,
    /// Every factory in it, of both sides.
    pub factories: Vec<String>,
    /// Short names of its native filters, by [`Step::index`].
    pub filter_names: Vec<&'static str>,
    /// Those filters.
    pub filters: Filters,
}

/// Cuts the pipelines of a tree and builds its native filters; those of `running` that are the same serve on. What is
/// wrong with their options goes to `found`.
pub fn split(
    tree: &composite::Tree,
    settings: &Settings,
    conf: &Conf,
    reading: &Reading,
    running: Option<&Filters>,
    found: &mut Vec<Diagnostic>,
) -> Split {
    let mut cutter = Cutter {
        settings,
        conf,
        reading,
        running,
        found,
        mounts: Vec::new(),
        alike: HashMap::new(),
        factories: Vec::new(),
        filter_names: Vec::new(),
        built: IndexMap::new(),
        both: Vec::new(),
        way: Vec::new(),
        filters: Filters::new(),
    };
    let tree = cutter.front(tree);
    let Cutter { mounts, factories, filter_names, filters, .. } = cutter;
    Split { tree, mounts, factories, filter_names, filters }
}

struct Cutter<'a> {
    settings: &'a Settings,
    conf: &'a Conf,
    reading: &'a Reading,
    running: Option<&'a Filters>,
    found: &'a mut Vec<Diagnostic>,
    mounts: Vec<Mount>,
    /// Their numbers by a hash of their sections' places.
    alike: HashMap<u64, Vec<usize>>,
    factories: Vec<String>,
    filter_names: Vec<&'static str>,
    /// Problems of a section that several pipelines use are told once.
    built: IndexMap<(Option<String>, u32), ()>,
    /// The filters of both sides above the part that is being cut: the worker gets them too.
    both: Vec<Arc<Context>>,
    /// The keys of the composites around the part that is being cut.
    way: Vec<String>,
    filters: Filters,
}

impl Cutter<'_> {
    /// A part of the tree whose surroundings all run in the front. A pipeline is followed without recursion, for it
    /// may be long.
    fn front(&mut self, tree: &composite::Tree) -> Tree {
        let (above, mut steps, mut rest) = (self.both.len(), Vec::new(), tree);
        let end = loop {
            let composite::Tree::Filtered { filter, next } = rest else { break self.end(rest) };
            match self.native(filter, Makes::Filter).and_then(|factory| self.step(filter, factory)) {
                Ok(step) => {
                    let native_alone = self.settings.pasteway.native_filters.contains(&factory_of(filter));
                    if step.factory.side == Side::Both && !native_alone {
                        self.both.push(Arc::clone(filter));
                    }
                    steps.push(step);
                    rest = next;
                }
                Err(reason) => break self.worker(rest, reason),
            }
        };
        self.both.truncate(above);
        steps.into_iter().rev().fold(end, |next, step| Tree::Filtered(step, Box::new(next)))
    }

    /// What stands at the end of a pipeline.
    fn end(&mut self, tree: &composite::Tree) -> Tree {
        match tree {
            composite::Tree::Map { kind, context, entries, not_found } => {
                let mut parsed = Vec::new();
                for (key, _place, target) in entries {
                    // Keys were checked when the composite was expanded.
                    if let Ok(key) = composite::parse_map_key(key, *kind, self.settings.release) {
                        parsed.push((key, target));
                    }
                }
                composite::order(&mut parsed);
                let entries = parsed
                    .into_iter()
                    .map(|(key, target)| (key.clone(), self.below(key.to_string(), target)))
                    .collect();
                let not_found =
                    not_found.as_ref().map(|target| Box::new(self.below("not_found_app".to_owned(), target)));
                Tree::Map { context: Arc::clone(context), kind: *kind, entries, not_found }
            }
            composite::Tree::Cascade { context, catch, branches } => {
                // Where all of its apps are the worker's, one call of the worker is better than one for each.
                if !branches.iter().any(|branch| self.begins_in_front(branch)) {
                    return self.worker(tree, Reason::App);
                }
                let number = |n: usize| format!("branch {n}");
                let branches = branches.iter().enumerate().map(|(n, branch)| self.below(number(n), branch)).collect();
                Tree::Cascade { context: Arc::clone(context), catch: catch.clone(), branches }
            }
            composite::Tree::Filtered { .. } => self.front(tree),
            composite::Tree::App(context) => match self.native(context, Makes::App) {
                Ok(factory) => match self.step(context, factory) {
                    Ok(step) if step.factory.side == Side::Both => {
                        Tree::Filtered(step, Box::new(self.worker(tree, Reason::App)))
                    }
                    Ok(step) => Tree::App(step),
                    Err(reason) => self.worker(tree, reason),
                },
                Err(Reason::Unknown(_)) => self.worker(tree, Reason::App),
                Err(reason) => self.worker(tree, reason),
            },
        }
    }

    /// Whether the front knows what a request meets first there.
    fn begins_in_front(&self, tree: &composite::Tree) -> bool {
        let known = |context: &Context, makes| {
            let name = factory_of(context);
            !self.settings.pasteway.python_filters.contains(&name) && registry::find_as(makes, &name).is_some()
        };
        match tree {
            composite::Tree::Map { .. } => true,
            composite::Tree::Cascade { branches, .. } => branches.iter().any(|branch| self.begins_in_front(branch)),
            composite::Tree::Filtered { filter, .. } => known(filter, Makes::Filter),
            composite::Tree::App(context) => known(context, Makes::App),
        }
    }

    /// What an entry of a composite leads to.
    fn below(&mut self, key: String, target: &composite::Tree) -> Tree {
        self.way.push(key);
        let tree = self.front(target);
        self.way.pop();
        tree
    }

    /// The native filter for a context, or why there is none.
    fn native(&mut self, context: &Context, makes: Makes) -> Result<&'static Factory, Reason> {
        let name = factory_of(context);
        self.factories.push(name.clone());
        let options = &self.settings.pasteway;
        if options.python_filters.contains(&name) {
            return Err(Reason::Forced(name));
        }
        if options.native_filters.contains(&name) && registry::find(&name).is_none() {
            self.refuse(context, &format!("`native_filters` names {name}, for which there is no native filter"));
        }
        registry::find_as(makes, &name).ok_or_else(|| match kept::why(&name) {
            Some(why) => Reason::Left(why.to_owned()),
            None => Reason::Unknown(name),
        })
    }

    /// Builds a native filter.
    ///
    /// # Errors
    /// When its options cannot be used (which was reported), or ask for what only the worker can do.
    fn step(&mut self, context: &Arc<Context>, factory: &'static Factory) -> Result<Step, Reason> {
        let section = context.section.clone().unwrap_or_else(|| factory_of(context));
        let mut build = Build::new(
            self.settings.release,
            &section,
            &context.place,
            &context.global_conf,
            &context.local_conf,
            self.conf,
            self.reading,
        );
        let filter = (factory.build)(&mut build);
        let left = build.left.take();
        let taken = build.taken();
        let key = FilterKey::new(&self.way, factory, &build);
        let problems = build.finish(factory.options);
        if self.built.insert((context.section.clone(), context.place.line), ()).is_none() {
            self.found.extend(problems);
        }
        let index = self.filter_names.len();
        let filter = filter.ok_or_else(|| {
            let why = left.unwrap_or_else(|| "it could not be built".to_owned());
            if self.settings.pasteway.native_filters.contains(&factory_of(context)) {
                self.refuse(context, &format!("`native_filters` names {section}, but {why}"));
            }
            Reason::Left(why)
        })?;
        self.filter_names.push(factory.name);
        let filter = key.choose(filter, self.running, &mut self.filters);
        Ok(Step { context: Arc::clone(context), factory, filter, index, taken })
    }

    fn refuse(&mut self, context: &Context, why: &str) {
        let help = "take it out of native_filters in [pasteway]";
        self.found.push(Diagnostic::error(context.place.clone(), why).help(help));
    }

    /// This part of the tree is the worker's.
    fn worker(&mut self, tree: &composite::Tree, reason: Reason) -> Tree {
        let mut contexts = self.both.clone();
        let mut rest = tree;
        loop {
            match rest {
                composite::Tree::Filtered { filter, next } => {
                    let factory = factory_of(filter);
                    if registry::is_of_the_front(&factory) {
                        let fact = format!("`{factory}` runs in the front alone, and this part is the worker's");
                        let help = "put it before the filters that run in the worker; `pasteway tree` shows them";
                        self.found.push(Diagnostic::error(filter.place.clone(), fact).help(help));
                    }
                    self.factories.push(factory);
                    contexts.push(Arc::clone(filter));
                    rest = next;
                }
                composite::Tree::App(context)
                | composite::Tree::Map { context, .. }
                | composite::Tree::Cascade { context, .. } => {
                    contexts.push(Arc::clone(context));
                    break;
                }
            }
        }
        let last = contexts.len().saturating_sub(1);
        let mount = Mount {
            contexts: contexts.iter().enumerate().map(|(n, context)| mount_context(context, n == last)).collect(),
        };
        // Equal mounts have equal places; a file may have many, so that they are not compared one by one.
        let mut places = DefaultHasher::new();
        mount.contexts.iter().for_each(|context| (&context.section, &context.file, context.line).hash(&mut places));
        let alike = self.alike.entry(places.finish()).or_default();
        let known = alike.iter().copied().find(|index| self.mounts.get(*index) == Some(&mount));
        let index = known.unwrap_or_else(|| {
            alike.push(self.mounts.len());
            self.mounts.push(mount);
            self.mounts.len() - 1
        });
        Tree::Mount { index: u32::try_from(index).unwrap_or(u32::MAX), reason, contexts }
    }
}

/// The name that the registry is asked for.
pub fn factory_of(context: &Context) -> String {
    context.object.as_ref().map(|object| object.factory()).unwrap_or_default()
}

fn mount_context(context: &Context, is_app: bool) -> MountContext {
    let plain = |conf: &IndexMap<String, Setting>| conf.iter().map(|(k, v)| (k.clone(), v.value.clone())).collect();
    MountContext {
        section: context.section.clone().unwrap_or_else(|| factory_of(context)),
        factory: factory_of(context),
        kind: if is_app { "app" } else { "filter" }.to_owned(),
        file: context.place.file.display().to_string(),
        line: context.place.line,
        global_conf: plain(&context.global_conf),
        local_conf: plain(&context.local_conf),
        protocol: context.protocol.clone(),
        loader: context.loader.display().to_string(),
        inherited: plain(&context.inherited),
    }
}

impl Tree {
    /// Its native filters and apps.
    pub fn steps(&self) -> Vec<&Step> {
        let (mut steps, mut rest) = (Vec::new(), vec![self]);
        while let Some(tree) = rest.pop() {
            match tree {
                Self::Map { entries, not_found, .. } => {
                    rest.extend(not_found.as_deref());
                    rest.extend(entries.iter().map(|(_, target)| target));
                }
                Self::Cascade { branches, .. } => rest.extend(branches),
                Self::Filtered(step, next) => {
                    steps.push(step);
                    rest.push(next);
                }
                Self::App(step) => steps.push(step),
                Self::Mount { .. } => {}
            }
        }
        steps
    }

    /// The tree that requests walk.
    pub fn node(&self, release: Release) -> Node {
        let step = |step: &Step| FilterNode { index: step.index, filter: Arc::clone(&step.filter) };
        let (mut filters, mut rest) = (Vec::new(), self);
        while let Self::Filtered(filter, next) = rest {
            filters.push(step(filter));
            rest = next;
        }
        let end = match rest {
            Self::Map { kind, entries, not_found, .. } => Node::Map {
                map: UrlMap::new(
                    *kind,
                    release,
                    entries.iter().map(|(entry, _)| entry.clone()).collect(),
                    not_found.is_some(),
                ),
                targets: entries.iter().map(|(_, target)| target.node(release)).collect(),
                not_found: not_found.as_ref().map(|target| Box::new(target.node(release))),
            },
            Self::Cascade { catch, branches, .. } => Node::Cascade {
                catch: catch.clone(),
                branches: branches.iter().map(|branch| branch.node(release)).collect(),
            },
            Self::Filtered(_, next) => next.node(release),
            Self::App(app) => Node::App(step(app)),
            Self::Mount { index, .. } => Node::Mount(*index),
        };
        filters.into_iter().rev().fold(end, |next, filter| Node::Filtered(filter, Box::new(next)))
    }
}
