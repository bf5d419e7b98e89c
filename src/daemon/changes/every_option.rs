//! Every option of the table is changed, and every option of every native filter: what happens then is what its class
//! says, in `changes` and in the reference.
//!
//! What a swap does is read off the two plans by what the swap itself goes by: listeners are kept by their address, pools
//! by their digest, filters by their key; what a pool is told while it lives comes from the settings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::compile::harness::load;
use crate::config::options::{Item, Kind, Opt};
use crate::daemon::prepare::pool_spec;
use crate::daemon::runtime_dir::RuntimeDir;

use crate::filter::registry::FACTORIES;
use crate::filter::{Factory, Makes, OptionSpec};
use crate::id::Generation;
use crate::release::Release;

const KINDS: [&str; 4] = ["builtin", "external", "python", "command"];

/// What is not tried here, and why.
const ELSEWHERE: [(&str, &str); 3] = [
    (
        "worker_python",
        "no interpreter is asked here: python::a_virtualenv_s_link_that_points_elsewhere_replaces_the_workers",
    ),
    ("runtime_dir", "refused: complaints::reload::no_field_is_silently_left_out_or_half_applied"),
    ("front_threads", "refused: complaints::reload::no_field_is_silently_left_out_or_half_applied"),
];

/// Options of a filter's section that do nothing there, and why.
const IDLE: [(&str, &[&str], &str); 2] = [
    (
        "authtoken_keystoneclient",
        &[
            "application_credential_id",
            "application_credential_name",
            "application_credential_secret",
            "auth_plugin",
            "auth_section",
            "auth_type",
            "auth_url",
            "default_domain_id",
            "default_domain_name",
            "domain_id",
            "domain_name",
            "endpoint",
            "interface",
            "password",
            "project_domain_id",
            "project_domain_name",
            "project_id",
            "project_name",
            "region_name",
            "system_scope",
            "tenant_id",
            "tenant_name",
            "token",
            "trust_id",
            "user_domain_id",
            "user_domain_name",
            "user_id",
            "user_name",
            "username",
        ],
        "the list is authtoken's, and only that one has plugins for accounts",
    ),
    ("basic_auth", &["http_basic_auth_user_file"], "the original reads it in nova.conf alone"),
];

const PASTE: &str = "\
[DEFAULT]
mark = of all
[composite:osapi_compute]
use = call:nova.api.openstack.urlmap:urlmap_factory
set mark = of one
/: versions
/v2: strategies
[composite:strategies]
use = call:nova.api.auth:pipeline_factory
noauth = faultwrap sizelimit app
noauth2 = faultwrap sizelimit app
keystone = cors http_proxy ssl healthcheck faultwrap sizelimit authtoken keystonecontext app
keystone_nolimit = faultwrap authtoken keystonecontext app
[app:app]
paste.app_factory = nova.api.openstack.compute:APIRouter.factory
note = a ; b
[app:versions]
paste.app_factory = nova.api.openstack.compute.versions:Versions.factory
[filter:cors]
paste.filter_factory = oslo_middleware.cors:filter_factory
oslo_config_project = nova
[filter:http_proxy]
paste.filter_factory = oslo_middleware.http_proxy_to_wsgi:HTTPProxyToWSGI.factory
[filter:ssl]
paste.filter_factory = oslo_middleware.ssl:SSLMiddleware.factory
[filter:healthcheck]
paste.filter_factory = oslo_middleware:Healthcheck.factory
[filter:faultwrap]
paste.filter_factory = nova.api.openstack:FaultWrapper.factory
[filter:sizelimit]
paste.filter_factory = oslo_middleware.sizelimit:RequestBodySizeLimiter.factory
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
[filter:keystonecontext]
paste.filter_factory = nova.api.auth:NovaKeystoneContext.factory
[pipeline:ec2]
pipeline = ec2fault ec2log lockout ec2keystone ec2noauth executor
[filter:ec2fault]
paste.filter_factory = nova.api.ec2:FaultWrapper.factory
[filter:ec2log]
paste.filter_factory = nova.api.ec2:RequestLogging.factory
[filter:lockout]
paste.filter_factory = nova.api.ec2:Lockout.factory
[filter:ec2keystone]
paste.filter_factory = nova.api.ec2:EC2KeystoneAuth.factory
[filter:ec2noauth]
paste.filter_factory = nova.api.ec2:NoAuth.factory
[app:executor]
paste.app_factory = nova.api.ec2:Executor.factory
[pipeline:metadata]
pipeline = basic_auth osprofiler metaapp
[filter:basic_auth]
paste.filter_factory = oslo_middleware.basic_auth:BasicAuthMiddleware.factory
[filter:osprofiler]
paste.filter_factory = osprofiler.web:WsgiMiddleware.factory
[app:metaapp]
paste.app_factory = nova.api.metadata.handler:MetadataRequestHandler.factory
[app:other]
paste.app_factory = my.own:app
";

