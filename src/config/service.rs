//! What Python workers read by themselves beside their options: policies, the configuration of logging, and small files
//! beside nova.conf. A load reads them too, so that they count as a change, are watched, and are kept with the
//! generation.
//!
//! Policies are found as oslo.policy finds them (`oslo_policy/policy.py`, class Enforcer; before Liberty
//! `nova/policy.py`). Must not know what is in them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use indexmap::IndexSet;

use super::oslo::{Conf, Environment};
use super::{ConfSource, Entries, Reading};

/// A file that is larger is no configuration that is written by hand.
const LARGEST: u64 = 1 << 20;

/// Files and directories of the service, absolute.
#[derive(Debug, Default)]
pub struct ServiceFiles {
    /// Found or not.
    pub files: Vec<PathBuf>,
    /// Of whose entries all are there that are read, found or not.
    pub dirs: Vec<PathBuf>,
}

/// Finds and reads them; to be called when everything else was read.
pub(super) fn collect(conf: &Conf, reading: &Reading, paste_file: &Path) -> ServiceFiles {
    let known: HashSet<PathBuf> = reading.looked().into_iter().map(|(path, _)| path).collect();
    let mut found = Collector { conf, reading, files: IndexSet::new(), dirs: IndexSet::new() };
    found.policies();
    for name in ["log_config_append", "log_config"] {
        if let Some(setting) = conf.raw("DEFAULT", name).filter(|setting| !setting.value.is_empty()) {
            found.take(conf.environment().cwd.join(setting.value));
        }
    }
    for dir in conf.config_dirs() {
        found.dir(conf.environment().cwd.join(dir), Entries::Service);
    }
    found.neighbours(paste_file, &known);
    let Collector { files, dirs, .. } = found;
    ServiceFiles {
        files: files.into_iter().filter(|path| !known.contains(path)).collect(),
        dirs: dirs.into_iter().collect(),
    }
}

struct Collector<'a> {
    conf: &'a Conf,
    reading: &'a Reading,
    files: IndexSet<PathBuf>,
    dirs: IndexSet<PathBuf>,
}

impl Collector<'_> {
    fn policies(&mut self) {
        let named = ["oslo_policy", "DEFAULT"].iter().find_map(|group| self.conf.raw(group, "policy_file"));
        let names = match named {
            Some(setting) => vec![setting.value],
            // The default changed, and where the newer is not there the older is taken.
            None => vec!["policy.yaml".to_owned(), "policy.json".to_owned()],
        };
        for name in names {
            for path in self.conf.candidates(&name) {
                let there = self.reading.exists(&path);
                self.files.insert(path);
                if there {
                    break;
                }
            }
        }
        let named = ["oslo_policy", "DEFAULT"].iter().flat_map(|group| self.conf.all_of(group, "policy_dirs"));
        let mut dirs: Vec<String> = named.collect();
        if dirs.is_empty() {
            dirs.push("policy.d".to_owned());
        }
        for dir in dirs {
            for path in self.conf.candidates(&dir) {
                if self.dir(path, Entries::Visible) {
                    break;
                }
            }
        }
    }

    fn take(&mut self, path: PathBuf) {
        let _ = self.reading.file(&path);
        self.files.insert(path);
    }

    /// The files of a directory that are read; whether it is there.
    fn dir(&mut self, path: PathBuf, read: Entries) -> bool {
        let names = self.reading.dir(&path, read);
        let there = names.is_ok();
        for file in names.into_iter().flatten().map(|name| path.join(name)).filter(|file| is_small(file)) {
            self.take(file);
        }
        self.dirs.insert(path);
        there
    }

    /// What lies beside the files of the configuration. The directory itself is not watched: logs, sockets and an
    /// editor's leftovers come and go there. Directories that many programs share are left alone.
    fn neighbours(&mut self, paste_file: &Path, known: &HashSet<PathBuf>) {
        let Environment { cwd, root, home, .. } = self.conf.environment();
        let shared = [Some(root.clone()), Some(root.join("etc")), home.clone()];
        let files = self.conf.files();
        let dirs: IndexSet<PathBuf> = (files.iter().map(|file| cwd.join(file)).chain([paste_file.to_owned()]))
            .filter_map(|file| file.parent().map(Path::to_owned))
            .filter(|dir| !shared.contains(&Some(dir.clone())) && !self.reading.is_closed())
            .collect();
        for dir in dirs {
            let mut entries: Vec<_> =
                std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            entries.sort();
            // Other `.conf` files are other programs'.
            let named = |name: &OsStr| Entries::Service.include(name) && !Entries::Conf.include(name);
            let read = |path: &PathBuf| path.file_name().is_some_and(named) && is_small(path) && !known.contains(path);
            entries.into_iter().filter(read).for_each(|path| self.take(path));
        }
    }
}

