//! From the text that counts to a value: `$name` first and the type after it, or the other way round.
//!
//! Must not know where texts come from.

use super::choose::{Found, Layer, Origin};
use super::conf::{Conf, shown};
use super::substitute::substitute;
use super::{Invalid, Library, Value, convert};
use crate::config::options::{self, Kind};
use crate::release::Release;

/// How many names a value may lead to, and how deep, before it counts as a circle. Python's own recursion limit ends
/// it at a similar depth.
const DEEPEST: usize = 60;
const MOST: usize = 2000;

/// What Python would have raised.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// For people, without the option's name.
    pub fact: String,
    pub help: Option<String>,
    pub class: &'static str,
    pub text: String,
}

impl Fault {
    fn new(class: &'static str, text: String, fact: String) -> Self {
        Self { fact, help: None, class, text }
    }

    pub fn no_such_option(name: &str, group: &str, library: Library) -> Self {
        let text = match (library, group) {
            (Library::Old, "DEFAULT") => format!("no such option: {name}"),
            (Library::Old, _) => format!("no such option in group {group}: {name}"),
            (Library::New, _) => format!("no such option {name} in group [{group}]"),
        };
        Self::new("NoSuchOptError", text, format!("there is no option {}", shown(group, name)))
    }

    /// Keeps the class and text of this one and the facts of its cause.
    pub fn because(self, cause: Self) -> Self {
        Self { fact: cause.fact, help: cause.help, ..self }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether its class is derived from ValueError.
    pub fn is_value_error(&self) -> bool {
        self.class.ends_with("ValueError")
    }
}

/// The options that are being read, each because of the one before it.
#[derive(Debug, Default)]
pub(super) struct Trail {
    stack: Vec<(String, String)>,
    steps: usize,
}

impl Conf {
    /// The value of an option that may be one more of a trail.
    pub(super) fn read(&self, group: &str, name: &str, trail: &mut Trail) -> Result<Value, Fault> {
        self.step(group, name, trail)?;
        let value = match self.choose(group, name) {
            None => Ok(Value::None),
            Some(found) => match self.library {
                Library::Old => self.converted_then_substituted(group, name, &found, trail),
                Library::New => self.substituted_then_converted(group, name, &found, trail),
            },
        };
        trail.stack.pop();
        value
    }

    /// The text of an option after substitution, whatever its type; of several, the last.
    pub(super) fn text(&self, group: &str, name: &str) -> Result<(Option<String>, Origin), Fault> {
        let Some(found) = self.choose(group, name) else { return Ok((None, Origin::Default)) };
        let mut trail = Trail::default();
        self.step(group, name, &mut trail)?;
        let text = found.texts.last().map(|text| self.substituted(text, group, &mut trail)).transpose()?;
        Ok((text, found.origin))
    }

    fn step(&self, group: &str, name: &str, trail: &mut Trail) -> Result<(), Fault> {
        let here = (group.to_owned(), name.to_owned());
        trail.steps += 1;
        if trail.stack.contains(&here) || trail.stack.len() >= DEEPEST || trail.steps > MOST {
            let class = if self.library == Library::Old { "RuntimeError" } else { "RecursionError" };
            let fault =
                Fault::new(class, "maximum recursion depth exceeded".into(), "its value leads in a circle".into());
            return Err(fault.help("follow the `$` names; `$$` is a plain dollar sign"));
        }
        trail.stack.push(here);
        Ok(())
    }

    fn kind(&self, group: &str, name: &str) -> Kind {
        // What the program says by itself need not be one of a release's own words (the APIs of Nova).
        let told = self.layers.iter().any(
            |layer| matches!(layer, Layer::Told { group: g, name: n, .. } if (g.as_str(), n.as_str()) == (group, name)),
        );
        let kind = |opt: &options::Opt| {
            if told { opt.kind } else { opt.kind(self.release().unwrap_or(Release::NEWEST)) }
        };
        (self.table.find)(group, name).map_or(Kind::Text, kind)
    }

    fn substituted_then_converted(
        &self,
        group: &str,
        name: &str,
        found: &Found,
        trail: &mut Trail,
    ) -> Result<Value, Fault> {
        let kind = self.kind(group, name);
        let mut values = Vec::new();
        for text in &found.texts {
            let converted = self
                .substituted(text, group, trail)
                .and_then(|text| convert(kind, &text, Library::New).map_err(|invalid| value_error(found, &invalid)));
            values.push(converted.map_err(|fault| match found.origin {
                Origin::Default => fault,
                _ if !fault.is_value_error() => fault,
                _ => self.located(name, found, fault),
            })?);
        }
        Ok(joined(values))
    }

    fn converted_then_substituted(
        &self,
        group: &str,
        name: &str,
        found: &Found,
        trail: &mut Trail,
    ) -> Result<Value, Fault> {
        // Defaults are values, not texts, in the original: their empty list is empty.
        let rules = if matches!(found.origin, Origin::Default) { Library::New } else { self.library };
        let kind = self.kind(group, name);
        let mut values = Vec::new();
        // Every assignment to the name in its file is converted, the last one counts.
        for text in &found.outdone {
            convert(kind, text, rules).map_err(|invalid| value_error(found, &invalid))?;
        }
        for text in &found.texts {
            values.push(match convert(kind, text, rules).map_err(|invalid| value_error(found, &invalid))? {
                Value::Text(text) => Value::Text(self.substituted(&text, group, trail)?),
                Value::List(items) => {
                    let items = items.iter().map(|item| self.substituted(item, group, trail));
                    Value::List(items.collect::<Result<_, _>>()?)
                }
                value => value,
            });
        }
        Ok(joined(values))
    }