/// The files of a configuration, and what else they need.
struct Room {
    dir: tempfile::TempDir,
    runtime_dir: RuntimeDir,
    certificate: (String, String),
}

/// What an edit does to the front.
#[derive(Debug)]
struct Effect {
    class: Class,
    /// What the edited text is said to be.
    told: Class,
    /// A filter leaves the front, or comes to it.
    crossed: bool,
    /// Something is other than before.
    seen: bool,
}

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        ["users", "others"].iter().for_each(|name| std::fs::write(dir.path().join(name), "").expect("written"));
        let runtime_dir = RuntimeDir::take(&dir.path().join("run")).expect("free");
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("parameters");
        let certificate = (params.self_signed(&key).expect("signed").pem(), key.serialize_pem());
        Self { dir, runtime_dir, certificate }
    }

    fn load(&self, conf: &str, paste: &str, running: Option<&Plan>) -> Result<Plan, String> {
        let (cert, key) = (self.certificate.0.as_str(), self.certificate.1.as_str());
        let both = format!("{cert}{key}");
        let pem = [("/both", both.as_str()), ("/cert", cert), ("/cert2", cert), ("/key", key), ("/key2", key)];
        let files = [("/nova.conf", conf), ("/a.ini", paste), ("/b.ini", paste), ("/token", "secret")];
        load(&[&pem[..], &files[..]].concat(), running).map_err(|found| {
            found.iter().filter(|found| found.is_error()).map(ToString::to_string).collect::<Vec<_>>().join("; ")
        })
    }

    /// Options before the edit: `(group, lines)`.
    fn conf(&self, kind: &str, release: Release, more: Option<(&str, &str)>) -> String {
        let old = release < Release::NOVA_32;
        let wsgi = if release < Release::NEWTON { "DEFAULT" } else { "wsgi" };
        let apis = if release < Release::ZED { "osapi_compute,ec2,metadata,other" } else { "osapi_compute,metadata" };
        let users = self.dir.path().join("users");
        let lines = [
            ("DEFAULT", format!("enabled_apis = {apis}\nenabled_ssl_apis = osapi_compute")),
            (wsgi, "api_paste_config = /a.ini\nssl_cert_file = /cert\nssl_key_file = /key".to_owned()),
            (
                if release < Release::OCATA { "DEFAULT" } else { "api" },
                if old { "auth_strategy = keystone".into() } else { String::new() },
            ),
            ("oslo_middleware", format!("http_basic_auth_user_file = {}", users.display())),
            (
                "pasteway",
                format!(
                    "worker_kind = {kind}\nrelease = {release}\nworker_command = program {{socket}}\nworker_sockets = /s1\nruntime_dir = /run/x\nfront_threads = 2"
                ),
            ),
        ];
        let mut groups: BTreeMap<&str, String> = BTreeMap::new();
        for (group, text) in lines.iter().map(|(group, text)| (*group, text.as_str())).chain(more) {
            let lines = groups.entry(group).or_default();
            lines.push_str(text);
            lines.push('\n');
        }
        groups.iter().map(|(group, lines)| format!("[{group}]\n{lines}")).collect()
    }

    /// What an edit does, and what is told of the text `what`.
    fn edit(&self, old: &Plan, conf: &str, paste: &str, what: &str) -> Result<Effect, String> {
        let new = self.load(conf, paste, Some(old))?;
        let found = changes(old, &new);
        let rolled = rolled(old, &new);
        let admin = |plan: &Plan| plan.config.settings.pasteway.admin_listen.clone();
        let moved = !moved(old, &new).is_empty() || admin(old) != admin(&new);
        let class = match (moved, rolled.is_empty()) {
            (true, _) => Class::Rebind,
            (false, false) => Class::Rolling,
            (false, true) => Class::Live,
        };
        // All that a pool is for its life is in its digest.
        for api in &new.apis {
            let Some(before) = old.apis.iter().find(|before| before.settings.name == api.settings.name) else {
                continue;
            };
            let spec = |api, plan: &Plan| pool_spec(api, &plan.config, &self.runtime_dir, Generation(1));
            let count = spec(api, &new).count;
            let same = crate::worker::PoolSpec { count, ..spec(before, old) } == spec(api, &new);
            assert!(same || before.digest != api.digest, "{what}: a pool would stay that is another one");
        }
        let filters = |plan: &Plan| -> Vec<_> {
            plan.apis
                .iter()
                .flat_map(|api| api.tree.steps())
                .map(|step| Arc::as_ptr(&step.filter).cast::<()>())
                .collect()
        };
        let seen = class != Class::Live || old.config.settings != new.config.settings || filters(old) != filters(&new);
        let told =
            found.iter().find(|change| change.what == what).ok_or_else(|| format!("{what} is not told: {found:?}"));
        Ok(Effect { class, told: told?.class, crossed: !crossed(old, &new, &rolled).is_empty(), seen })
    }
}

