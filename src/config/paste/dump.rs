//! Contexts as JSON, in the shape in which the recordings of the real library show them.
//!
//! Must not know how a context was made.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::draft::Conf;
use super::{Context, Dialect, Error, Kind, Loader, Object, Shape, file_uri};

/// A context and its parts: `type`, `protocol`, `object`, `global_conf`, `local_conf`, and `filters` and `app`, or
/// `filter` and `next`.
pub fn dump(context: &Context) -> Value {
    let kind = match context.shape {
        Shape::App => "application",
        Shape::Filter => "filter",
        Shape::Server => "server",
        Shape::Pipeline { .. } => "pipeline",
        Shape::FilterApp { .. } => "filter_app",
        Shape::FilteredWith { .. } => "filtered_with",
    };
    let object = context.object.as_ref().map(|object| match object {
        Object::Import(path) => format!("import:{path}"),
        Object::Call(_) | Object::Egg { .. } => object.factory(),
    });
    let protocol = match (&context.protocol, &context.object) {
        (None, Some(Object::Egg { .. })) => Some("egg(unknown)"),
        (protocol, _) => protocol.as_deref(),
    };
    let mut tree = Map::new();
    let mut set = |key: &str, value| tree.insert(key.to_owned(), value);
    set("type", json!(kind));
    set("protocol", json!(protocol));
    set("object", json!(object));
    set("global_conf", values(&context.global_conf));
    set("local_conf", values(&context.local_conf));
    match &context.shape {
        Shape::App | Shape::Filter | Shape::Server => {}
        Shape::Pipeline { filters, app } => {
            set("filters", filters.iter().map(|filter| dump(filter)).collect());
            set("app", dump(app));
        }
        Shape::FilterApp { filter, next } | Shape::FilteredWith { filter, next } => {
            set("filter", dump(filter));
            set("next", dump(next));
        }
    }
    Value::Object(tree)
}

/// What a load gave: `{"ok": TREE}`, or `{"error": CLASS, "message": TEXT}`.
pub fn outcome(result: &Result<Arc<Context>, Error>) -> Value {
    match result {
        Ok(context) => json!({"ok": dump(context)}),
        Err(error) => json!({"error": error.class, "message": error.message}),
    }
}

/// All of a file: its sections, its defaults, and every section that can be loaded, resolved.
/// A file that cannot be parsed is `{"parse_error": CLASS, "message": TEXT}`.
pub fn whole(loader: &Loader<'_>, path: &Path) -> Value {
    let document = match loader.document(path) {
        Ok(document) => document,
        Err(error) => return json!({"parse_error": error.class, "message": error.message}),
    };
    let defaults = match loader.defaults(path) {
        Ok(defaults) => values(&defaults),
        Err(error) => json!({"error": error.class, "message": error.message}),
    };
    let mut contexts = Map::new();
    let uri = file_uri(path);
    for section in document.sections.keys() {
        let (prefix, name) = section.split_once(':').unwrap_or((section, ""));
        let Some(kind) = Kind::of_prefix(prefix) else { continue };
        let name = Some(document.dialect.strip(name)).filter(|name| !name.is_empty()).unwrap_or("main");
        contexts.insert(section.clone(), outcome(&loader.load(kind, &uri, Some(name), None, None)));
    }
    let mut sections: Vec<_> = document.sections.keys().collect();
    if document.dialect == Dialect::Py2 {
        // The recordings sort what had no order in most Pythons 2.
        sections.sort();
    }
    json!({
        "sections": sections,
        "defaults": defaults,
        "contexts": contexts,
    })
}

fn values(conf: &Conf) -> Value {
    conf.iter().map(|(key, setting)| (key.clone(), json!(setting.value))).collect::<Map<_, _>>().into()
}
