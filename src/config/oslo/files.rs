//! Which files oslo.config reads, and in what order (`find_config_files`, `find_config_dirs` and the two actions).
//!
//! Must not know what is in them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use super::{Argument, Arguments, Library};
use crate::config::{Entries, Reading};
use crate::message::{Diagnostic, Place};

/// All that a load asks of the process beside its files, so that a test can say otherwise.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The environment variables that are text.
    pub vars: BTreeMap<String, String>,
    /// What `~` means.
    pub home: Option<PathBuf>,
    /// Relative paths begin here.
    pub cwd: PathBuf,
    /// `etc` is looked for here; `/`.
    pub root: PathBuf,
    /// The default of `host`.
    pub hostname: String,
    /// The default of `my_ip`.
    pub my_ip: String,
}

impl Environment {
    /// That of no process: no variables, no home, and every path begins at `root`.
    pub fn bare(root: &Path) -> Self {
        Self {
            vars: BTreeMap::new(),
            home: None,
            cwd: root.to_owned(),
            root: root.to_owned(),
            hostname: "node".into(),
            my_ip: "10.0.0.1".into(),
        }
    }

    /// That of this process.
    pub fn of_process() -> Self {
        let vars: BTreeMap<_, _> =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Self {
            home: vars.get("HOME").map(PathBuf::from),
            cwd: std::env::current_dir().unwrap_or_default(),
            root: "/".into(),
            hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            my_ip: outward_address().unwrap_or_else(|| "127.0.0.1".into()),
            vars,
        }
    }

    /// The directories that are searched, best first.
    pub(super) fn search(&self, library: Library) -> Vec<PathBuf> {
        let snaps: &[&str] = if library == Library::New { &["SNAP_COMMON", "SNAP"] } else { &[] };
        let snap = |name: &&str| self.vars.get(*name).map(|dir| Path::new(dir).join("etc/nova"));
        let home = self.home.as_ref();
        let etc = self.root.join("etc");
        home.map(|home| home.join(".nova"))
            .into_iter()
            .chain(home.cloned())
            .chain(snaps.iter().filter_map(snap))
            .chain([etc.join("nova"), etc])
            .collect()
    }
}

/// The address that packets for the world leave from, found as Nova finds `my_ip`: a connected UDP socket sends
/// nothing.
fn outward_address() -> Option<String> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("8.8.8.8", 80)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

/// One thing that the command line, spelled out, makes oslo.config take in; a later one wins over an earlier.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read this file.
    File(PathBuf),
    /// An option of `[DEFAULT]` is set.
    Option { name: String, value: String },
    /// An option of any group is set, for good.
    Told { group: String, name: String, value: String },
    /// Here the original stops.
    Problem(Diagnostic),
}

/// The steps of a load.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub steps: Vec<Step>,
    /// The `--config-dir` directories, for `find_file`.
    pub dirs: Vec<PathBuf>,
    /// The paste file, where Nova's WSGI variables name it.
    pub paste: Option<PathBuf>,
}

/// Spells the command line out.
pub(super) fn plan(reading: &Reading, arguments: &Arguments, env: &Environment, library: Library) -> Plan {
    let mut plan = Plan::default();
    let told = arguments.items.iter().any(|item| matches!(item, Argument::Told { .. }));
    if !told && !arguments.items.iter().any(|item| matches!(item, Argument::File(_))) {
        plan.default_files(reading, &arguments.program, env, library);
    }
    if !told && library == Library::New && !arguments.items.iter().any(|item| matches!(item, Argument::Dir(_))) {
        for name in ["nova".to_owned(), arguments.program.clone()] {
            let dirs = env.search(library).into_iter().map(|dir| dir.join(format!("{name}.conf.d")));
            if let Some((names, dir)) =
                dirs.into_iter().find_map(|dir| Some((reading.dir(&dir, Entries::Conf).ok()?, dir)))
            {
                plan.all_of(&dir, &names);
            }
        }
    }
    for item in &arguments.items {
        match item {
            Argument::File(path) => plan.steps.push(Step::File(path.clone())),
            Argument::Told { group, name, value } => {
                let (group, name, value) = (group.clone(), name.clone(), value.clone());
                plan.steps.push(Step::Told { group, name, value });
            }
            Argument::Dir(dir) => plan.dir(reading, dir, env, library),
            Argument::Option { name, value } => {
                plan.steps.push(Step::Option { name: name.clone(), value: value.clone() });
            }
        }
    }
    plan
}

