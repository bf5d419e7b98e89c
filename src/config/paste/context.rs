//! What the Paste loader makes of a section: the tree of contexts, as `paste.deploy.loadwsgi` builds it,
//! without importing anything.
//!
//! Must not know what any factory does.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::config::Setting;
use crate::message::Place;

/// A resolved section (PasteDeploy's `LoaderContext`).
#[derive(Clone, Debug)]
pub struct Context {
    /// What it is and what it is made of.
    pub shape: Shape,
    /// The object that it names; `None` for pipelines and other combinations that have none of their own.
    pub object: Option<Object>,
    /// `paste.app_factory`, `paste.filter_factory`, …; `None` where the installed distribution decides (`egg:`).
    pub protocol: Option<String>,
    /// The section's name as written in the file, e.g. `filter:authtoken`: where `use` led from one section to
    /// another, the one that was asked for. `None` for a bare `egg:` or `call:` URI.
    pub section: Option<String>,
    /// The section's header line, or the line of the reference for a bare URI.
    pub place: Place,
    /// First argument of the factory.
    pub global_conf: IndexMap<String, Setting>,
    /// Keyword arguments of the factory.
    pub local_conf: IndexMap<String, Setting>,
    /// The file in which this context's factory looks up further names (`loader.get_app`).
    pub loader: PathBuf,
    /// What a file that referred to that one passed on to its `[DEFAULT]`: part of the loader's memory.
    pub inherited: Arc<IndexMap<String, Setting>>,
}

/// The kinds of context and their parts.
#[derive(Clone, Debug)]
pub enum Shape {
    /// An application or a composite (`paste.composite_factory`).
    App,
    /// A filter that stands alone.
    Filter,
    /// A server section.
    Server,
    /// `[pipeline:x]`: the filters outermost first, and the app at its end.
    Pipeline {
        /// Outermost first.
        filters: Vec<Arc<Context>>,
        /// What they wrap.
        app: Arc<Context>,
    },
    /// `[filter-app:x]`: a filter bound to its `next`.
    FilterApp {
        /// The filter.
        filter: Arc<Context>,
        /// What it wraps.
        next: Arc<Context>,
    },
    /// A section with `filter-with`: the filter around what the section itself makes.
    FilteredWith {
        /// The filter that `filter-with` names.
        filter: Arc<Context>,
        /// The section without its `filter-with`.
        next: Arc<Context>,
    },
}

/// The object of a context, not imported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// The value of a protocol key: `paste.filter_factory = nova.api.openstack:FaultWrapper.factory`.
    Import(String),
    /// `call:module:function`: the function is called for the object.
    Call(String),
    /// `egg:Dist#name`.
    Egg {
        /// The distribution.
        dist: String,
        /// The entry point's name.
        name: String,
    },
}

impl Object {
    /// The spelling that the registry of native filters is asked for: `module:attr`, or `egg:Dist#name`.
    pub fn factory(&self) -> String {
        match self {
            Self::Import(path) => path.clone(),
            Self::Call(spec) => format!("call:{spec}"),
            Self::Egg { dist, name } => format!("egg:{dist}#{name}"),
        }
    }
}
