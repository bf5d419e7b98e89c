//! Settings from the text of a nova.conf, in the eras that differ.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::oslo::{Argument, Arguments, Environment, Library};
use crate::config::{ConfSource, Reading, Via};

/// A configuration that this version can run.
const PLAIN: &str = "[pasteway]\nworker_kind = builtin\n";

fn conf(text: &str, release: Release) -> Result<Conf, Vec<Diagnostic>> {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("nova.conf");
    fs::write(&file, text).expect("written");
    let env = Environment { root: root.path().join("nowhere"), ..Environment::bare(root.path()) };
    let items = vec![Argument::File("nova.conf".into())];
    let arguments = Arguments { program: "nova-api".into(), items, ask: None };
    Conf::load(&Reading::new(), &arguments, &env, Library::of(release))
}

fn read(text: &str, release: Release) -> (Option<Settings>, Vec<String>) {
    let conf = conf(text, release).expect("loads");
    let (settings, found) = settings(&conf, release, 4);
    (settings, found.iter().map(ToString::to_string).collect())
}

/// Settings of a nova.conf that begins with [`PLAIN`].
fn good(text: &str, release: Release) -> Settings {
    let (settings, found) = read(&format!("{PLAIN}{text}"), release);
    settings.unwrap_or_else(|| panic!("{}", found.join("\n")))
}

/// The first finding on a nova.conf that begins with [`PLAIN`].
fn bad(text: &str, release: Release) -> String {
    let (settings, found) = read(&format!("{PLAIN}{text}"), release);
    assert!(settings.is_none(), "no error was found");
    found.into_iter().next().expect("an error")
}

fn workers(settings: &Settings) -> Vec<(&str, u16, i64)> {
    settings.apis.iter().map(|api| (api.name.as_str(), api.port, api.workers)).collect()
}

#[test]
fn each_era_has_its_apis_and_worker_counts() {
    let havana = good("", Release::HAVANA);
    assert_eq!(workers(&havana), [("ec2", 8773, 1), ("osapi_compute", 8774, 1), ("metadata", 8775, 1)]);
    let icehouse = good("[DEFAULT]\nec2_workers = 0\nmetadata_workers = 2\n", Release::ICEHOUSE);
    assert_eq!(workers(&icehouse), [("ec2", 8773, 4), ("osapi_compute", 8774, 4), ("metadata", 8775, 2)]);
    let newest = good("", Release::NOVA_31);
    assert_eq!(workers(&newest), [("osapi_compute", 8774, 4), ("metadata", 8775, 4)]);
    assert_eq!((havana.auth_strategy.as_str(), newest.auth_strategy.as_str()), ("noauth", "keystone"));
    assert_eq!(havana.apis.iter().map(|api| api.max_url_len).collect::<Vec<_>>(), [16384, 8192, 8192]);
}

#[test]
fn a_negative_worker_count_runs_none_in_havana_and_is_an_error_later() {
    let havana = good("[DEFAULT]\nec2_workers = -1\n", Release::HAVANA);
    let ec2 = havana.apis.first().expect("ec2");
    assert_eq!((ec2.workers, ec2.slots()), (-1, 0));
    let text = format!("{PLAIN}[DEFAULT]\nosapi_compute_workers = -1\n");
    for (release, class, message) in [
        (
            Release::ICEHOUSE,
            "InvalidInput",
            "Invalid input received: osapi_compute_workers value of -1 is invalid, must be greater than 0",
        ),
        (
            Release::ZED,
            "ConfigFileValueError",
            "Value for option osapi_compute_workers from LocationInfo(location=<Locations.user: (4, True)>, \
             detail='nova.conf') is not valid: Should be greater than or equal to 1",
        ),
    ] {
        let (_, found) = settings(&conf(&text, release).expect("loads"), release, 4);
        let error = found.iter().find(|d| d.is_error()).expect("an error");
        assert_eq!(error.place.as_ref().map(ToString::to_string).as_deref(), Some("nova.conf:4:25"));
        let original = error.original.as_ref().expect("an original");
        assert_eq!((original.class.as_str(), original.message.as_str()), (class, message));
    }
}

