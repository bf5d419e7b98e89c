//! What of Paste stays with the worker on purpose, and why: `tree` shows the reason where such a section ends the
//! native part of a pipeline.
//!
//! A native filter pays where it refuses bad traffic before Python runs, where it saves Python work for every request,
//! or where it moves the cut to the right. These do none of it, or would do harm. Must not know the native filters.

/// The names of a factory and why it is the worker's.
struct Kept(&'static [&'static str], &'static str);

/// By what they are.
static KEPT: &[Kept] = &[
    // They send requests into the app below once more, past every filter that would have moved to the front.
    Kept(
        &["egg:Paste#recursive", "paste.recursive:make_recursive_middleware"],
        "it sends requests into the app once more, through all that stands below it",
    ),
    Kept(
        &["egg:Paste#errordocument", "paste.errordocument:make_errordocument"],
        "it asks the app again for the page of an error, through all that stands below it",
    ),
    // They answer requests of their own, and show the inside of the app.
    Kept(
        &["egg:Paste#evalerror", "paste.evalexception.middleware:make_eval_exception"],
        "a debugger, which answers requests of its own about the app",
    ),
    Kept(&["egg:Paste#printdebug", "paste.debug.prints:PrintDebugMiddleware"], "it shows what the app prints"),
    Kept(&["egg:Paste#profile", "paste.debug.profile:make_profile_middleware"], "it measures the app's Python"),
    Kept(&["egg:Paste#lint", "paste.lint:make_middleware"], "it checks calls between Python objects"),
    Kept(
        &["egg:Paste#wdg_validate", "paste.debug.wdg_validate:make_wdg_validate_middleware"],
        "it runs another program on every page",
    ),
    Kept(&["egg:Paste#watch_threads", "paste.debug.watchthreads:make_watch_threads"], "it shows the worker's threads"),
    Kept(&["egg:Paste#pony", "paste.pony:make_pony", "egg:Paste#cowbell", "paste.cowbell:make_cowbell"], "a joke"),
    // Their users come from Python callables, or they keep state in files and objects of Python's.
    Kept(&["egg:Paste#auth_basic", "paste.auth.basic:make_basic"], "a Python function knows its users"),
    Kept(&["egg:Paste#auth_digest", "paste.auth.digest:make_digest"], "a Python function knows its users"),
    Kept(&["egg:Paste#auth_form", "paste.auth.form:make_form"], "a Python function knows its users"),
    Kept(
        &["egg:Paste#auth_cookie", "paste.auth.cookie:make_auth_cookie"],
        "its secret is made anew by each Python process that has none",
    ),
    Kept(
        &["egg:Paste#auth_tkt", "paste.auth.auth_tkt:make_auth_tkt_middleware"],
        "the app logs users in and out by functions that it puts into the environ",
    ),
    Kept(&["egg:Paste#openid", "paste.auth.open_id:make_open_id_middleware"], "it needs Python's openid"),
    Kept(&["egg:Paste#grantip", "paste.auth.grantip:make_grantip"], "it grants roles that only a Python app reads"),
    Kept(
        &["egg:Paste#paste_session", "paste.session:make_session_middleware"],
        "its sessions are pickled Python objects in files",
    ),
    Kept(&["egg:Paste#flup_session", "paste.flup_session:make_session_middleware"], "it needs Python's flup"),
    // Apps that serve files or call other servers: a web server before the front does that better.
    Kept(&["egg:Paste#static", "paste.urlparser:make_static"], "it serves files, which a web server does better"),
    Kept(
        &["egg:Paste#pkg_resources", "paste.urlparser:make_pkg_resources"],
        "it serves files that Python packages have",
    ),
    Kept(&["egg:Paste#urlparser", "paste.urlparser:make_url_parser"], "it imports the files that it finds"),
    Kept(&["egg:Paste#cgi", "paste.cgiapp:make_cgi_application"], "it runs another program for every request"),
    Kept(&["egg:Paste#proxy", "paste.proxy:make_proxy"], "it asks another server from Python"),
    Kept(&["egg:Paste#transparent_proxy", "paste.proxy:make_transparent_proxy"], "it asks another server from Python"),
    Kept(&["egg:Paste#test", "paste.debug.debugapp:make_test_app"], "it shows the environ of the worker"),
    Kept(&["egg:Paste#test_slow", "paste.debug.debugapp:make_slow_app"], "it tries how the worker waits"),
];

/// Why the factory is the worker's, if that is for a reason. A distribution's case does not count.
pub fn why(factory: &str) -> Option<&'static str> {
    let same = |name: &&&str| match (name.split_once('#'), factory.split_once('#')) {
        (Some((dist, name)), Some((other, asked))) => dist.eq_ignore_ascii_case(other) && name == asked,
        _ => **name == factory,
    };
    KEPT.iter().find(|kept| kept.0.iter().any(|name| same(&name))).map(|kept| kept.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::registry;

    #[test]
    fn a_factory_is_kept_by_each_of_its_names() {
        for name in ["egg:Paste#recursive", "egg:paste#recursive", "paste.recursive:make_recursive_middleware"] {
            assert!(why(name).is_some_and(|why| why.starts_with("it sends requests")), "{name}");
        }
        for name in ["egg:Paste#urlmap", "egg:Other#recursive", "egg:Paste#Recursive", "recursive", ""] {
            assert_eq!(why(name), None, "{name}");
        }
    }

    #[test]
    fn nothing_is_kept_that_is_native() {
        for name in KEPT.iter().flat_map(|kept| kept.0) {
            assert!(registry::find(name).is_none(), "{name}");
        }
    }
}
