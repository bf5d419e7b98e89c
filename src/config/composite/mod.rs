//! Expands what one API loads into the tree that is compiled: the composites that the front knows become maps and
//! pipelines, and everything wrong with their members is found at once.
//!
//! Must not know what a filter or an app does.

mod key;

use std::sync::Arc;

use crate::config::Setting;
use crate::config::paste::{Context, Error, Kind, Loader, Object, Shape};
use crate::message::{Diagnostic, Place};
use crate::release::Release;

pub use key::{BadKey, MapKey, MapKind, order, parse_map_key};

/// What one API serves.
#[derive(Clone, Debug)]
pub enum Tree {
    /// A urlmap.
    Map {
        /// Whose.
        kind: MapKind,
        /// The composite's section.
        context: Arc<Context>,
        /// Key as written, its place, and what it leads to, in the file's order; of equal keys only the last.
        entries: Vec<(String, Place, Tree)>,
        /// What answers when no key matches; `None` for the built-in 404.
        not_found: Option<Box<Tree>>,
    },
    /// A cascade: the first of its apps whose answer is none of `catch` has answered, else the last.
    Cascade {
        /// The composite's section.
        context: Arc<Context>,
        /// Status codes after which the next app is asked.
        catch: Vec<u16>,
        /// In the order in which they are asked; at least one.
        branches: Vec<Tree>,
    },
    /// A filter around something.
    Filtered {
        /// The filter.
        filter: Arc<Context>,
        /// What it wraps.
        next: Box<Tree>,
    },
    /// An app, or a composite that the front does not know, as a whole.
    App(Arc<Context>),
}

/// What Nova's pipeline factories look at.
#[derive(Clone, Debug)]
pub struct Choice {
    /// `auth_strategy`.
    pub auth_strategy: String,
    /// `api_rate_limit`: when false, `<strategy>_nolimit` is preferred where there is one.
    pub api_rate_limit: bool,
    /// The Nova whose factories they are.
    pub release: Release,
}

/// How deep composites may nest, and how many members all of them may have; Python's stack ends sooner.
const DEPTH: usize = 64;
const MEMBERS: usize = 50_000;

/// The protocols of composites, in both spellings.
const COMPOSITE: [&str; 2] = ["paste.composite_factory", "paste.composit_factory"];

/// The composites that the front can stand in for.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    Urlmap(MapKind),
    /// `paste.cascade:make_cascade`.
    Cascade,
    /// `nova.api.auth:pipeline_factory`.
    Pipeline,
    /// `pipeline_factory_v21`, and Icehouse's `pipeline_factory_v3`: the strategy alone decides.
    PipelineByStrategy,
}

/// Builds the tree under `root`. Without any error among the diagnostics there is a tree.
pub fn expand(loader: &Loader<'_>, root: Arc<Context>, choice: &Choice) -> (Option<Tree>, Vec<Diagnostic>) {
    let mut expansion = Expansion { loader, choice, diagnostics: Vec::new(), above: Vec::new(), members: 0 };
    let tree = expansion.tree(root);
    let failed = expansion.diagnostics.iter().any(Diagnostic::is_error);
    (tree.filter(|_| !failed), expansion.diagnostics)
}

/// The auth strategies that a section of Nova's has a pipeline for; none for any other section.
pub fn strategies(context: &Context) -> Vec<String> {
    match known(context) {
        Some(Known::Pipeline | Known::PipelineByStrategy) => context.local_conf.keys().cloned().collect(),
        Some(Known::Urlmap(_) | Known::Cascade) | None => Vec::new(),
    }
}

struct Expansion<'e, 'r> {
    loader: &'e Loader<'r>,
    choice: &'e Choice,
    diagnostics: Vec<Diagnostic>,
    /// The composites that are being expanded.
    above: Vec<Arc<Context>>,
    members: usize,
}