#[test]
fn all_problems_come_at_once_each_with_its_place_and_help() {
    let text = "[DEFAULT]\nenabled_apis = ec2,metadata\nec2_listen_port = 80x\nmetadata_workers = many\n\
                [pasteway]\nwroker_kind = builtin\nworker_surges = 5\nbalance = round\nqueue_timeout = -1\n\
                admin_listen = 0.0.0.0:9774\n";
    let (settings, found) = read(text, Release::NEWTON);
    assert!(settings.is_none());
    for want in [
        "nova.conf:3:19: `ec2_listen_port`: `80x` is not a whole number\nhelp: it is: The port of the EC2 API.",
        "nova.conf:4:20: `metadata_workers`: `many` is not a whole number",
        "nova.conf:6:1: [pasteway] has no option `wroker_kind`\nhelp: did you mean `worker_kind`?",
        "nova.conf:7:1: [pasteway] has no option `worker_surges`\nhelp: did you mean `worker_surge`?",
        "nova.conf:8:11: `balance` of [pasteway]: `round`",
        "nova.conf:9:17: `queue_timeout` of [pasteway]: `-1` is no time in seconds",
        "nova.conf:10:16: admin_listen: 0.0.0.0:9774 can be reached from outside, and there is no token",
    ] {
        assert!(found.iter().any(|text| text.starts_with(want)), "{want}\nis not in\n{}", found.join("\n"));
    }
}

#[test]
fn a_command_is_split_as_by_a_shell_and_its_mistakes_are_told() {
    for (text, want) in [
        ("", "have no command"),
        ("worker_command = run 'x\n", "worker_command: missing closing quote"),
        ("worker_command = run {sock}\n", "there is no placeholder {sock}"),
        ("worker_command = run {socket} {fd}\n", "has both {socket} and {fd}"),
        ("worker_command = run\nworker_protocol = uwsgi\nworker_chunked = pass\n", "has no chunked bodies"),
    ] {
        let text = bad(&format!("worker_kind = command\n{text}"), Release::NEWEST);
        assert!(text.contains(want), "{want}: {text}");
    }
    let (settings, found) =
        read("[pasteway]\nworker_kind = command\nworker_command = run 'a b' {api}\n", Release::NEWEST);
    let settings = settings.unwrap_or_else(|| panic!("{}", found.join("\n")));
    let words = ["run", "a b", "{api}"].map(str::to_owned).to_vec();
    assert!(settings.apis.iter().all(|api| api.kind == WorkerKind::Command(words.clone())));
    assert!(settings.apis.iter().all(|api| api.chunked == Chunked::Spool));
}

#[test]
fn workers_are_pythons_by_default_and_take_as_many_requests_as_their_nova_is_made_for() {
    let threads = |text: &str, release| {
        let (settings, found) = read(text, release);
        let settings = settings.unwrap_or_else(|| panic!("{}", found.join("\n")));
        let api = settings.apis.into_iter().find(|api| api.name.as_str() == "metadata").expect("an API");
        assert_eq!((&api.kind, api.chunked), (&WorkerKind::Python { app: None }, Chunked::Pass));
        api.worker_threads
    };
    assert_eq!(threads("", Release::HAVANA), 1);
    assert_eq!(threads("", Release::NOVA_32), 1);
    assert_eq!(threads("[pasteway]\nworker_kind = python\n", Release::NOVA_33), 4);
    assert_eq!(threads("[pasteway]\nworker_threads = 7\n", Release::NOVA_33), 7);
}

#[test]
fn a_service_s_own_entry_is_a_module_and_a_name_in_it() {
    let apps = |text: &str| {
        let (settings, found) = read(&format!("[pasteway]\n{text}"), Release::NEWEST);
        let apps = settings.map(|s| s.apis.into_iter().map(|api| api.kind).collect::<Vec<_>>());
        apps.ok_or_else(|| found.into_iter().next().unwrap_or_default())
    };
    let python = |app: &str| WorkerKind::Python { app: Some(app.to_owned()) };
    assert_eq!(
        apps("worker_app = a.b:make()\nworker_app_metadata = none\n"),
        Ok(vec![python("a.b:make()"), python("none")])
    );
    let error = apps("worker_app = a.b\n").expect_err("no callable");
    assert!(error.starts_with("nova.conf:2:14: worker_app: `a.b` names no WSGI entry"), "{error}");
}