/// Another text for an option; of those that cannot be made up by their type, the text that is valid.
fn other(opt: &Opt, group: &str, name: &str, kind: &str, release: Release, room: &Room) -> String {
    let by_name = match (group, name) {
        (_, "enabled_apis") => "osapi_compute",
        (_, "enabled_ssl_apis") => "",
        (_, "ssl_cert_file") => "/cert2",
        (_, "ssl_key_file") => "/key2",
        (_, "ssl_ca_file" | "cafile") => "/cert",
        (_, "certfile") => "/both",
        (_, "keyfile") => "/key",
        (_, "metadata_listen_port") => "7",
        (_, "api_paste_config") => "/b.ini",
        (_, "wsgi_log_format") => "%(status_code)s",
        (_, "auth_strategy") => "noauth2",
        (_, "default_log_levels") => "a=INFO",
        (_, "syslog_log_facility") => "LOG_LOCAL0",
        ("pasteway", "admin_listen") => "127.0.0.1:1",
        ("pasteway", "admin_token_file") => "/token",
        ("pasteway", "worker_kind" | "worker_kind_osapi_compute") if kind == "builtin" => "command",
        ("pasteway", "worker_kind" | "worker_kind_osapi_compute") => "builtin",
        ("pasteway", "worker_command" | "worker_command_osapi_compute") => "another {socket}",
        ("pasteway", "worker_app" | "worker_app_osapi_compute") => "module:app",
        ("pasteway", "worker_protocol") => "uwsgi",
        ("pasteway", "worker_ready_request") => "GET /x",
        ("pasteway", "python_filters" | "native_filters") => "nova.api.openstack:FaultWrapper.factory",
        ("pasteway", "release") => {
            if release == Release::NEWEST {
                "33"
            } else {
                "34"
            }
        }
        ("pasteway", "ini_dialect") => {
            if release < Release::ROCKY {
                "py3"
            } else {
                "py2"
            }
        }
        ("pasteway", "paste_library") => {
            if release < Release::ROCKY {
                "2"
            } else {
                "1"
            }
        }
        ("pasteway", "watch") => "poll",
        ("pasteway", "trusted_proxies") => "10.0.0.0/8",
        ("pasteway", "log_format") => "json",
        ("oslo_middleware", "http_basic_auth_user_file") => {
            return room.dir.path().join("others").display().to_string();
        }
        ("oslo_middleware", "secure_proxy_ssl_header") => "X-Scheme",
        _ => "",
    };
    let default = opt.default(release).unwrap_or_default();
    match opt.kind(release) {
        _ if !by_name.is_empty() || name == "enabled_ssl_apis" => by_name.to_owned(),
        Kind::Bool => (default != "true").to_string(),
        Kind::Int { .. } => default
            .parse::<i64>()
            .map_or(3, |number| number - i64::from(number > 3) + i64::from(number <= 3))
            .to_string(),
        Kind::Float | Kind::Seconds => "7".to_owned(),
        Kind::Choice(words) | Kind::AnyCase(words) | Kind::List(Item::Choice(words)) => {
            (*words.iter().find(|word| **word != default).expect("two words")).to_owned()
        }
        Kind::Text | Kind::List(_) | Kind::Bounded | Kind::Dict | Kind::Multi => "other".to_owned(),
    }
}