impl Expansion<'_, '_> {
    fn tree(&mut self, context: Arc<Context>) -> Option<Tree> {
        match &context.shape {
            Shape::Pipeline { filters, app } => {
                let app = self.tree(Arc::clone(app))?;
                Some(filters.iter().rev().fold(app, |tree, filter| self.wrap(filter, tree)))
            }
            Shape::FilterApp { filter, next } => {
                let tree = self.tree(Arc::clone(next))?;
                Some(self.wrap(filter, tree))
            }
            Shape::FilteredWith { filter, next } => {
                // `_FilterWith.invoke` composes two filters wherever the inner object is not of the plain app type.
                if !matches!(next.shape, Shape::App) {
                    let section = context.section.as_deref().unwrap_or_default();
                    let fact = format!("PasteDeploy's `filter-with` breaks [{section}], which is no plain app");
                    self.report(
                        Diagnostic::warning(context.place.clone(), format!("{fact}; here the filter is applied"))
                            .help("put the filter first in the pipeline"),
                    );
                }
                let tree = self.tree(Arc::clone(next))?;
                Some(self.wrap(filter, tree))
            }
            Shape::App | Shape::Filter | Shape::Server => match known(&context) {
                None => {
                    self.creatable(&context);
                    Some(Tree::App(context))
                }
                Some(composite) => self.composite(composite, context),
            },
        }
    }

    fn composite(&mut self, composite: Known, context: Arc<Context>) -> Option<Tree> {
        let same = |other: &Arc<Context>| {
            (&other.section, &other.loader, &other.global_conf)
                == (&context.section, &context.loader, &context.global_conf)
        };
        if self.above.iter().any(same) || self.above.len() >= DEPTH || self.members > MEMBERS {
            let names = self.above.iter().chain([&context]).filter_map(|c| c.section.as_deref());
            let names: Vec<String> = names.map(|name| format!("[{name}]")).collect();
            let shown = names.get(names.len().saturating_sub(4)..).unwrap_or_default().join(" → ");
            self.report(
                Diagnostic::error(context.place.clone(), format!("composites nest without end: {shown}"))
                    .original("RecursionError", "maximum recursion depth exceeded"),
            );
            return None;
        }
        self.above.push(Arc::clone(&context));
        let tree = match composite {
            Known::Urlmap(kind) => self.map(kind, &context),
            Known::Cascade => self.cascade(&context),
            Known::Pipeline | Known::PipelineByStrategy => self.pipeline(composite, &context),
        };
        self.above.pop();
        tree
    }

    /// `urlmap_factory`: every app gets the composite's `global_conf`.
    fn map(&mut self, kind: MapKind, context: &Arc<Context>) -> Option<Tree> {
        const NOT_FOUND: &str = "not_found_app";
        let not_found = context.local_conf.get(NOT_FOUND).or_else(|| context.global_conf.get(NOT_FOUND));
        let not_found = not_found.filter(|setting| !setting.value.is_empty());
        let mut complete = true;
        let not_found = not_found.and_then(|setting| {
            let tree = self.mapped(context, setting);
            complete &= tree.is_some();
            tree.map(Box::new)
        });
        let mut entries: Vec<(MapKey, (String, Place, Tree))> = Vec::new();
        for (text, setting) in context.local_conf.iter().filter(|(text, _)| *text != NOT_FOUND) {
            let place = self.loader.key_place(setting).unwrap_or_else(|| context.place.clone());
            let key = match parse_map_key(text, kind, self.choice.release) {
                Ok(key) => Some(key),
                Err(bad) => {
                    self.report(
                        Diagnostic::error(place.clone(), format!("`{text}` is no key of a urlmap"))
                            .help("write `/path`, or `domain NAME port NUMBER /path`")
                            .original(bad.class, bad.text),
                    );
                    None
                }
            };
            let tree = self.mapped(context, setting);
            let (Some(key), Some(tree)) = (key, tree) else {
                complete = false;
                continue;
            };
            if let Some(same) = entries.iter().position(|(other, _)| *other == key) {
                let (_, (earlier, at, _)) = entries.remove(same);
                let fact = format!("`{earlier}` is the same as `{text}` (line {}), which replaces it", place.line);
                self.report(Diagnostic::warning(at, fact).help("remove one of them"));
            }
            entries.push((key, (text.clone(), place, tree)));
        }
        let entries = entries.into_iter().map(|(_, entry)| entry).collect();
        complete.then(|| Tree::Map { kind, context: Arc::clone(context), entries, not_found })
    }

