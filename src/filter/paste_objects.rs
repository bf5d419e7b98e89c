//! Filters of Paste and PasteDeploy whose whole work is in the worker: an `except` around the app (`httpexceptions`,
//! `error_catcher`, `cgitb`), or an object in its environ (`registry`, `config`).
//!
//! Nothing of it touches a request or an answer that no exception of the app has made, and no native filter raises
//! one. So a request passes here, the filters behind stay native, and the worker gets the section as it is.
//! Which others of Paste stay with the worker, and why, is told in [`super::kept`].
//! Must not know what the worker makes of a section.

use super::prelude::*;

/// `paste.httpexceptions`: an exception that is an HTTP answer becomes one.
pub static HTTPEXCEPTIONS: Factory = Factory {
    name: "httpexceptions",
    about: "has the worker answer exceptions that are HTTP answers",
    aliases: &["egg:Paste#httpexceptions", "egg:paste#httpexceptions", "paste.httpexceptions:make_middleware"],
    options: &[spec("warning_level", "", "read by Paste, and without effect since 2005")],
    build: |build| known(build, &HTTPEXCEPTIONS),
    ..PASSES
};

/// `paste.exceptions.errormiddleware`: exceptions are mailed, logged and shown.
pub static ERROR_CATCHER: Factory = Factory {
    name: "error_catcher",
    about: "has the worker report exceptions of the app",
    aliases: &[
        "egg:Paste#error_catcher",
        "egg:paste#error_catcher",
        "paste.exceptions.errormiddleware:make_error_middleware",
    ],
    options: &[
        spec("debug", "", "whether the page shows the traceback"),
        spec("error_email", "", "who gets a mail"),
        spec("error_log", "", "a file for the reports"),
        spec("show_exceptions_in_wsgi_errors", "", "whether they go to standard error"),
        spec("from_address", "", "sender of the mail"),
        spec("smtp_server", "", "its mail server"),
        spec("smtp_username", "", "the user there"),
        spec("smtp_password", "", "the user's password"),
        spec("smtp_use_tls", "", "whether to use TLS there"),
        spec("error_subject_prefix", "", "begins the mail's subject"),
        spec("error_message", "", "what the page says"),
        spec("xmlhttp_key", "", "a field of the query that asks for a short page"),
    ],
    build: |build| known(build, &ERROR_CATCHER),
    ..PASSES
};

/// `paste.cgitb_catcher`: exceptions become pages of Python's cgitb.
pub static CGITB: Factory = Factory {
    name: "cgitb",
    about: "has the worker show exceptions of the app",
    aliases: &["egg:Paste#cgitb", "egg:paste#cgitb", "paste.cgitb_catcher:make_cgitb_middleware"],
    options: &[
        spec("display", "", "whether the page shows the traceback"),
        spec("logdir", "", "a directory for the reports"),
        spec("context", "5", "lines around each line of the traceback"),
        spec("format", "html", "html or text"),
    ],
    build: |build| known(build, &CGITB),
    ..PASSES
};

/// `paste.registry`: objects of one request, as Pylons has them.
pub static REGISTRY: Factory = Factory {
    name: "registry",
    about: "has the worker keep objects for the time of a request",
    aliases: &["egg:Paste#registry", "egg:paste#registry", "paste.registry:make_registry_manager"],
    options: &[],
    build: |build| known(build, &REGISTRY),
    ..PASSES
};

/// `paste.deploy.config` and `paste.config`: the section's options stand in the environ as `paste.config`.
pub static CONFIG: Factory = Factory {
    name: "config",
    about: "has the worker show the section's options to the app",
    aliases: &[
        "egg:PasteDeploy#config",
        "egg:pastedeploy#config",
        "egg:Paste#config",
        "egg:paste#config",
        "paste.deploy.config:make_config_filter",
        "paste.config:make_config_filter",
    ],
    options: &[],
    // Every option is the app's, whatever its name.
    build: |build| {
        build.rest();
        Some(Box::new(Passes))
    },
    ..PASSES
};

/// What all of them have in common.
const PASSES: Factory = Factory {
    name: "",
    about: "",
    eras: "Paste 1.7 to 3.10",
    aliases: &[],
    side: Side::Both,
    makes: Makes::Filter,
    options: &[],
    build: |_| Some(Box::new(Passes)),
};

const fn spec(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, group: "", default, help }
}

/// Takes the options that the factory has; their values are the worker's to judge.
fn known(build: &mut Build<'_>, factory: &Factory) -> Option<Box<dyn Filter>> {
    for option in factory.options {
        build.local(option.name);
    }
    Some(Box::new(Passes))
}

struct Passes;

impl Filter for Passes {
    fn sees_requests(&self) -> bool {
        false
    }

    fn sees_responses(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer, build, built, head};

    #[test]
    fn a_request_and_its_answer_pass_and_the_worker_gets_the_section() {
        for factory in [&HTTPEXCEPTIONS, &ERROR_CATCHER, &CGITB, &REGISTRY, &CONFIG] {
            assert_eq!(factory.side, Side::Both, "{}", factory.name);
            let filter = built(factory, Release::NEWEST, &[], &[]);
            let mut case = Case::new("GET", "/").header("x-a", "b");
            let response = case.through(&*filter, answer(404, &[("x-c", "d")]));
            assert_eq!((response.status().as_u16(), head(&response)), (404, vec!["x-c: d".to_owned()]));
            assert_eq!(case.request.headers().len(), 1);
            assert!(case.cx.environ.is_empty());
        }
    }

    #[test]
    fn options_are_the_workers_and_typos_are_told() {
        drop(built(&ERROR_CATCHER, Release::NEWEST, &[("debug", "false"), ("smtp_password", "x")], &[]));
        drop(built(&CONFIG, Release::NEWEST, &[("whatever", "it is")], &[]));
        let (_, _, findings) = build(&CGITB, Release::NEWEST, &[("log_dir", "/x")], &[]);
        assert_eq!(findings[0].help.as_deref(), Some("did you mean `logdir`?"));
        let (_, _, findings) = build(&REGISTRY, Release::NEWEST, &[("a", "b")], &[]);
        assert_eq!(findings[0].message, "[filter:tested] has no option `a`");
    }
}
