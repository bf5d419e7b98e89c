//! The compiled trees for people and programs: `tree --format text|json|dot|mermaid`.
//!
//! Must not know where the output goes.

use std::fmt::Write;

use serde_json::{Value, json};

use super::split::{Reason, Step, Tree};
use super::{ApiPlan, Plan};
use crate::config::composite::MapKind;
use crate::filter::Side;

/// The trees as JSON.
pub fn json(plan: &Plan) -> Value {
    let apis = plan.apis.iter().map(|api| {
        json!({
            "api": api.settings.name,
            "listen": format!("{}:{}", api.settings.listen, api.settings.port),
            "workers": api.settings.slots(),
            "strips_identity": api.door.strip_identity,
            "tree": node(&api.tree),
        })
    });
    json!({ "apis": apis.collect::<Vec<_>>() })
}

fn node(tree: &Tree) -> Value {
    match tree {
        Tree::Map { context, kind, entries, not_found } => json!({
            "composite": context.section,
            "place": context.place.to_string(),
            "kind": kind_name(*kind),
            "entries": entries.iter().map(|(entry, target)| json!({ "key": entry.to_string(), "to": node(target) })).collect::<Vec<_>>(),
            "not_found": not_found.as_ref().map(|target| node(target)),
        }),
        Tree::Cascade { context, catch, branches } => json!({
            "composite": context.section,
            "place": context.place.to_string(),
            "kind": CASCADE,
            "catch": catch,
            "branches": branches.iter().map(node).collect::<Vec<_>>(),
        }),
        // A list, not a nest: a pipeline may be of any length.
        Tree::Filtered(..) => {
            let (mut filters, mut rest) = (Vec::new(), tree);
            while let Tree::Filtered(filter, next) = rest {
                filters.push(step(filter, "filter"));
                rest = next;
            }
            json!({ "filters": filters, "to": node(rest) })
        }
        Tree::App(app) => step(app, "app"),
        Tree::Mount { index, reason, contexts } => json!({
            "mount": index,
            "why": why(reason),
            "contexts": contexts.iter().map(|context| json!({
                "section": context.section,
                "factory": super::split::factory_of(context),
                "place": context.place.to_string(),
            })).collect::<Vec<_>>(),
        }),
    }
}

fn step(step: &Step, what: &str) -> Value {
    json!({
        what: step.factory.name,
        "section": step.context.section,
        "factory": super::split::factory_of(&step.context),
        "place": step.context.place.to_string(),
        "side": if step.factory.side == Side::Both { "both" } else { "front" },
    })
}

const CASCADE: &str = "paste cascade";

fn kind_name(kind: MapKind) -> &'static str {
    match kind {
        MapKind::Paste => "paste urlmap",
        MapKind::Nova => "nova urlmap",
    }
}

/// Why the native part ends, for people.
pub fn why(reason: &Reason) -> String {
    match reason {
        Reason::App => "the app".to_owned(),
        Reason::Unknown(factory) => format!("no native filter for {factory}"),
        Reason::Left(why) => why.clone(),
        Reason::Forced(factory) => format!("{factory} is in python_filters"),
    }
}

/// A tree as a line for each part, indented by its depth.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    for api in &plan.apis {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{} on {}:{}, {} workers",
            api.settings.name,
            api.settings.listen,
            api.settings.port,
            api.settings.slots()
        );
        lines(&api.tree, 1, &mut out);
    }
    out
}

fn lines(tree: &Tree, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let section = |context: &crate::config::paste::Context| {
        context.section.clone().unwrap_or_else(|| super::split::factory_of(context))
    };
    let mut tree = tree;
    // Pipelines may be long: no recursion along them.
    while let Tree::Filtered(step, next) = tree {
        let both = if step.factory.side == Side::Both { ", front and worker" } else { "" };
        let _ =
            writeln!(out, "{indent}{} [{}] {}{both}", step.factory.name, section(&step.context), step.context.place);
        tree = next;
    }
    let _ = match tree {
        Tree::Map { context, kind, entries, not_found } => {
            let _ = writeln!(out, "{indent}{} [{}] {}", kind_name(*kind), section(context), context.place);
            for (entry, target) in entries {
                let _ = writeln!(out, "{indent}  {entry}");
                lines(target, depth + 2, out);
            }
            if let Some(target) = not_found {
                let _ = writeln!(out, "{indent}  otherwise");
                lines(target, depth + 2, out);
            }
            Ok(())
        }
        Tree::Cascade { context, catch, branches } => {
            let codes: Vec<_> = catch.iter().map(u16::to_string).collect();
            let (section, place) = (section(context), &context.place);
            let _ = writeln!(out, "{indent}{CASCADE} [{section}] {place}, the next after {}", codes.join(" "));
            for (n, branch) in (1..).zip(branches) {
                let _ = writeln!(out, "{indent}  branch {n}");
                lines(branch, depth + 2, out);
            }
            Ok(())
        }
        Tree::Filtered(..) => Ok(()),
        Tree::App(step) => writeln!(
            out,
            "{indent}{} [{}] {} (native app)",
            step.factory.name,
            section(&step.context),
            step.context.place
        ),
        Tree::Mount { index, reason, contexts } => {
            let names: Vec<_> = contexts.iter().map(|context| section(context)).collect();
            writeln!(out, "{indent}--- worker, mount {index} ({}): {}", why(reason), names.join(" "))
        }
    };
}

