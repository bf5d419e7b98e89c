//! The way that one load has taken through sections, so that it neither goes in circles nor without end.
//!
//! Must not know what is done at each step.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::{Dialect, Error};
use crate::message::Place;

/// How deep references may nest. Python's own stack ends at about 480 of them; nobody's file goes beyond ten, and
/// a thread's stack must hold ours.
const DEPTH: usize = 100;

/// Sections that one load may resolve. References that fan out again and again would take the original years.
const SECTIONS: usize = 100_000;

const DEEP: &str = "maximum recursion depth exceeded while calling a Python object";

/// The references that are being followed, innermost last.
pub(super) struct Trail {
    dialect: Dialect,
    stack: RefCell<Vec<Step>>,
    resolved: Cell<usize>,
}

/// A reference that is being followed.
struct Step {
    /// A section with its brackets, or a URI.
    target: String,
    /// The file that it is in, or relative to.
    file: String,
    at: Option<Place>,
}

impl Trail {
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, stack: RefCell::default(), resolved: Cell::new(0) }
    }

    /// Begins another load.
    pub fn start(&self) {
        self.resolved.set(0);
        self.stack.borrow_mut().clear();
    }

    /// Follows a reference from `at` to `target`, unless that goes in circles.
    pub fn step<T>(
        &self,
        file: &str,
        target: String,
        at: Option<&Place>,
        follow: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.resolved.set(self.resolved.get() + 1);
        self.stack.borrow_mut().push(Step { target, file: file.to_owned(), at: at.cloned() });
        let result = if self.stack.borrow().len() > DEPTH {
            Err(self.circle())
        } else if self.resolved.get() > SECTIONS {
            let ours = format!("more than {SECTIONS} sections are resolved for one name");
            Err(Error::new("MemoryError", "", at.cloned(), ours).help("sections refer to each other again and again"))
        } else {
            follow()
        };
        self.stack.borrow_mut().pop();
        result
    }

    /// The references nest without end.
    fn circle(&self) -> Error {
        let stack = self.stack.borrow();
        let key = |step: &Step| (step.file.clone(), step.target.clone());
        let mut seen = HashMap::new();
        let circle = stack.iter().enumerate().find_map(|(n, step)| Some((seen.insert(key(step), n)?, n)));
        let steps = circle.and_then(|(first, last)| stack.get(first..=last)).unwrap_or_default();
        let one_file = steps.windows(2).all(|pair| matches!(pair, [a, b] if a.file == b.file));
        let (class, message) = match (self.dialect, steps.first().filter(|_| one_file)) {
            (Dialect::Py2, Some(_)) => ("RuntimeError", "maximum recursion depth exceeded in cmp".to_owned()),
            (Dialect::Py3, Some(step)) => {
                ("RecursionError", format!("Error in file {}: maximum recursion depth exceeded", step.file))
            }
            (Dialect::Py2, None) => ("RuntimeError", DEEP.to_owned()),
            (Dialect::Py3, None) => ("RecursionError", DEEP.to_owned()),
        };
        let place = steps.last().or(stack.first()).and_then(|step| step.at.clone());
        if steps.is_empty() {
            return Error::new(class, message, place, "sections refer to each other too deeply");
        }
        let route: Vec<&str> = steps.iter().map(|step| step.target.as_str()).collect();
        Error::new(class, message, place, format!("sections refer to each other in a circle: {}", route.join(" → ")))
            .help("let one of them name a factory")
    }
}
