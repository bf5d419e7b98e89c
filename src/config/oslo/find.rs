//! `ConfigOpts.find_file`, and how Nova's loader finds its Paste file (`nova/wsgi.py`, class Loader).
//!
//! Must not know what is in the file.

use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexSet;

use super::Conf;
use crate::config::{Reading, options};
use crate::message::Diagnostic;
use crate::release::Release;

impl Conf {
    /// A file of this name in the `--config-dir` directories, else beside a config file (the last one first), else
    /// in the directories that are searched for nova.conf.
    pub fn find_file(&self, reading: &Reading, name: impl AsRef<Path>) -> Option<PathBuf> {
        self.candidates(name).into_iter().find(|path| reading.exists(path))
    }

    /// Where a file of this name is looked for, best first.
    pub fn candidates(&self, name: impl AsRef<Path>) -> Vec<PathBuf> {
        let files = self.files();
        let beside = files.iter().rev().filter_map(|path| path.parent());
        let env = self.environment();
        let dirs = self.config_dirs().iter().map(PathBuf::as_path).chain(beside).map(|dir| env.cwd.join(dir));
        let all = dirs.chain(env.search(self.library())).map(|dir| dir.join(&name));
        all.collect::<IndexSet<_>>().into_iter().collect()
    }

    /// The Paste file: what `api_paste_config` says, taken as it is (Havana: where such a path exists; later: where it
    /// is absolute) or else searched for.
    ///
    /// # Errors
    /// It is not there, or the option cannot be read.
    pub fn paste_file(&self, reading: &Reading, release: Release) -> Result<PathBuf, Diagnostic> {
        let name: String = match self.wsgi_paste_file() {
            Some(path) => return Ok(self.environment().cwd.join(path)),
            None => self.get(&options::API_PASTE_CONFIG)?,
        };
        let as_given = self.environment().cwd.join(&name);
        let found = if release == Release::HAVANA && reading.exists(&as_given) || Path::new(&name).is_absolute() {
            Some(&as_given).filter(|path| reading.exists(path)).cloned()
        } else {
            self.find_file(reading, &name)
        };
        found.ok_or_else(|| {
            let opt = &options::API_PASTE_CONFIG;
            let shut = Some(&as_given).filter(|path| Path::new(&name) == *path).and_then(|path| {
                reading.file(path).err().filter(|error| error.kind() == io::ErrorKind::PermissionDenied)
            });
            let (why, help) = match shut {
                Some(error) => (format!("reached: {error}"), "let the front's user enter the directories above it"),
                None => ("found".to_owned(), "set api_paste_config to its whole path"),
            };
            Diagnostic::error(self.place(opt.group, opt.name), format!("the paste file `{name}` cannot be {why}"))
                .help(help)
                .original("ConfigNotFound", format!("Could not find config at {name}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Argument, Arguments, Environment, Library};
    use super::*;

    fn conf(root: &Path, text: &str, reading: &Reading) -> Conf {
        fs::create_dir_all(root.join("conf")).expect("created");
        fs::create_dir_all(root.join("etc/nova")).expect("created");
        fs::write(root.join("conf/nova.conf"), text).expect("written");
        let env = Environment::bare(root);
        let items = vec![Argument::File("conf/nova.conf".into())];
        let arguments = Arguments { program: "nova-api".into(), items, ask: None };
        Conf::load(reading, &arguments, &env, Library::Old).expect("loads")
    }

    #[test]
    fn a_relative_paste_file_is_taken_from_the_working_directory_by_havana_alone() {
        let root = tempfile::tempdir().expect("a directory");
        let reading = Reading::new();
        let conf = conf(root.path(), "[DEFAULT]\n", &reading);
        for dir in ["", "conf", "etc/nova"] {
            fs::write(root.path().join(dir).join("api-paste.ini"), "").expect("written");
        }
        let found = |release| conf.paste_file(&reading, release).expect("found");
        assert_eq!(found(Release::HAVANA), root.path().join("api-paste.ini"));
        assert_eq!(found(Release::ICEHOUSE), root.path().join("conf/api-paste.ini"));
    }

    #[test]
    fn the_search_path_comes_last_and_a_missing_file_is_reported_in_the_original_words() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("etc/nova")).expect("created");
        fs::write(root.path().join("etc/nova/here.ini"), "").expect("written");
        let reading = Reading::new();
        let conf = conf(root.path(), "[DEFAULT]\napi_paste_config = /nonexistent.ini\n", &reading);
        assert_eq!(conf.find_file(&reading, "here.ini"), Some(root.path().join("etc/nova/here.ini")));
        let error = conf.paste_file(&reading, Release::NEWTON).expect_err("not there");
        assert_eq!(error.place.as_ref().map(|p| p.line), Some(2));
        let original = error.original.map(|o| o.message);
        assert_eq!(original.as_deref(), Some("Could not find config at /nonexistent.ini"));
    }
}