/// A tree as a Graphviz graph.
pub fn dot(plan: &Plan) -> String {
    let mut graph = Graph::default();
    plan.apis.iter().for_each(|api| graph.api(api));
    let mut out = String::from("digraph pasteway {\n  rankdir=LR;\n  node [shape=box];\n");
    for (id, label, native) in &graph.nodes {
        let style = if *native { "" } else { ", style=dashed" };
        let _ = writeln!(out, "  n{id} [label={}{style}];", json!(label));
    }
    for (from, to, label) in &graph.edges {
        let _ = writeln!(out, "  n{from} -> n{to} [label={}];", json!(label));
    }
    out + "}\n"
}

/// A tree as a Mermaid flowchart.
pub fn mermaid(plan: &Plan) -> String {
    let mut graph = Graph::default();
    plan.apis.iter().for_each(|api| graph.api(api));
    let mut out = String::from("flowchart LR\n");
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "#quot;"));
    for (id, label, native) in &graph.nodes {
        let (open, close) = if *native { ("[", "]") } else { ("([", "])") };
        let _ = writeln!(out, "  n{id}{open}{}{close}", quoted(label));
    }
    for (from, to, label) in &graph.edges {
        let _ = match label.as_str() {
            "" => writeln!(out, "  n{from} --> n{to}"),
            label => writeln!(out, "  n{from} -->|{}| n{to}", quoted(label)),
        };
    }
    out
}

/// Nodes (number, label, whether native) and edges (from, to, label).
#[derive(Default)]
struct Graph {
    nodes: Vec<(usize, String, bool)>,
    edges: Vec<(usize, usize, String)>,
}

impl Graph {
    fn api(&mut self, api: &ApiPlan) {
        let label = format!("{} {}:{}", api.settings.name, api.settings.listen, api.settings.port);
        let root = self.add(label, true);
        self.tree(root, String::new(), &api.tree);
    }

    fn add(&mut self, label: String, native: bool) -> usize {
        self.nodes.push((self.nodes.len(), label, native));
        self.nodes.len() - 1
    }

    fn tree(&mut self, mut from: usize, mut edge: String, mut tree: &Tree) {
        while let Tree::Filtered(step, next) = tree {
            let id = self.add(step.factory.name.to_owned(), true);
            self.edges.push((from, id, std::mem::take(&mut edge)));
            (from, tree) = (id, next);
        }
        let id = match tree {
            Tree::Map { context, kind, .. } => {
                self.add(format!("{} {}", kind_name(*kind), context.section.as_deref().unwrap_or_default()), true)
            }
            Tree::Cascade { context, .. } => {
                self.add(format!("{CASCADE} {}", context.section.as_deref().unwrap_or_default()), true)
            }
            Tree::Filtered(step, _) | Tree::App(step) => self.add(step.factory.name.to_owned(), true),
            Tree::Mount { contexts, .. } => {
                let names: Vec<_> = contexts.iter().filter_map(|context| context.section.as_deref()).collect();
                self.add(format!("worker: {}", names.join(" ")), false)
            }
        };
        self.edges.push((from, id, edge));
        match tree {
            Tree::Map { entries, not_found, .. } => {
                for (entry, target) in entries {
                    self.tree(id, entry.to_string(), target);
                }
                if let Some(target) = not_found {
                    self.tree(id, "otherwise".to_owned(), target);
                }
            }
            Tree::Cascade { branches, .. } => {
                for (n, branch) in (1..).zip(branches) {
                    self.tree(id, n.to_string(), branch);
                }
            }
            Tree::Filtered(..) | Tree::App(_) | Tree::Mount { .. } => {}
        }
    }
}