/// What is read without `--config-file`.
struct Defaults {
    /// What `OS_NOVA_CONFIG_FILES` lists, as Nova's WSGI modules read it: its first is the paste file, which oslo.config
    /// reads like the others.
    listed: Vec<PathBuf>,
    /// nova.conf and its kin, each with the places where it is looked for, best first.
    searched: Vec<Vec<PathBuf>>,
}

impl Defaults {
    fn of(program: &str, env: &Environment, library: Library) -> Self {
        let (dir, list) = (env.vars.get("OS_NOVA_CONFIG_DIR"), env.vars.get("OS_NOVA_CONFIG_FILES"));
        let mut names = vec!["nova", program, "pasteway"];
        let mut listed = Vec::new();
        if dir.is_some() || list.is_some() {
            let dir = dir.map_or_else(|| env.root.join("etc/nova"), |dir| dir.trim().into());
            let list = list.map(String::as_str).filter(|list| !list.is_empty()).unwrap_or("api-paste.ini;nova.conf");
            listed = list.split(';').map(|name| dir.join(name)).collect();
            names = vec!["pasteway"];
        }
        names.dedup();
        let places = |name| env.search(library).iter().map(|dir| dir.join(format!("{name}.conf"))).collect();
        Self { listed, searched: names.into_iter().map(places).collect() }
    }
}

/// Whether a front that reads `files` may have been started by such a command line: it reads all that this one names; and
/// where nothing is named, it reads what the search may find, or nothing. Nothing need be there any more.
pub fn leads_to(arguments: &Arguments, env: &Environment, files: &[PathBuf]) -> bool {
    let is_read = |path: &PathBuf| files.iter().any(|file| is_same(file, &env.cwd.join(path)));
    let mut named = arguments.items.iter().filter_map(|item| match item {
        Argument::File(path) | Argument::Dir(path) => Some(path),
        Argument::Option { .. } | Argument::Told { .. } => None,
    });
    if named.clone().next().is_some() {
        return named.all(is_read);
    }
    let Defaults { listed, searched } = Defaults::of(&arguments.program, env, Library::New);
    files.is_empty() || listed.iter().chain(searched.iter().flatten()).any(is_read)
}

/// Whether two names are one file's, which may be gone.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| {
        path.canonicalize().ok().or_else(|| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?)))
    };
    one == other || real(one).is_some_and(|one| Some(one) == real(other))
}

impl Plan {
    fn default_files(&mut self, reading: &Reading, program: &str, env: &Environment, library: Library) {
        let Defaults { listed, searched } = Defaults::of(program, env, library);
        self.paste = listed.first().cloned();
        let found = searched.into_iter().filter_map(|places| places.into_iter().find(|path| reading.exists(path)));
        self.steps.extend(listed.into_iter().chain(found).map(Step::File));
    }

    fn dir(&mut self, reading: &Reading, dir: &Path, env: &Environment, library: Library) {
        let dir = match (dir.strip_prefix("~"), &env.home) {
            (Ok(rest), Some(home)) if library == Library::New => home.join(rest),
            _ => dir.to_owned(),
        };
        match reading.dir(&env.cwd.join(&dir), Entries::Conf) {
            Ok(names) => self.all_of(&dir, &names),
            Err(_) if library == Library::Old || reading.file(&env.cwd.join(&dir)).is_ok() => {}
            Err(error) => {
                let text = format!("Failed to read config file directory: {}", dir.display());
                let found = Diagnostic::error(None, format!("directory `{}` cannot be read: {error}", dir.display()));
                let found = found.help("correct --config-dir").original("ConfigDirNotFoundError", text);
                self.steps.push(Step::Problem(found));
            }
        }
        self.dirs.push(dir);
    }

    /// The files of a directory, named as it was.
    fn all_of(&mut self, dir: &Path, names: &[OsString]) {
        self.steps.extend(names.iter().map(|name| Step::File(dir.join(name))));
    }
}