/// All kinds of workers, or one.
fn kinds(all: bool) -> &'static [&'static str] {
    if all { &KINDS } else { &KINDS[..1] }
}

#[test]
fn what_a_change_of_any_option_does_is_what_its_class_says() {
    let room = Room::new();
    let releases = [Release::HAVANA, Release::MITAKA, Release::NEWEST];
    let mut bases = BTreeMap::new();
    for (release, kind) in releases.iter().flat_map(|release| KINDS.iter().map(move |kind| (*release, *kind))) {
        let base = room.load(&room.conf(kind, release, None), PASTE, None);
        bases.insert((release, kind), base.unwrap_or_else(|why| panic!("{kind}, {release}: {why}")));
    }
    let mut wrong = Vec::new();
    for opt in crate::config::options::all().filter(|opt| !ELSEWHERE.iter().any(|(name, _)| *name == opt.name)) {
        let (mut classes, mut seen, mut errors) = (BTreeSet::new(), false, BTreeSet::new());
        let there: Vec<_> =
            releases.into_iter().filter(|release| opt.gone.is_none_or(|gone| *release < gone)).collect();
        let runs = there
            .iter()
            .flat_map(|release| kinds(Some(release) == there.last()).iter().map(move |kind| (*release, *kind)));
        for (release, kind) in runs {
            let (group, name) = match opt.deprecated.first() {
                Some(old) if opt.since > release => *old,
                _ => (opt.group, opt.name),
            };
            let name = name.replace("<api>", if opt.group == "pasteway" { "osapi_compute" } else { "other" });
            let line = format!("{name} = {}", other(opt, group, &name, kind, release, &room));
            let conf = room.conf(kind, release, Some((group, &line)));
            let old = bases.get(&(release, kind)).expect("a base");
            let effect = match room.edit(old, &conf, PASTE, &format!("[{group}] {name}")) {
                Ok(effect) => effect,
                Err(error) => {
                    errors.insert(error);
                    continue;
                }
            };
            seen |= effect.seen;
            classes.insert(effect.class);
            if effect.told != effect.class {
                wrong.push(format!("{line} ({kind}, {release}): {effect:?}"));
            }
            // What workers read by themselves rolls theirs, and so does a filter that leaves the front.
            let by_itself = ["python", "command"].contains(&kind) && group != "pasteway";
            if effect.class > opt.change && !by_itself && !effect.crossed {
                wrong.push(format!("{line} ({kind}, {release}): {effect:?}, more than {}", opt.change));
            }
        }
        if !classes.contains(&opt.change) || !seen {
            let what = format!("[{}] {}", opt.group, opt.name);
            wrong.push(format!("{what} is {} nowhere, or does nothing: {classes:?}, {errors:?}", opt.change));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// A section of a native filter or app at its place, and an option more in it.
fn paste_with(factory: &Factory, more: &str) -> String {
    let name = factory.aliases.first().expect("a name");
    let (kind, ends) = if factory.makes == Makes::App { ("app", "tried") } else { ("filter", "tried app") };
    let needed = match factory.name {
        "cors" => "oslo_config_project = nova\n",
        "authtoken" | "authtoken_keystoneclient" => "memcache_secret_key = secret\n",
        _ => "",
    };
    format!(
        "[pipeline:osapi_compute]\npipeline = {ends}\n[app:app]\npaste.app_factory = my.own:app\n\
         [{kind}:tried]\npaste.{kind}_factory = {name}\n{needed}{more}"
    )
}

#[test]
fn what_a_change_of_any_option_of_a_filters_section_does_is_what_is_told_of_it() {
    let room = Room::new();
    let mut wrong = Vec::new();
    for factory in FACTORIES {
        let (mut idle, mut errors) = (BTreeSet::new(), BTreeSet::new());
        idle.extend(factory.options.iter().map(|option| option.name));
        for release in [Release::HAVANA, Release::KILO, Release::NEWEST] {
            let users = room.dir.path().join("users");
            let conf = format!(
                "[DEFAULT]\nenabled_apis = osapi_compute\n{api_paste_config} = /a.ini\n[pasteway]\nworker_kind = builtin\nrelease = {release}\n\
                 [oslo_middleware]\nhttp_basic_auth_user_file = {}\n",
                users.display(),
                api_paste_config =
                    if release < Release::NEWTON { "api_paste_config" } else { "[wsgi]\napi_paste_config" },
            );
            let old = room
                .load(&conf, &paste_with(factory, ""), None)
                .unwrap_or_else(|why| panic!("{}: {why}", factory.name));
            for option in factory.options {
                let name = option.name.replace("<user_id>", "u1");
                let line = format!("{name} = {}\n", section_value(option));
                let section = if factory.makes == Makes::App { "app" } else { "filter" };
                match room.edit(&old, &conf, &paste_with(factory, &line), &format!("[{section}:tried] {name}")) {
                    Err(error) => drop(errors.insert(format!("{line}{error}"))),
                    Ok(effect) if effect.told != effect.class => {
                        wrong.push(format!("{} ({release}) {line}{effect:?}", factory.name));
                    }
                    Ok(effect) if effect.seen => drop(idle.remove(option.name)),
                    Ok(_) => {}
                }
            }
        }
        let named = IDLE.iter().filter(|(name, ..)| *name == factory.name).flat_map(|(_, options, _)| options.iter());
        let named: BTreeSet<&str> = named.copied().collect();
        if idle != named {
            wrong.push(format!("{}: {idle:?} do nothing, and {named:?} are named: {errors:?}", factory.name));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// Another text for an option of a section.
fn section_value(option: &OptionSpec) -> String {
    let by_name = match option.name {
        "http_connect_timeout" => "7",
        "cafile" => "/cert",
        "certfile" => "/both",
        "memcache_security_strategy" => "MAC",
        "hash_algorithms" => "sha256",
        "limits" | "limits.<user_id>" => "(GET, *, .*, 1, MINUTE)",
        "allowed_source_ranges" => "10.0.0.0/8",
        "logging_level" | "set_logger_level" => "DEBUG",
        "encodings" => "gzip",
        _ => "",
    };
    match option.default {
        _ if !by_name.is_empty() => by_name.to_owned(),
        "true" | "True" => "false".to_owned(),
        "false" | "False" => "true".to_owned(),
        number => number.parse::<u64>().map_or_else(|_| "other".to_owned(), |number| (number + 1).to_string()),
    }
}