    /// As `_do_get` words what `convert` raised.
    fn located(&self, name: &str, found: &Found, fault: Fault) -> Fault {
        // The original remembers for each section the last file that has it, spelled in this way.
        let documents = self.layers.iter().rev().filter_map(|layer| match layer {
            Layer::File(document) => Some(document),
            Layer::Argument { .. } | Layer::Told { .. } => None,
        });
        let named = documents.into_iter().find(|document| document.has_header(&found.group));
        let file = named.map(|document| document.path.display().to_string()).unwrap_or_default();
        let text =
            format!("Value for option {name} from {} is not valid: {}", found.blamed.original(&file), fault.text);
        Fault { class: value_error_class(found), text, ..fault }
    }

    pub(super) fn substituted(&self, text: &str, group: &str, trail: &mut Trail) -> Result<String, Fault> {
        substitute(text, self.library, |name| {
            let value = match self.library {
                Library::Old => self.named_formerly(name, trail)?,
                Library::New => self.named_newly(group, name, trail)?,
            };
            Ok(value.to_text(self.library))
        })
    }

    /// `$name` of the older library: an option of `[DEFAULT]`, by its own name, read like an attribute, so that every
    /// error on the way is that there is no such option.
    fn named_formerly(&self, name: &str, trail: &mut Trail) -> Result<Value, Fault> {
        let group = "DEFAULT";
        let by_old_name = (self.table.find)(group, name).is_some_and(|opt| opt.deprecated.contains(&(group, name)));
        if self.is_group(name) || by_old_name {
            return Err(self.unnamed(group, name));
        }
        let wrapped = |fault| Fault::no_such_option(name, group, Library::Old).because(fault);
        self.named(group, name, trail).map_err(wrapped)
    }

    /// `$name` of the newer library: `group.option`, or an option of the own group; and if there is none, or reading it
    /// finds that there is not another, an option of `[DEFAULT]`.
    fn named_newly(&self, own: &str, name: &str, trail: &mut Trail) -> Result<Value, Fault> {
        let (group, option) = name.split_once('.').unwrap_or((own, name));
        // Here alone a group's name is taken as it is written.
        if name.contains('.') && !self.is_group(group) {
            let fact = format!("`${name}` names an option of a group [{group}], which there is not");
            let fault = Fault::new("NoSuchGroupError", format!("no such group [{group}]"), fact);
            return Err(fault.help(format!("write `${{{group}}}.{option}` if the dot is plain text")));
        }
        // What only a file knows comes behind what the program knows, in whichever group.
        let in_table = |group, name| (self.table.find)(group, name).is_some();
        if !in_table(group, option) && in_table("DEFAULT", name) {
            return self.named("DEFAULT", name, trail);
        }
        match self.named(group, option, trail) {
            Err(fault) if fault.class == "NoSuchOptError" => self.named("DEFAULT", name, trail),
            result => result,
        }
    }

    fn named(&self, group: &str, name: &str, trail: &mut Trail) -> Result<Value, Fault> {
        if self.is_known(group, name) {
            self.note_old_reference(group, name);
            return self.read(group, name, trail);
        }
        Err(self.unnamed(group, name))
    }

    /// There is no such option to refer to.
    fn unnamed(&self, group: &str, name: &str) -> Fault {
        if group == "DEFAULT" && self.is_group(name) {
            let text = format!("template substitution error: substituting group {name} not supported");
            let fact = format!("`${name}` names the group [{name}], not an option");
            return Fault::new("TemplateSubstitutionError", text, fact);
        }
        let fault = Fault::no_such_option(name, group, self.library);
        let fact = format!("`${name}` names {}, which there is not", shown(group, name));
        Self::spell_out(Fault { fact, ..fault }, name)
    }

    fn spell_out(fault: Fault, name: &str) -> Fault {
        match name {
            "pybasedir" | "bindir" => fault.help("only Nova's Python knows it: write the path out"),
            _ => fault.help("correct the name; `$$` is a plain dollar sign"),
        }
    }

    /// In the table, or set somewhere. Nova has many more options than the table; one that is set is one of those.
    fn is_known(&self, group: &str, name: &str) -> bool {
        (self.table.find)(group, name).is_some() || self.choose(group, name).is_some()
    }
}

fn joined(mut values: Vec<Value>) -> Value {
    if values.len() > 1 {
        let texts = |value| if let Value::List(items) = value { items } else { Vec::new() };
        return Value::List(values.into_iter().flat_map(texts).collect());
    }
    values.pop().unwrap_or(Value::None)
}

/// The class of ValueErrors, which tells files from the other sources.
fn value_error_class(found: &Found) -> &'static str {
    if matches!(found.blamed, Origin::File(_)) { "ConfigFileValueError" } else { "ConfigSourceValueError" }
}

fn value_error(found: &Found, invalid: &Invalid) -> Fault {
    Fault::new(value_error_class(found), invalid.original.clone(), invalid.fact.clone())
}