fn is_small(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::oslo::{Argument, Arguments, Library};
    use super::*;

    /// What is found beside `conf/nova.conf`, as paths below the root; `-` before what is not there.
    fn found(root: &Path, text: &str) -> (Vec<String>, Vec<String>) {
        found_with(root, text, None)
    }

    /// The same with a `--config-dir`.
    fn found_with(root: &Path, text: &str, dir: Option<&str>) -> (Vec<String>, Vec<String>) {
        fs::create_dir_all(root.join("conf")).expect("made");
        fs::write(root.join("conf/nova.conf"), text).expect("written");
        fs::write(root.join("conf/api-paste.ini"), "").expect("written");
        let env = Environment { root: root.join("none"), ..Environment::bare(root) };
        let mut items = vec![Argument::File("conf/nova.conf".into())];
        items.extend(dir.map(|dir| Argument::Dir(dir.into())));
        let arguments = Arguments { program: "nova-api".into(), items, ask: None };
        let reading = Reading::new();
        let conf = Conf::load(&reading, &arguments, &env, Library::New).expect("loads");
        let paste = root.join("conf/api-paste.ini");
        assert!(reading.exists(&paste));
        let ServiceFiles { files, dirs } = collect(&conf, &reading, &paste);
        let shown = |path: &PathBuf, there: bool| {
            format!("{}{}", if there { "" } else { "-" }, path.strip_prefix(root).unwrap_or(path).display())
        };
        let below = |shown: &String| !shown.contains("none/");
        (
            files.iter().map(|path| shown(path, reading.exists(path))).filter(below).collect(),
            dirs.iter().map(|path| shown(path, path.is_dir())).filter(below).collect(),
        )
    }

    #[test]
    fn policies_are_found_as_oslo_policy_finds_them_and_missing_ones_are_looked_for() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("conf/policy.d")).expect("made");
        for name in ["policy.json", "policy.d/b.yaml", "policy.d/a.json", "policy.d/.swp"] {
            fs::write(root.path().join("conf").join(name), "{}").expect("written");
        }
        let (files, dirs) = found(root.path(), "[DEFAULT]\n");
        let want = ["-conf/policy.yaml", "conf/policy.json", "conf/policy.d/a.json", "conf/policy.d/b.yaml"];
        assert_eq!((files, dirs), (want.map(str::to_owned).to_vec(), vec!["conf/policy.d".to_owned()]));
    }

    #[test]
    fn options_name_other_policies_and_the_configuration_of_logging() {
        let root = tempfile::tempdir().expect("a directory");
        let text = "[DEFAULT]\nlog_config_append = conf/logging.conf\n\
                    [oslo_policy]\npolicy_file = rules.yaml\npolicy_dirs = one\npolicy_dirs = two\n";
        let (files, dirs) = found(root.path(), text);
        assert_eq!(files, ["-conf/rules.yaml", "-conf/logging.conf"]);
        assert_eq!(dirs, ["-conf/one", "-conf/two"]);
    }

    #[test]
    fn of_a_config_dir_what_services_read_is_taken_and_no_stranger() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("conf/more.d")).expect("made");
        for name in ["10.conf", "vendordata.json", "stranger.1", ".10.conf.swp"] {
            fs::write(root.path().join("conf/more.d").join(name), "").expect("written");
        }
        let (files, dirs) = found_with(root.path(), "[DEFAULT]\n", Some("conf/more.d"));
        let found: Vec<_> = files.iter().filter(|file| file.contains("more.d") && !file.starts_with('-')).collect();
        assert_eq!(found, ["conf/more.d/vendordata.json"]);
        assert!(dirs.contains(&"conf/more.d".to_owned()), "{dirs:?}");
    }

    #[test]
    fn what_lies_beside_nova_conf_is_taken_by_its_ending() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("conf/dir.json")).expect("made");
        for name in ["vendordata.json", "nova-compute.conf", "nova.log", "x.ini~", "policy.yaml"] {
            fs::write(root.path().join("conf").join(name), "").expect("written");
        }
        fs::write(root.path().join("conf/huge.json"), vec![b' '; 2 << 20]).expect("written");
        let (files, _) = found(root.path(), "[DEFAULT]\n");
        assert_eq!(files, ["conf/policy.yaml", "-conf/policy.json", "conf/vendordata.json"]);
    }
}
