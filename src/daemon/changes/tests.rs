use super::*;
use crate::compile::harness::load;

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

#[track_caller]
fn plan(files: &[(&str, &str)]) -> Plan {
    load(files, None).unwrap_or_else(|problems| panic!("{problems:?}"))
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

#[test]
fn a_listener_that_moves_comes_or_goes_is_told_with_the_line_that_does_it() {
    let paste = format!("{PASTE}[app:metadata]\npaste.app_factory = my.own:app\n");
    let with = |conf: &str| [("/nova.conf".to_owned(), conf.to_owned()), ("/a.ini".to_owned(), paste.clone())];
    #[track_caller]
    fn rebinds(old: &[(String, String)], new: &[(String, String)]) -> Vec<String> {
        let files =
            |files: &[(String, String)]| plan(&files.iter().map(|(path, text)| (&**path, &**text)).collect::<Vec<_>>());
        let found = changes(&files(old), &files(new)).into_iter().filter(|change| change.class == Class::Rebind);
        found.map(|change| format!("{} :{}", change.what, change.line.expect("a line"))).collect()
    }
    let old = with(CONF);
    let port = with(&CONF.replace("port = 1", "port = 2"));
    assert_eq!(rebinds(&old, &port), ["listener of osapi_compute :4", "[DEFAULT] osapi_compute_listen_port :4"]);
    let host = with(&CONF.replace("# A comment.", "osapi_compute_listen = ::1"));
    assert_eq!(rebinds(&old, &host), ["listener of osapi_compute :5", "[DEFAULT] osapi_compute_listen :5"]);
    // The default holds again: where the option stood.
    assert_eq!(rebinds(&host, &old), ["listener of osapi_compute :5", "[DEFAULT] osapi_compute_listen :5"]);
    let two = with(&CONF.replace("= osapi_compute\n", "= osapi_compute,metadata\n"));
    assert_eq!(rebinds(&old, &two), ["listener of metadata :3", "[DEFAULT] enabled_apis :3"]);
    assert_eq!(rebinds(&two, &old), ["listener of metadata :3", "[DEFAULT] enabled_apis :3"]);
    // In another order nothing moves, and what no API has moves nothing either.
    let order = with(&CONF.replace("= osapi_compute\n", "= metadata,osapi_compute\n"));
    assert_eq!(rebinds(&two, &order), [""; 0]);
    assert_eq!(rebinds(&old, &with(&CONF.replace("# A comment.", "ec2_listen_port = 7"))), [""; 0]);
}

#[test]
fn what_is_gone_is_told_with_the_line_where_it_stood_and_workers_with_the_line_that_they_go_for() {
    let old = [("/nova.conf", CONF), ("/a.ini", PASTE)];
    let gone = CONF.replace("worker_kind = builtin\n", "worker_kind = builtin\nqueue_size = 7\n");
    assert_eq!(told(&[("/nova.conf", &gone), ("/a.ini", PASTE)], &old), ["live [pasteway] queue_size (/nova.conf:8)"]);
    let moved = PASTE.replace(
        "/a: app\n",
        "/a: pipe\n[pipeline:pipe]\npipeline = strange app\n[filter:strange]\npaste.filter_factory = my.own:filter\n",
    );
    let found = told(&[("/nova.conf", CONF), ("/a.ini", &moved)], &old);
    assert!(found.iter().all(|change| change.contains("(/a.ini:")), "{found:?}");
    assert!(found.iter().any(|change| change.starts_with("rolling ")), "{found:?}");
}