    /// `make_cascade`: apps by their keys, sorted as texts; every app gets the composite's `global_conf`.
    fn cascade(&mut self, context: &Arc<Context>) -> Option<Tree> {
        let mut apps: Vec<(&String, &Setting)> = context.local_conf.iter().filter(|(key, _)| *key != "catch").collect();
        apps.sort_by_key(|(key, _)| *key);
        let mut branches = Vec::new();
        for (key, setting) in &apps {
            if key.starts_with("app") {
                branches.push(self.mapped(context, setting));
            } else {
                let place = self.loader.key_place(setting).unwrap_or_else(|| context.place.clone());
                let repr = |text: &str| self.loader.rules().dialect.repr(text);
                let said = format!(
                    "Bad configuration key {} (={}); all configuration keys must start with 'app'",
                    repr(key),
                    repr(&setting.value)
                );
                self.report(
                    Diagnostic::error(place, format!("`{key}` is no key of a cascade"))
                        .help("name its apps by app1, app2, … and the codes after which the next is asked by `catch`")
                        .original("ValueError", said),
                );
                branches.push(None);
            }
        }
        let catch = context.local_conf.get("catch");
        let words = catch.map_or("404", |setting| setting.value.as_str()).split_whitespace();
        let codes: Result<Vec<u16>, &str> =
            words.map(|word| word.parse().ok().filter(|code| (100..600).contains(code)).ok_or(word)).collect();
        let codes = codes.map_err(|word| {
            let place = catch.and_then(|setting| setting.place.clone()).unwrap_or_else(|| context.place.clone());
            self.report(
                Diagnostic::error(place, format!("catch: `{word}` is no status code"))
                    .help("write codes with blanks between them: catch = 404 403"),
            );
        });
        if apps.is_empty() {
            self.report(Diagnostic::error(context.place.clone(), "the cascade has no app").help("add `app1 = NAME`"));
            return None;
        }
        let branches: Option<Vec<_>> = branches.into_iter().collect();
        Some(Tree::Cascade { context: Arc::clone(context), catch: codes.ok()?, branches: branches? })
    }

    /// An app that a urlmap or a cascade names.
    fn mapped(&mut self, context: &Arc<Context>, setting: &Setting) -> Option<Tree> {
        let place = setting.place.as_ref().unwrap_or(&context.place);
        let app = self.member(Kind::App, context, &setting.value, true, place)?;
        self.tree(app)
    }

    /// Nova's pipeline factories: members get nothing but their file's `[DEFAULT]`.
    fn pipeline(&mut self, composite: Known, context: &Arc<Context>) -> Option<Tree> {
        let setting = self.strategy(composite, context)?;
        let loader = self.loader;
        let mut words = loader.words(setting);
        self.era(composite, &setting.place, &mut words);
        let Some(((last, place), filters)) = words.split_last() else {
            let place = setting.place.clone().unwrap_or_else(|| context.place.clone());
            self.report(
                Diagnostic::error(place, "the pipeline is empty")
                    .help("name its filters, and its app last")
                    .original("IndexError", "list index out of range"),
            );
            return None;
        };
        let filters: Vec<_> =
            filters.iter().map(|(name, place)| self.member(Kind::Filter, context, name, false, place)).collect();
        let app = self.member(Kind::App, context, last, false, place);
        let tree = app.and_then(|app| self.tree(app));
        let filters: Option<Vec<_>> = filters.into_iter().collect();
        Some(filters?.iter().rev().fold(tree?, |tree, filter| self.wrap(filter, tree)))
    }