/// Files that could not be opened. The original names all of one cause in one error.
pub(super) fn unreadable(missing: &[(PathBuf, io::Error)], library: Library) -> Vec<Diagnostic> {
    let denied = |error: &io::Error| library == Library::New && error.kind() == io::ErrorKind::PermissionDenied;
    let mut found = Vec::new();
    for kind in [false, true] {
        let of_kind: Vec<_> = missing.iter().filter(|(_, error)| denied(error) == kind).collect();
        let names: Vec<_> = of_kind.iter().map(|(path, _)| path.display().to_string()).collect();
        let names = names.join(",");
        let (class, text) = match (library, kind) {
            (Library::Old, _) => ("ConfigFilesNotFoundError", format!("Failed to read some config files: {names}")),
            (_, false) => ("ConfigFilesNotFoundError", format!("Failed to find some config files: {names}")),
            (_, true) => ("ConfigFilesPermissionDeniedError", format!("Failed to open some config files: {names}")),
        };
        found.extend(of_kind.iter().map(|(path, error)| {
            Diagnostic::error(Place::file(path.clone()), format!("the file cannot be read: {error}"))
                .help(match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "let the front's user read it, and enter the directories above it"
                    }
                    _ => "correct --config-file",
                })
                .original(class, text.clone())
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn env(root: &Path) -> Environment {
        Environment { home: Some(root.join("home")), ..Environment::bare(root) }
    }

    fn steps(root: &Path, env: &Environment, items: Vec<Argument>, library: Library) -> Vec<String> {
        let arguments = Arguments { program: "nova-api".into(), items, ask: None };
        let shown = |step: &Step| match step {
            Step::File(path) => path.strip_prefix(root).unwrap_or(path).display().to_string(),
            Step::Told { name, .. } => name.clone(),
            Step::Option { name, .. } => format!("--{name}"),
            Step::Problem(problem) => problem.to_string(),
        };
        plan(&Reading::new(), &arguments, env, library).steps.iter().map(shown).collect()
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            fs::write(path, "").expect("written");
        }
        root
    }

    #[test]
    fn each_default_file_comes_from_the_first_directory_that_has_it() {
        let root = tree(&["etc/nova/nova.conf", "home/.nova/nova.conf", "etc/nova-api.conf", "etc/nova/pasteway.conf"]);
        let found = steps(root.path(), &env(root.path()), vec![], Library::Old);
        assert_eq!(found, ["home/.nova/nova.conf", "etc/nova-api.conf", "etc/nova/pasteway.conf"]);
    }

    #[test]
    fn a_given_file_replaces_the_default_files_and_comes_after_the_default_directories() {
        let root = tree(&["etc/nova/nova.conf", "etc/nova/nova.conf.d/b.conf", "etc/nova/nova.conf.d/.a.conf"]);
        let given = || vec![Argument::File("x.conf".into())];
        let env = env(root.path());
        assert_eq!(steps(root.path(), &env, given(), Library::New), ["etc/nova/nova.conf.d/b.conf", "x.conf"]);
        assert_eq!(steps(root.path(), &env, given(), Library::Old), ["x.conf"]);
    }

    #[test]
    fn a_command_line_leads_to_the_front_that_reads_what_it_names_or_what_it_would_find() {
        let root = tree(&["etc/nova/nova.conf", "srv/b.conf"]);
        std::os::unix::fs::symlink(root.path().join("srv"), root.path().join("link")).expect("a link");
        let env = env(root.path());
        let leads = |items: &[&str], files: &[&str]| {
            let items = items.iter().map(|path| Argument::File(path.into())).collect();
            let arguments = Arguments { program: "pasteway".into(), items, ask: None };
            let files: Vec<_> = files.iter().map(|path| root.path().join(path)).collect();
            leads_to(&arguments, &env, &files)
        };
        assert!(leads(&[], &["etc/nova/nova.conf"]) && leads(&[], &["etc/nova/nova.conf", "etc/nova/pasteway.conf"]));
        assert!(leads(&[], &["home/.nova/nova.conf"]), "gone, but it was found there");
        assert!(leads(&[], &[]) && !leads(&[], &["srv/b.conf"]));
        assert!(leads(&["srv/b.conf"], &["etc/nova/nova.conf", "srv/b.conf"]));
        assert!(leads(&["link/b.conf"], &["srv/b.conf"]) && leads(&["link/gone.conf"], &["srv/gone.conf"]));
        assert!(!leads(&["srv/b.conf"], &[]) && !leads(&["srv/b.conf", "srv/c.conf"], &["srv/b.conf"]));
    }

    #[test]
    fn the_variables_of_novas_wsgi_modules_name_the_paste_file_first() {
        let root = tree(&[]);
        let mut env = env(root.path());
        env.vars.insert("OS_NOVA_CONFIG_DIR".into(), "/srv".into());
        let arguments = Arguments { program: "pasteway".into(), ..Arguments::default() };
        let plan = plan(&Reading::new(), &arguments, &env, Library::New);
        assert_eq!(plan.paste.as_deref(), Some(Path::new("/srv/api-paste.ini")));
        assert_eq!(plan.steps.last(), Some(&Step::File("/srv/nova.conf".into())));
    }
}