#[test]
fn external_workers_are_as_many_as_their_sockets_and_need_some() {
    let text = "worker_kind_metadata = external\nworker_sockets = /run/a,/run/b,\n[DEFAULT]\nmetadata_workers = 7\n";
    let havana = good(text, Release::HAVANA);
    let metadata = havana.apis.last().expect("metadata");
    let sockets = ["/run/a", "/run/b"].map(PathBuf::from).to_vec();
    assert_eq!((metadata.workers, &metadata.kind), (2, &WorkerKind::External(sockets)));
    assert_eq!((metadata.chunked, metadata.worker_threads), (Chunked::Spool, 1000));
    let text = bad("worker_kind_ec2 = external\n", Release::HAVANA);
    assert!(text.starts_with("nova.conf:3:19: the external workers of `ec2` have no sockets"), "{text}");
}

#[test]
fn an_option_for_an_api_that_is_not_there_is_a_warning() {
    let conf = conf(&format!("{PLAIN}worker_kind_metadat = builtin\n"), Release::NEWTON).expect("loads");
    let (settings, found) = settings(&conf, Release::NEWTON, 1);
    assert!(settings.is_some());
    let text = found.first().expect("a warning").to_string();
    assert!(text.contains("`worker_kind_metadat` is about an API `metadat`") && text.contains("`metadata`?"), "{text}");
}

#[test]
fn zed_knows_two_apis_and_two_strategies() {
    let text = bad("[DEFAULT]\nenabled_apis = osapi_compute,ec2\n", Release::ZED);
    assert!(text.starts_with("nova.conf:4:16: `enabled_apis`: `ec2` is none of osapi_compute, metadata"), "{text}");
    let text = bad("[api]\nauth_strategy = noauth\n", Release::ZED);
    assert!(text.contains("`noauth` is none of keystone, noauth2"), "{text}");
    assert_eq!(good("[DEFAULT]\nauth_strategy = deprecated\n", Release::KILO).auth_strategy, "deprecated");
}

#[test]
fn an_old_name_works_in_its_own_era_silently_and_later_with_a_warning() {
    let text = format!("{PLAIN}[DEFAULT]\ntcp_keepidle = 7\n");
    for (release, warnings) in [(Release::HAVANA, 0), (Release::NEWTON, 1)] {
        let (settings, found) = read(&text, release);
        assert_eq!(settings.expect("good").tcp_keepidle, Duration::from_secs(7));
        assert_eq!(found.len(), warnings, "{found:?}");
        for text in found {
            let want =
                "nova.conf:4:16: warning: `tcp_keepidle` is a deprecated name\nhelp: write `tcp_keepidle` of [wsgi]";
            assert_eq!(text, want);
        }
    }
    // Group [wsgi] is nobody's before Newton.
    let havana = good("[wsgi]\ntcp_keepidle = 7\n", Release::HAVANA);
    assert_eq!(havana.tcp_keepidle, Duration::from_secs(600));
}

#[test]
fn an_option_that_is_gone_has_no_effect_and_says_so() {
    let text = format!("{PLAIN}[api]\nauth_strategy = noauth2\n");
    assert_eq!(read(&text, Release::NOVA_31).0.map(|s| s.auth_strategy).as_deref(), Some("noauth2"));
    let (settings, found) = read(&text, Release::NOVA_32);
    assert_eq!(settings.map(|s| s.auth_strategy).as_deref(), Some("keystone"));
    let want = "nova.conf:4:17: warning: `auth_strategy` of [api] has no effect: it is gone since release 32";
    assert!(found.iter().any(|text| text.starts_with(want)), "{found:?}");
}

#[test]
fn tls_needs_both_files() {
    let text = "[DEFAULT]\nenabled_ssl_apis = ec2\nssl_cert_file = /c.pem\n";
    let error = bad(text, Release::HAVANA);
    assert!(error.starts_with("nova.conf:4:20: enabled_ssl_apis needs both"), "{error}");
    let good = good(&format!("{text}ssl_key_file = /k.pem\n"), Release::HAVANA);
    let tls: Vec<_> = good.apis.iter().map(|api| api.tls.as_ref().map(|tls| tls.key.as_path())).collect();
    assert_eq!(tls, [Some(Path::new("/k.pem")), None, None]);
}

