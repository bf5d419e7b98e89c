use std::path::PathBuf;

use super::*;
use crate::compile::compile;
use crate::config::oslo::{Argument, Arguments, Environment};
use crate::config::{self, Invocation, Reading};

const CONF: &str = "\
[DEFAULT]
api_paste_config = /a.ini
enabled_apis = osapi_compute
osapi_compute_listen_port = 1
# A comment.
[pasteway]
worker_kind = builtin
";
const PASTE: &str = "\
[composite:osapi_compute]
use = egg:Paste#urlmap
/a: app
[app:app]
paste.app_factory = my.own:app
";

/// Loads `/nova.conf` beside other files.
pub(super) fn load(files: &[(&str, &str)]) -> Result<Plan, Vec<crate::message::Diagnostic>> {
    let items = vec![Argument::File("/nova.conf".into())];
    let invocation = Invocation {
        paste: None,
        arguments: Arguments { program: "pasteway".into(), items, ask: None },
        environment: Environment {
            vars: Default::default(),
            home: None,
            cwd: PathBuf::from("/"),
            root: PathBuf::from("/"),
            hostname: "node".into(),
            my_ip: "10.0.0.1".into(),
        },
        interpreters: crate::config::interpreter::Interpreters::default(),
        cpus: 1,
    };
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()));
    let config = config::load_from(&invocation, Reading::of(files.collect::<Vec<_>>()));
    config.map_err(|failed| failed.diagnostics).and_then(|config| compile(config, None))
}

#[track_caller]
fn plan(files: &[(&str, &str)]) -> Plan {
    load(files).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// `live [DEFAULT] debug: true (/nova.conf:3)`
#[track_caller]
fn told(old: &[(&str, &str)], new: &[(&str, &str)]) -> Vec<String> {
    let text = |change: Change| {
        let line = change.line.map_or_else(String::new, |line| format!(":{line}"));
        let place = change.file.map_or_else(String::new, |file| format!(" ({}{line})", file.display()));
        format!("{} {}{place}", change.class, change.what)
    };
    let (old, new) = (plan(old), plan(new));
    let changes = changes(&old, &new);
    assert_eq!(changes.is_empty(), old.config.digest() == new.config.digest(), "{changes:?}");
    changes.into_iter().map(text).collect()
}

#[test]
fn every_file_whose_bytes_differ_is_told_with_what_it_is() {
    let old = [("/nova.conf", CONF), ("/a.ini", PASTE)];
    assert_eq!(told(&old, &old), [""; 0]);
    let nothing = |file: &str| {
        format!("live {} ({file})", "nothing that counts: comments, blanks, or what is set again elsewhere")
    };
    let comment = CONF.replace("A comment", "Another one");
    assert_eq!(told(&old, &[("/nova.conf", &comment), ("/a.ini", PASTE)]), [nothing("/nova.conf")]);
    assert_eq!(told(&old, &[("/nova.conf", CONF), ("/a.ini", &format!("{PASTE}\n\n"))]), [nothing("/a.ini")]);
    let both = format!("{comment}queue_size = 5\n");
    assert_eq!(told(&old, &[("/nova.conf", &both), ("/a.ini", PASTE)]), ["live [pasteway] queue_size (/nova.conf:8)"]);
}

#[test]
fn a_file_that_an_option_names_is_told_with_the_option() {
    let certificate = || {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("parameters");
        (params.self_signed(&key).expect("signed").pem(), key.serialize_pem())
    };
    let ((cert, key), (other_cert, other_key)) = (certificate(), certificate());
    let conf = CONF.replace(
        "# A comment.\n",
        "enabled_ssl_apis = osapi_compute\n[wsgi]\nssl_cert_file = /cert\nssl_key_file = /key\n",
    ) + "admin_token_file = /token\n[keystone_authtoken]\nauth_url = https://k\ncafile = /ca\nauth_type = password\n\
         username = u\npassword = p\n";
    let paste = PASTE.replace(
        "/a: app\n",
        "/a: pipe\n[pipeline:pipe]\npipeline = authtoken app\n\
        [filter:authtoken]\npaste.filter_factory = keystonemiddleware.auth_token:filter_factory\n",
    );
    let files = |cert, key, token, ca| {
        [
            ("/nova.conf", conf.as_str()),
            ("/a.ini", paste.as_str()),
            ("/cert", cert),
            ("/key", key),
            ("/token", token),
            ("/ca", ca),
        ]
    };
    let old = files(&cert, &key, "secret", &cert);
    assert_eq!(
        told(&old, &files(&other_cert, &other_key, "secret", &cert)),
        [
            "live [wsgi] ssl_cert_file, the file /cert (/nova.conf:7)",
            "live [wsgi] ssl_key_file, the file /key (/nova.conf:8)",
        ]
    );
    let ca = told(&old, &files(&cert, &key, "secret", &other_cert));
    assert_eq!(ca, ["live [keystone_authtoken] cafile, the file /ca (/nova.conf:14)"]);
    let token = files(&cert, &key, "another", &cert);
    assert_eq!(told(&old, &token), ["live [pasteway] admin_token_file, the file /token (/nova.conf:11)"]);
    let change = changes(&plan(&old), &plan(&token)).remove(0);
    assert_eq!((change.old.as_deref(), change.new.as_deref()), (Some("***"), Some("***")));
}
