//! A context while it is being resolved. PasteDeploy lets contexts share their dictionaries, so that what an outer
//! section adds to one shows in the others; so do drafts.
//!
//! Must not know how a section is read.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::file::File;
use super::{Context, Kind, Object, Shape};
use crate::config::Setting;
use crate::message::Place;

/// Options by name, in Python's order of insertion.
pub(super) type Conf = IndexMap<String, Setting>;

/// A dictionary that several contexts may hold.
pub(super) type Shared = Rc<RefCell<Conf>>;

/// A [`Context`] whose dictionaries may still change.
pub(super) struct Draft {
    pub form: Form,
    pub object: Option<Object>,
    pub protocol: Option<String>,
    pub section: Option<String>,
    pub place: Place,
    pub global: Shared,
    pub local: Shared,
    pub loader: Option<Rc<File>>,
}

/// A [`Shape`] made of drafts.
pub(super) enum Form {
    Plain(Kind),
    Pipeline { filters: Vec<Draft>, app: Box<Draft> },
    FilterApp { filter: Box<Draft>, next: Box<Draft> },
    FilteredWith { filter: Box<Draft>, next: Box<Draft> },
}

/// A dictionary that nobody shares yet.
pub(super) fn shared(conf: Conf) -> Shared {
    Rc::new(RefCell::new(conf))
}

impl Draft {
    /// An object that a bare URI names, without a section of its own.
    pub fn bare(kind: Kind, object: Object, global: Option<Shared>, place: Place) -> Self {
        // `global_conf or {}`: an empty dictionary is replaced, any other one is shared with the caller.
        let global = global.filter(|conf| !conf.borrow().is_empty()).unwrap_or_default();
        Self {
            form: Form::Plain(kind),
            object: Some(object),
            protocol: None,
            section: None,
            place,
            global,
            local: Shared::default(),
            loader: None,
        }
    }

    /// The context as it stands now.
    pub fn freeze(self) -> Arc<Context> {
        let shape = match self.form {
            Form::Plain(Kind::App) => Shape::App,
            Form::Plain(Kind::Filter) => Shape::Filter,
            Form::Plain(Kind::Server) => Shape::Server,
            Form::Pipeline { filters, app } => {
                Shape::Pipeline { filters: filters.into_iter().map(Self::freeze).collect(), app: app.freeze() }
            }
            Form::FilterApp { filter, next } => Shape::FilterApp { filter: filter.freeze(), next: next.freeze() },
            Form::FilteredWith { filter, next } => Shape::FilteredWith { filter: filter.freeze(), next: next.freeze() },
        };
        Arc::new(Context {
            shape,
            object: self.object,
            protocol: self.protocol,
            section: self.section,
            place: self.place,
            global_conf: settle(self.global),
            local_conf: settle(self.local),
            loader: self.loader.as_ref().map(|file| PathBuf::from(&file.name)).unwrap_or_default(),
            inherited: self.loader.map(|file| Arc::clone(&file.inherited)).unwrap_or_default(),
        })
    }
}

/// The dictionary itself, or a copy if others hold it too.
fn settle(conf: Shared) -> Conf {
    Rc::try_unwrap(conf).map_or_else(|held| held.borrow().clone(), RefCell::into_inner)
}