#[test]
fn two_apis_cannot_listen_on_one_address_but_on_any_free_port() {
    let text = bad("[DEFAULT]\nec2_listen_port = 8774\n", Release::HAVANA);
    assert!(text.contains("`osapi_compute` and `ec2` both listen on 0.0.0.0:8774"), "{text}");
    let zero = "[DEFAULT]\nec2_listen_port = 0\nosapi_compute_listen_port = 0\nenabled_apis = ec2,osapi_compute,new\n";
    assert_eq!(good(zero, Release::HAVANA).apis.iter().map(|api| api.port).sum::<u16>(), 0);
}

#[test]
fn the_log_follows_its_era() {
    let log = |text: &str, release| good(&format!("[DEFAULT]\n{text}"), release).log;
    assert_eq!(log("", Release::HAVANA).level, Level::Warning);
    assert_eq!(log("verbose = true\n", Release::HAVANA).level, Level::Info);
    assert_eq!(log("", Release::LIBERTY).level, Level::Info);
    assert_eq!(log("verbose = false\n", Release::LIBERTY).level, Level::Warning);
    assert_eq!(log("verbose = false\n", Release::PIKE).level, Level::Info);
    assert_eq!(log("debug = true\n", Release::NOVA_31).level, Level::Debug);

    let destinations = |log: LogSettings| (log.file, log.stderr, log.stdout);
    assert_eq!(destinations(log("", Release::HAVANA)), (None, true, false));
    assert_eq!(destinations(log("", Release::NOVA_31)), (None, false, true));
    let dir = "log_dir = /var/log/nova\nuse_stderr = false\n";
    let file = Some("/var/log/nova/nova-api.log".into());
    assert_eq!(destinations(log(dir, Release::HAVANA)), (file.clone(), false, true));
    assert_eq!(destinations(log(dir, Release::NOVA_31)), (file, false, false));
    let both = log("log_dir = /var/log\nlogfile = a.log\n", Release::NOVA_31);
    assert_eq!(destinations(both), (Some("/var/log/a.log".into()), false, false));
    let syslog = log("use_syslog = true\nsyslog_log_facility = LOG_LOCAL0\n", Release::HAVANA);
    assert_eq!(syslog.syslog.as_deref(), Some("LOG_LOCAL0"));
}

#[test]
fn proxies_are_trusted_when_named_and_all_of_them_with_a_warning_when_nova_would() {
    let peer = "192.0.2.1".parse().expect("an address");
    let trust = |text: &str| good(text, Release::NOVA_31).pasteway.trusted_proxies;
    assert!(trust("").is_nobody());
    assert!(trust("trusted_proxies = 192.0.2.0/24\n").believes(peer));
    assert!(trust("trusted_proxies =\n[oslo_middleware]\nenable_proxy_headers_parsing = true\n").is_nobody());
    let (settings, found) = read(&format!("{PLAIN}[api]\nuse_forwarded_for = true\n"), Release::ZED);
    assert_eq!(settings.map(|s| s.pasteway.trusted_proxies), Some(Trust::Everybody));
    assert!(found.iter().any(|text| text.starts_with("nova.conf:4:21: warning: use_forwarded_for makes")), "{found:?}");
}

#[test]
fn the_rest_of_pasteway_has_the_documented_defaults() {
    let ours = good("", Release::HAVANA).pasteway;
    assert_eq!(ours.admin_listen, ["127.0.0.1:9774".parse().expect("an address")]);
    assert_eq!((ours.front_threads, ours.worker_surge, ours.queue_size), (4, 1, 1024));
    assert_eq!(ours.worker_stop_timeout, Some(Duration::from_secs(60)));
    assert_eq!((ours.watch, ours.watch_settle), (Watch::Events, Duration::from_millis(100)));
    assert_eq!((ours.ini_dialect, ours.paste_library), (Dialect::Py2, PasteLibrary::One));
    assert_eq!(ours.worker_ready_request, ReadyRequest { method: http::Method::GET, path: "/".into() });
    assert!(matches!(ours.runtime_dir, RuntimeDir::FirstOf(dirs) if dirs.len() == 1));
    let none = good("admin_listen =\nwatch = POLL\nini_dialect = py3\n", Release::HAVANA).pasteway;
    assert!(none.admin_listen.is_empty());
    assert_eq!((none.watch, none.ini_dialect, none.paste_library), (Watch::Poll, Dialect::Py3, PasteLibrary::One));
}

