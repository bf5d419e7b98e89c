//! A Paste file that is served without a nova.conf (`serve --paste`): what nova.conf would say for it.
//!
//! As `pserve` and `gunicorn --paste` do, `[server:main]` tells the address where the command line does not. Must not know
//! what is made of the options.

use std::path::{Path, PathBuf};

use super::oslo::Argument;
use super::paste::{Context, Dialect, Kind, Library, Loader, Rules, file_uri};
use super::{Reading, options};
use crate::message::{Diagnostic, Place};

/// The section that tells the address.
const SERVER: &str = "main";

/// What the command line says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasteService {
    /// The Paste file.
    pub file: PathBuf,
    /// The app's section without its prefix; the API is called so too.
    pub name: String,
    /// `HOST:PORT`; `None` is as `[server:main]` has it.
    pub listen: Option<String>,
    /// How many workers; `None` is as `[server:main]` or the options have it, else one.
    pub workers: Option<u32>,
    /// `worker_kind`.
    pub worker_kind: Option<String>,
}

impl PasteService {
    /// The options that hold where nothing says otherwise: one worker, as with any server of Paste's.
    pub(super) fn defaults(&self) -> [Argument; 1] {
        [option(options::API_WORKERS.group, format!("{}_workers", self.name), "1")]
    }

    /// The options, which win over those of files, and what is wrong.
    pub(super) fn told(&self, cwd: &Path, reading: &Reading) -> (Vec<Argument>, Vec<Diagnostic>) {
        let file = cwd.join(&self.file);
        let mut told = Vec::new();
        let mut tell = |group: &str, name: String, value: String| told.push(option(group, name, &value));
        let paste = &options::API_PASTE_CONFIG;
        tell(options::ENABLED_APIS.group, options::ENABLED_APIS.name.to_owned(), self.name.clone());
        tell(paste.group, paste.name.to_owned(), file.display().to_string());
        let mut found = Vec::new();
        if self.name.is_empty() || self.name.contains([',', '/', '$']) || self.name.contains(char::is_whitespace) {
            let text = format!("--name: `{}` cannot be the name of an API", self.name);
            found.push(Diagnostic::error(None, text).help("give the section's name without its prefix"));
        }
        let server = server(&file, reading);
        let stated = server.as_ref().ok().and_then(|context| text(context, "workers")?.trim().parse().ok());
        let address = match &self.listen {
            Some(text) => split(text).ok_or_else(|| {
                Diagnostic::error(None, format!("--listen: `{text}` is not HOST:PORT"))
                    .help("an IPv6 address stands in brackets: [::1]:8080")
            }),
            None => server.and_then(|context| address(&context)),
        };
        match address {
            Ok((host, port)) => {
                tell(options::API_LISTEN.group, format!("{}_listen", self.name), host);
                tell(options::API_LISTEN_PORT.group, format!("{}_listen_port", self.name), port.to_string());
            }
            Err(problem) => found.push(problem),
        }
        if let Some(workers) = self.workers.or(stated) {
            tell(options::API_WORKERS.group, format!("{}_workers", self.name), workers.to_string());
        }
        if let Some(kind) = &self.worker_kind {
            tell("pasteway", "worker_kind".to_owned(), kind.clone());
        }
        (told, found)
    }
}

fn option(group: &str, name: String, value: &str) -> Argument {
    // A dollar sign is no reference here.
    Argument::Told { group: group.to_owned(), name, value: value.replace('$', "$$") }
}

/// `[server:main]` of the file.
fn server(file: &Path, reading: &Reading) -> Result<std::sync::Arc<Context>, Diagnostic> {
    let loader = Loader::new(reading, Rules { dialect: Dialect::Py3, library: Library::Two });
    loader.load(Kind::Server, &file_uri(file), Some(SERVER), None, None).map_err(|error| {
        let found = error.into_diagnostics().into_iter().next();
        let found = found.unwrap_or_else(|| Diagnostic::error(Place::file(file.to_owned()), "it has no server"));
        found.help("give --listen HOST:PORT, or a section [server:main] with host and port")
    })
}

fn text<'a>(context: &'a Context, name: &str) -> Option<&'a str> {
    context.local_conf.get(name).map(|setting| setting.value.as_str())
}

