//! Trees of small Paste files, and what is found wrong with them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::Reading;
use crate::config::paste::{Dialect, Library, Rules};

const RULES: Rules = Rules { dialect: Dialect::Py2, library: Library::One };

fn choice(strategy: &str, release: Release) -> Choice {
    Choice { auth_strategy: strategy.into(), api_rate_limit: true, release }
}

fn expanded(text: &str, choice: &Choice) -> (Option<Tree>, Vec<Diagnostic>) {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("a.ini"), text).unwrap();
    let reading = Reading::new();
    let loader = Loader::new(&reading, RULES);
    let root = loader.load(Kind::App, "config:a.ini", None, Some(scratch.path()), None).unwrap();
    expand(&loader, root, choice)
}

/// `key(filter(filter(app)))`, by section.
fn shown(tree: &Tree) -> String {
    let name = |context: &Context| context.section.clone().unwrap_or_default();
    match tree {
        Tree::App(context) => name(context),
        Tree::Filtered { filter, next } => format!("{}({})", name(filter), shown(next)),
        Tree::Cascade { catch, branches, .. } => {
            format!("[{}] after {catch:?}", branches.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Tree::Map { entries, not_found, .. } => {
            let mut parts: Vec<_> = entries.iter().map(|(key, _, tree)| format!("{key} {}", shown(tree))).collect();
            parts.extend(not_found.as_ref().map(|tree| format!("else {}", shown(tree))));
            format!("{{{}}}", parts.join(", "))
        }
    }
}

fn found(diagnostics: &[Diagnostic]) -> Vec<(u32, u32, &str)> {
    diagnostics
        .iter()
        .map(|d| (d.place.as_ref().map_or(0, |p| p.line), d.place.as_ref().map_or(0, |p| p.column), d.message.as_str()))
        .collect()
}

const PARTS: &str = "[filter:f]\npaste.filter_factory = m:f\n[filter:g]\npaste.filter_factory = m:g\n\
                     [filter:ratelimit_v3]\npaste.filter_factory = m:r\n[app:a]\npaste.app_factory = m:a\n";

fn nova(body: &str) -> String {
    format!("[composite:main]\nuse = call:nova.api.auth:pipeline_factory\n{body}\n{PARTS}")
}

#[test]
fn a_cascade_has_its_apps_in_the_order_of_their_names() {
    let text = format!(
        "[composite:main]\nuse = egg:Paste#cascade\napp2 = p\napp10 = a\napp1 = a\ncatch = 404 403\n\
         [pipeline:p]\npipeline = f a\n{PARTS}"
    );
    let (tree, diagnostics) = expanded(&text, &choice("noauth", Release::NEWEST));
    assert_eq!(shown(&tree.expect("a tree")), "[app:a, app:a, filter:f(app:a)] after [404, 403]");
    assert_eq!(found(&diagnostics), []);
    let wrong = text.replace("app10 = a\napp1 = a\n", "apple = a\nother = a\n").replace("404 403", "404, 40x");
    let (tree, diagnostics) = expanded(&wrong, &choice("noauth", Release::NEWEST));
    assert!(tree.is_none());
    let said: Vec<_> = diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(said, ["`other` is no key of a cascade", "catch: `404,` is no status code"]);
}

#[test]
fn the_auth_strategy_picks_the_pipeline() {
    let text = nova("noauth = f a\nkeystone = f g a\nkeystone_nolimit = g a");
    let tree = |strategy, limit, release| {
        let choice = Choice { api_rate_limit: limit, ..choice(strategy, release) };
        shown(&expanded(&text, &choice).0.unwrap())
    };
    assert_eq!(tree("noauth", true, Release::HAVANA), "filter:f(app:a)");
    assert_eq!(tree("noauth", false, Release::HAVANA), "filter:f(app:a)");
    assert_eq!(tree("keystone", true, Release::HAVANA), "filter:f(filter:g(app:a))");
    assert_eq!(tree("keystone", false, Release::HAVANA), "filter:g(app:a)");
    // The option is gone.
    assert_eq!(tree("noauth", true, Release::NOVA_32), "filter:f(filter:g(app:a))");
}

#[test]
fn only_the_oldest_factory_looks_for_a_pipeline_without_limits() {
    let text = nova("keystone = f a\nkeystone_nolimit = g a").replace("pipeline_factory", "pipeline_factory_v21");
    let choice = Choice { api_rate_limit: false, ..choice("keystone", Release::JUNO) };
    assert_eq!(shown(&expanded(&text, &choice).0.unwrap()), "filter:f(app:a)");
}

#[test]
fn icehouse_and_juno_leave_ratelimit_v3_out() {
    let text = nova("keystone = f ratelimit_v3 a");
    let at = |release| expanded(&text, &choice("keystone", release));
    assert_eq!(shown(&at(Release::HAVANA).0.unwrap()), "filter:f(filter:ratelimit_v3(app:a))");
    let (tree, warnings) = at(Release::ICEHOUSE);
    assert_eq!(shown(&tree.unwrap()), "filter:f(app:a)");
    assert_eq!(found(&warnings)[0].0, 3);
    assert!(!warnings[0].is_error());
}

#[test]
fn a_strategy_that_is_not_there_lists_those_that_are() {
    let (tree, errors) = expanded(&nova("noauth = f a\nkeystone = g a"), &choice("noauth2", Release::KILO));
    assert!(tree.is_none());
    assert_eq!(found(&errors), [(1, 1, "[composite:main] has no pipeline for the auth strategy `noauth2`")]);
    assert_eq!(errors[0].help.as_deref(), Some("it has `noauth`, `keystone`: choose one by auth_strategy, or add one"));
    let original = errors[0].original.as_ref().unwrap();
    assert_eq!((original.class.as_str(), original.message.as_str()), ("KeyError", "'noauth2'"));
}

#[test]
fn all_problems_of_all_members_are_found_at_once() {
    let text = format!(
        "[composite:main]\nuse = egg:Paste#urlmap\n/: p\n/x /y: q\n/v2: aa\n/v3: gone\n\
         [composite:p]\nuse = call:nova.api.auth:pipeline_factory\nkeystone = ff f\n    gg nope\n{PARTS}"
    );
    let (tree, errors) = expanded(&text, &choice("keystone", Release::HAVANA));
    assert!(tree.is_none());
    assert_eq!(
        found(&errors),
        [
            (9, 12, "filter `ff` is not defined"),
            (10, 5, "filter `gg` is not defined"),
            (10, 8, "app `nope` is not defined"),
            (4, 1, "`/x /y` is no key of a urlmap"),
            (4, 8, "app `q` is not defined"),
            (5, 6, "app `aa` is not defined"),
            (6, 6, "app `gone` is not defined"),
        ]
    );
    assert_eq!(errors[3].original.as_ref().unwrap().message, "more than one path given (have '/x', got '/y')");
}

#[test]
fn urlmaps_nest_and_know_what_answers_when_nothing_matches() {
    let text = format!(
        "[composite:main]\nuse = call:nova.api.openstack.urlmap:urlmap_factory\nnot_found_app = a\n\
         / = pipe\n/in = inner\n[composite:inner]\nuse = egg:Paste#urlmap\n/ = a\n\
         [pipeline:pipe]\npipeline = f g a\n{PARTS}"
    );
    let (tree, warnings) = expanded(&text, &choice("keystone", Release::NEWEST));
    assert_eq!(shown(&tree.unwrap()), "{/ filter:f(filter:g(app:a)), /in {/ app:a}, else app:a}");
    assert!(warnings.is_empty());
}

#[test]
fn the_later_of_two_equal_keys_replaces_the_earlier() {
    let text = format!(
        "[composite:main]\nuse = egg:Paste#urlmap\n/x/ = a\n//x = b\n[app:b]\npaste.app_factory = m:b\n{PARTS}"
    );
    let (tree, warnings) = expanded(&text, &choice("keystone", Release::NEWEST));
    assert_eq!(shown(&tree.unwrap()), "{//x app:b}");
    assert_eq!(found(&warnings), [(3, 1, "`/x/` is the same as `//x` (line 4), which replaces it")]);
}

#[test]
fn a_urlmap_passes_its_globals_on_and_a_pipeline_factory_does_not() {
    let text = "[composite:main]\nuse = egg:Paste#urlmap\nset k = K\n/ = a\n/p = p\n\
                [composite:p]\nuse = call:nova.api.auth:pipeline_factory\nset j = J\nkeystone = a\n\
                [app:a]\npaste.app_factory = m:a\n";
    let (tree, _) = expanded(text, &choice("keystone", Release::HAVANA));
    let Some(Tree::Map { entries, .. }) = tree else { panic!("no map") };
    let globals: Vec<Vec<&str>> = entries
        .iter()
        .map(|(_, _, tree)| match tree {
            Tree::App(context) => context.global_conf.keys().map(String::as_str).filter(|k| k.len() == 1).collect(),
            _ => panic!("no app"),
        })
        .collect();
    assert_eq!(globals, [vec!["k"], vec![]]);
}

#[test]
fn a_composite_that_the_front_does_not_know_stays_whole() {
    for text in [
        "[composite:main]\nuse = egg:Paste#another\napp1 = a\n",
        "[composite:main]\npaste.composite_factory = site:make\n/ = nowhere\n",
        "[app:main]\npaste.app_factory = nova.api.openstack.urlmap:urlmap_factory\n/ = nowhere\n",
    ] {
        assert!(matches!(expanded(text, &choice("keystone", Release::NEWEST)).0, Some(Tree::App(_))), "{text}");
    }
}

#[test]
fn filters_of_filters_are_laid_out_from_outside_in() {
    let text = format!(
        "[app:main]\nuse = a\nfilter-with = h\n[filter:h]\npaste.filter_factory = m:h\nfilter-with = f\n{PARTS}"
    );
    let (tree, warnings) = expanded(&text, &choice("keystone", Release::NEWEST));
    assert_eq!(shown(&tree.unwrap()), "filter:f(filter:h(app:main))");
    assert!(warnings.is_empty());
}

#[test]
fn a_filter_on_a_whole_pipeline_is_applied_though_the_original_breaks_it() {
    let text = format!("[pipeline:main]\npipeline = f a\nfilter-with = g\n{PARTS}");
    let (tree, warnings) = expanded(&text, &choice("keystone", Release::NEWEST));
    assert_eq!(shown(&tree.unwrap()), "filter:g(filter:f(app:a))");
    assert_eq!(found(&warnings)[0].0, 1);
}

#[test]
fn a_call_without_a_section_of_a_known_kind_cannot_be_created() {
    for (text, protocol) in [
        (format!("[pipeline:main]\npipeline = f call:m:a\n{PARTS}"), "None"),
        (format!("[pipeline:main]\npipeline = call:m:f a\n{PARTS}"), "None"),
        (format!("[filter-app:main]\nuse = call:m:f\nnext = a\n{PARTS}"), "'paste.filter-app_factory'"),
    ] {
        let (tree, errors) = expanded(&text, &choice("keystone", Release::NEWEST));
        assert!(tree.is_none(), "{text}");
        let original = errors[0].original.as_ref().unwrap();
        assert_eq!(original.message, format!("Protocol {protocol} unknown"));
        assert_eq!(original.class, "AssertionError");
    }
}

#[test]
fn composites_that_contain_each_other_are_reported() {
    let text = "[composite:main]\nuse = egg:Paste#urlmap\n/ = b\n/x = main\n\
                [composite:b]\nuse = egg:Paste#urlmap\n/ = main\n/y = b\n";
    let (tree, errors) = expanded(text, &choice("keystone", Release::NEWEST));
    assert!(tree.is_none());
    assert!(errors.iter().all(|d| d.message.starts_with("composites nest without end")));
    assert_eq!(errors[0].original.as_ref().unwrap().class, "RecursionError");
}

#[test]
fn composites_may_nest_as_deep_as_they_like_without_harm() {
    let mut text = String::from("[composite:main]\nuse = egg:Paste#urlmap\n/ = c0\n");
    for n in 0..100 {
        text += &format!("[composite:c{n}]\nuse = egg:Paste#urlmap\n/ = c{}\n/p = a0\n", n + 1);
        text += &format!("[app:a{n}]\nuse = a{}\n", n + 1);
    }
    let (tree, errors) = expanded(&text, &choice("keystone", Release::NEWEST));
    assert!(tree.is_none());
    assert!(errors.iter().any(|d| d.message.starts_with("composites nest without end")));
}

#[test]
fn every_api_of_every_nova_release_expands() {
    let Some(corpus) = crate::config::paste::corpus() else { return };
    let mut trees = 0;
    for file in fs::read_dir(corpus.join("nova/releases")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // Their pipelines are written out: no factory chooses.
        if name.starts_with("2011") || name.starts_with("2012.1") {
            continue;
        }
        let reading = Reading::new();
        let loader = Loader::new(&reading, RULES);
        let document = loader.document(Path::new(&path)).unwrap();
        for api in ["osapi_compute", "metadata", "ec2"] {
            if !document.sections.contains_key(&format!("composite:{api}")) {
                continue;
            }
            let root = loader.load(Kind::App, &format!("config:{}", path.display()), Some(api), None, None).unwrap();
            let (tree, found) = expand(&loader, root, &choice("keystone", Release::NEWEST));
            assert!(matches!(tree, Some(Tree::Map { .. })), "{name} {api}: {found:?}");
            trees += 1;
        }
    }
    assert!(trees > 60, "{trees}");
}

fn maplike() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "\\[(composite|pipeline|filter-app|filter|app):(a|b|main)\\]\nuse = (a|b|f|egg:Paste#urlmap|call:m:f)",
        "\\[composite:(a|b|main)\\]\nuse = call:nova.api.(auth:pipeline_factory|openstack.urlmap:urlmap_factory)",
        "(/[a-z+/]{0,3}|domain x|port 1|not_found_app|keystone|pipeline|next|filter-with) = (a|b|f|main| ){0,4}",
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_tree_makes_the_expansion_panic_or_hang(text in maplike()) {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("a.ini"), &text).unwrap();
        let reading = Reading::new();
        let loader = Loader::new(&reading, RULES);
        if let Ok(root) = loader.load(Kind::App, "config:a.ini", None, Some(scratch.path()), None) {
            let (tree, found) = expand(&loader, root, &choice("keystone", Release::NEWEST));
            prop_assert_eq!(tree.is_none(), found.iter().any(Diagnostic::is_error));
        }
    }
}