#[test]
fn the_wanted_release_is_a_name_a_number_or_auto() {
    let wanted = |text: &str| wanted_release(&conf(&format!("{PLAIN}{text}"), Release::NEWEST).expect("loads"));
    assert_eq!(wanted("").ok(), Some(None));
    assert_eq!(wanted("release = 2013.2\n").ok(), Some(Some(Release::HAVANA)));
    let error = wanted("release = 2099\n").expect_err("no such release").to_string();
    assert!(error.starts_with("nova.conf:3:11: `2099` is not a Nova release"), "{error}");
}

#[test]
fn filters_find_options_by_any_name_with_the_releases_default() {
    let conf = conf("[CORS]\nallowed_origin = $my_ip\n[DEFAULT]\nosapi_max_limit = 5\n", Release::HAVANA);
    let conf = conf.expect("loads");
    conf.set_release(Release::HAVANA);
    let raw = |group, name| conf.raw(group, name).map(|s| (s.value, s.place.map(|p| p.line), s.via));
    assert_eq!(raw("cors", "allowed_origin"), Some(("10.0.0.1".into(), Some(2), Via::Conf)));
    assert_eq!(raw("api", "max_limit"), Some(("5".into(), Some(4), Via::Conf)));
    assert_eq!(raw("DEFAULT", "osapi_max_limit"), raw("api", "max_limit"));
    let size = Some(("114688".into(), None, Via::BuiltIn));
    assert_eq!(raw("oslo_middleware", "max_request_body_size"), size);
    assert_eq!(raw("nowhere", "nothing"), None);
    assert!(conf.faults().is_empty());
    assert_eq!(raw("DEFAULT", "state_path"), None);
    let fault = conf.faults().pop().expect("a fault").to_string();
    assert!(fault.contains("`$pybasedir`") && fault.contains("write the path out"), "{fault}");
}

#[test]
fn all_options_in_effect_are_listed_once_under_their_current_names() {
    let text =
        "[DEFAULT]\ntcp_keepidle = 7\nec2_workers = 2\nvolume_listen = ::1\n[database]\nconnection = mysql://u:p@h\n";
    let conf = conf(text, Release::HAVANA).expect("loads");
    conf.set_release(Release::HAVANA);
    let all = conf.effective();
    let values = |name: &str| {
        let named = all.iter().filter(|e| e.name == name);
        named.map(|e| (e.group.as_str(), e.setting.value.as_str(), e.secret)).collect::<Vec<_>>()
    };
    assert_eq!(values("tcp_keepidle"), [("wsgi", "7", false)]);
    assert_eq!(values("ec2_workers"), [("DEFAULT", "2", false)]);
    assert_eq!(values("volume_listen"), [("DEFAULT", "::1", false)]);
    assert_eq!(values("ec2_listen_port"), [("DEFAULT", "8773", false)]);
    assert_eq!(values("connection"), [("database", "mysql://u:p@h", true)]);
    assert!(values("ssl_ca_file").is_empty() && values("<api>_listen").is_empty());
}

#[test]
fn values_that_lead_to_each_other_endlessly_are_an_error_not_an_end() {
    let mut text = String::from("[DEFAULT]\n");
    for n in 0..50 {
        text.push_str(&format!("a{n} = $a{m}$a{m}\n", m = n + 1));
    }
    text.push_str("a50 = end\nstate_path = $a0\nlog_dir = $a0\n");
    // Options of the command line are read at once, the others when they are asked for.
    let found = conf(&text, Release::NEWEST).expect_err("too deep");
    let told: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(matches!(told.as_slice(), [one] if one.contains("`log_dir`: its value leads in a circle")), "{told:?}");
    let conf = conf(&text.replace("log_dir", "x"), Release::NEWEST).expect("loads");
    let error = conf.get::<String>(&options::STATE_PATH).expect_err("too deep").to_string();
    assert!(error.contains("its value leads in a circle"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_value_of_any_option_makes_it_panic(which in any::<prop::sample::Index>(), value in "\\PC{0,12}|[-0-9$a-z:/,.]{0,12}") {
        let all: Vec<_> = options::all().collect();
        let opt = all[which.index(all.len())];
        let line = format!("[{}]\n{} = {value}\n", opt.group, opt.name.replace("<api>", "ec2"));
        for release in [Release::HAVANA, Release::NEWTON, Release::NEWEST] {
            if let Ok(conf) = conf(&line, release) {
                settings(&conf, release, 2);
            }
        }
    }
}