/// Host and port as waitress (`listen`, `host`, `port`), Paste's own server and gunicorn (`host`, `port`, `bind`) take
/// them, with the defaults of each.
fn address(context: &Context) -> Result<(String, u16), Diagnostic> {
    let factory = context.object.as_ref().map(super::paste::Object::factory).unwrap_or_default();
    let wrong = |name: &str, fact: String, help: &str| {
        let place = context.local_conf.get(name).and_then(|setting| setting.place.clone());
        Diagnostic::error(place.or_else(|| Some(context.place.clone())), fact).help(help)
    };
    for name in ["unix_socket", "socket", "fd", "listen", "bind"] {
        let Some(value) = text(context, name) else { continue };
        if !matches!(name, "listen" | "bind") || value.trim().starts_with("unix:") {
            let fact = format!("{name}: APIs listen on TCP, not on `{value}`");
            return Err(wrong(name, fact, "give --listen HOST:PORT"));
        }
        let items: Vec<&str> = value.split([' ', '\n', ',']).filter(|item| !item.trim().is_empty()).collect();
        let [one] = items.as_slice() else {
            let fact = format!("{name}: an API listens on one address, and here are {}", items.len());
            return Err(wrong(name, fact, "give the one as --listen HOST:PORT"));
        };
        return split(one)
            .ok_or_else(|| wrong(name, format!("{name}: `{one}` is not HOST:PORT"), "give --listen HOST:PORT"));
    }
    let dist = factory.strip_prefix("egg:").and_then(|egg| egg.split('#').next()).unwrap_or_default();
    let (host, port) = match dist.to_ascii_lowercase().as_str() {
        "gunicorn" => ("127.0.0.1", 8000),
        "paste" => ("127.0.0.1", 8080),
        _ => ("0.0.0.0", 8080),
    };
    let host = text(context, "host").map(str::trim).filter(|host| !host.is_empty()).unwrap_or(host);
    let host = if host == "*" { "0.0.0.0" } else { host };
    match text(context, "port").map(|port| port.trim().parse()) {
        None => Ok((bare(host).to_owned(), port)),
        Some(Ok(port)) => Ok((bare(host).to_owned(), port)),
        Some(Err(_)) => {
            let port = text(context, "port").unwrap_or_default();
            Err(wrong("port", format!("port: `{port}` is not a port"), "write a number up to 65535"))
        }
    }
}

/// `HOST:PORT`, `[::1]:PORT`, `*:PORT`.
fn split(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = if matches!(host, "*" | "") { "0.0.0.0" } else { host };
    if host.contains(':') && !host.starts_with('[') {
        return None;
    }
    Some((bare(host).to_owned(), port.parse().ok()?))
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ini: &str, listen: Option<&str>) -> Result<String, String> {
        let reading = Reading::of([(PathBuf::from("/d.ini"), ini.as_bytes().to_vec())]);
        let service = PasteService {
            file: "/d.ini".into(),
            name: "main".into(),
            listen: listen.map(str::to_owned),
            workers: None,
            worker_kind: None,
        };
        let (told, found) = service.told(Path::new("/"), &reading);
        if let Some(problem) = found.first() {
            return Err(problem.message.clone());
        }
        let value = |wanted: &str| {
            told.iter().find_map(|argument| match argument {
                Argument::Told { name, value, .. } if name == wanted => Some(value.clone()),
                _ => None,
            })
        };
        let workers = value("main_workers").map(|n| format!(" x{n}")).unwrap_or_default();
        Ok(format!("{} {}{workers}", value("main_listen").expect("told"), value("main_listen_port").expect("told")))
    }

    #[test]
    fn the_server_section_tells_the_address_as_each_server_reads_it() {
        for (server, want) in [
            ("use = egg:waitress#main\nlisten = localhost:6543", "localhost 6543"),
            ("use = egg:waitress#main\nlisten = *:80", "0.0.0.0 80"),
            ("use = egg:waitress\nlisten = [::1]:81", "::1 81"),
            ("use = egg:waitress#main", "0.0.0.0 8080"),
            ("use = egg:Paste#http\nport = 5000", "127.0.0.1 5000"),
            ("use = egg:gunicorn#main\nhost = 10.0.0.1\nport = 9292\nworkers = 3", "10.0.0.1 9292 x3"),
        ] {
            assert_eq!(told(&format!("[server:main]\n{server}\n"), None).as_deref(), Ok(want), "{server}");
        }
    }

    #[test]
    fn the_command_line_wins_and_needs_no_server_section() {
        assert_eq!(told("[app:main]\nuse = call:a:b\n", Some("127.0.0.1:7000")).as_deref(), Ok("127.0.0.1 7000"));
        let with = "[app:main]\nuse = call:a:b\n[server:main]\nuse = egg:Paste#http\nworkers = 3\n";
        assert_eq!(told(with, Some("127.0.0.1:7000")).as_deref(), Ok("127.0.0.1 7000 x3"));
        assert!(told("[app:main]\nuse = call:a:b\n", Some("7000")).is_err());
        assert!(told("[app:main]\nuse = call:a:b\n", Some("::1:7000")).is_err());
        assert!(told("[app:main]\nuse = call:a:b\n", None).is_err_and(|text| text.contains("main")));
    }

    #[test]
    fn what_the_front_cannot_listen_on_is_refused_by_name() {
        for (option, word) in [
            ("unix_socket = /run/a", "unix_socket"),
            ("bind = unix:/run/a", "bind"),
            ("listen = a:1 b:2", "here are 2"),
            ("port = http", "`http`"),
        ] {
            let refused = told(&format!("[server:main]\nuse = egg:waitress#main\n{option}\n"), None);
            assert!(refused.as_ref().is_err_and(|text| text.contains(word)), "{refused:?}");
        }
    }
}