    /// The pipeline that the auth strategy picks.
    fn strategy<'c>(&mut self, composite: Known, context: &'c Context) -> Option<&'c Setting> {
        let Choice { auth_strategy, api_rate_limit, release } = self.choice;
        // Nova 32 removed the option.
        let strategy = if *release >= Release::NOVA_32 { "keystone" } else { auth_strategy };
        let Some(chosen) = context.local_conf.get(strategy) else {
            let section = context.section.as_deref().unwrap_or_default();
            let known: Vec<String> = context.local_conf.keys().map(|key| format!("`{key}`")).collect();
            let found = Diagnostic::error(
                context.place.clone(),
                format!("[{section}] has no pipeline for the auth strategy `{strategy}`"),
            )
            .original("KeyError", self.loader.rules().dialect.repr(strategy));
            self.report(match known.is_empty() {
                true => found.help(format!("add `{strategy} = FILTER... APP`")),
                false => found.help(format!("it has {}: choose one by auth_strategy, or add one", known.join(", "))),
            });
            return None;
        };
        let limitless = context.local_conf.get(&format!("{strategy}_nolimit"));
        Some(limitless.filter(|_| composite == Known::Pipeline && !api_rate_limit).unwrap_or(chosen))
    }

    /// What single releases did to the pipeline.
    fn era(&mut self, composite: Known, at: &Option<Place>, words: &mut Vec<(&str, Place)>) {
        let release = self.choice.release;
        let ignores = composite == Known::Pipeline && (Release::ICEHOUSE..=Release::JUNO).contains(&release);
        if ignores && let Some(n) = words.iter().position(|(name, _)| *name == "ratelimit_v3") {
            let (_, place) = words.remove(n);
            let fact = format!("`ratelimit_v3` is left out: Nova {release} has no rate limits in its v3 API");
            self.report(Diagnostic::warning(place, fact).help("remove it from the pipeline"));
        }
        if release == Release::KILO && self.choice.auth_strategy == "noauth" {
            let fact = "the auth strategy `noauth` is deprecated, and gone in Liberty";
            self.report(Diagnostic::warning(at.clone(), fact).help("use `noauth2`"));
        }
    }

    fn member(
        &mut self,
        kind: Kind,
        composite: &Context,
        name: &str,
        pass_on: bool,
        place: &Place,
    ) -> Option<Arc<Context>> {
        self.members += 1;
        let passed = pass_on.then_some(&composite.global_conf);
        self.loader
            .get(kind, composite, name, passed, place)
            .map_err(|error: Error| {
                error.into_diagnostics().into_iter().for_each(|found| self.report(found));
            })
            .ok()
    }

    /// The filter around the tree; a filter with a `filter-with` of its own is two.
    fn wrap(&mut self, filter: &Arc<Context>, tree: Tree) -> Tree {
        match &filter.shape {
            Shape::FilteredWith { filter: outer, next: inner } => {
                let inner = self.wrap(inner, tree);
                self.wrap(outer, inner)
            }
            _ => {
                self.creatable(filter);
                Tree::Filtered { filter: Arc::clone(filter), next: Box::new(tree) }
            }
        }
    }

    /// Reports an object whose protocol nobody can tell: `call:` gets it from the section that uses it.
    fn creatable(&mut self, context: &Context) {
        let protocol = context.protocol.as_deref();
        let fits = match (&context.shape, &context.object) {
            (_, Some(Object::Egg { .. })) if protocol.is_none() => true,
            (Shape::Filter, _) => matches!(protocol, Some("paste.filter_factory" | "paste.filter_app_factory")),
            (Shape::App, _) => {
                protocol == Some("paste.app_factory") || protocol.is_some_and(|protocol| COMPOSITE.contains(&protocol))
            }
            _ => true,
        };
        if !fits {
            let shown =
                protocol.map_or_else(|| "None".to_owned(), |protocol| self.loader.rules().dialect.repr(protocol));
            let object = context.object.as_ref().map(Object::factory).unwrap_or_default();
            self.report(
                Diagnostic::error(
                    context.place.clone(),
                    format!("nothing says whether `{object}` makes an app or a filter"),
                )
                .help(format!("write `use = {object}` in a section [app:NAME] or [filter:NAME], and name that"))
                .original("AssertionError", format!("Protocol {shown} unknown")),
            );
        }
    }

    /// Once each: several mounts may run into the same fault.
    fn report(&mut self, found: Diagnostic) {
        if !self.diagnostics.contains(&found) {
            self.diagnostics.push(found);
        }
    }
}

/// Whether the front knows this composite: by its factory, never by its section's name.
fn known(context: &Context) -> Option<Known> {
    let path = match context.object.as_ref()? {
        Object::Egg { dist, name } => {
            return match name.as_str() {
                _ if !dist.trim().eq_ignore_ascii_case("paste") => None,
                "urlmap" => Some(Known::Urlmap(MapKind::Paste)),
                "cascade" => Some(Known::Cascade),
                _ => None,
            };
        }
        Object::Import(path) | Object::Call(path) => path,
    };
    // Under `paste.app_factory` the same function is called without a loader, and fails.
    if !context.protocol.as_deref().is_some_and(|protocol| COMPOSITE.contains(&protocol)) {
        return None;
    }
    let (module, attribute) = path.split_once(':')?;
    match (module.trim(), attribute.trim()) {
        ("paste.urlmap", "urlmap_factory") => Some(Known::Urlmap(MapKind::Paste)),
        ("paste.cascade", "make_cascade") => Some(Known::Cascade),
        ("nova.api.openstack.urlmap", "urlmap_factory") => Some(Known::Urlmap(MapKind::Nova)),
        ("nova.api.auth", "pipeline_factory") => Some(Known::Pipeline),
        ("nova.api.auth", "pipeline_factory_v21" | "pipeline_factory_v3") => Some(Known::PipelineByStrategy),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
