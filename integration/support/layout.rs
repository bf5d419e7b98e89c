//! The files that a front is started with: a nova.conf and a paste file, varied by each test.
//!
//! Must not know how the front is started.

use std::ffi::OsString;
use std::path::Path;

/// Havana's api-paste.ini.
pub const HAVANA: &str = include_str!("../fixtures/havana/api-paste.ini");
/// A current Nova's api-paste.ini.
pub const CURRENT: &str = include_str!("../fixtures/current/api-paste.ini");

/// What to write before the start.
#[derive(Clone)]
pub struct Layout {
    release: &'static str,
    apis: Vec<&'static str>,
    paste: String,
    default: Vec<String>,
    groups: Vec<String>,
    pasteway: Vec<String>,
    env: Vec<(&'static str, String)>,
    config_dir: Option<&'static str>,
}

impl Layout {
    /// Nova 2013.2: ec2, osapi_compute and metadata, `auth_strategy = noauth`.
    pub fn havana() -> Self {
        Self {
            release: "2013.2",
            apis: vec!["ec2", "osapi_compute", "metadata"],
            paste: HAVANA.to_owned(),
            default: vec!["verbose = true".to_owned(), "auth_strategy = noauth".to_owned()],
            groups: Vec::new(),
            pasteway: Vec::new(),
            env: Vec::new(),
            config_dir: None,
        }
    }

    /// Nova 31 (2025.1): osapi_compute and metadata, `auth_strategy = noauth2`.
    pub fn current() -> Self {
        Self {
            release: "31",
            apis: vec!["osapi_compute", "metadata"],
            paste: CURRENT.to_owned(),
            default: ["osapi_compute_workers = 1", "metadata_workers = 1", "use_stderr = true"]
                .map(str::to_owned)
                .into(),
            groups: vec!["[api]\nauth_strategy = noauth2".to_owned()],
            pasteway: Vec::new(),
            env: Vec::new(),
            config_dir: None,
        }
    }

    /// Only osapi_compute, with this paste file; the options are Havana's.
    pub fn compute(paste: &str) -> Self {
        Self { apis: vec!["osapi_compute"], paste: paste.to_owned(), ..Self::havana() }
    }

    /// Only osapi_compute, and in front of the worker nothing but a urlmap, so that everything reaches the stand-in.
    pub fn bare() -> Self {
        Self::compute(
            "[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v2: app\n\n\
             [app:app]\npaste.app_factory = somewhere.else:app_factory\n",
        )
    }

    /// With another paste file.
    pub fn with_paste(mut self, paste: &str) -> Self {
        self.paste = paste.to_owned();
        self
    }

    /// Only these APIs, in this order.
    pub fn apis(mut self, apis: &[&'static str]) -> Self {
        self.apis = apis.to_vec();
        self
    }

    /// One more line in `[DEFAULT]`; a later line wins.
    pub fn default(mut self, line: &str) -> Self {
        self.default.push(line.to_owned());
        self
    }

    /// One more group, header and lines.
    pub fn group(mut self, text: &str) -> Self {
        self.groups.push(text.to_owned());
        self
    }

    /// One more line in `[pasteway]`.
    pub fn pasteway(mut self, line: &str) -> Self {
        self.pasteway.push(line.to_owned());
        self
    }

    /// One more variable in the front's environment.
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    /// With this directory beside the files as its `--config-dir`, empty.
    pub fn config_dir(self, name: &'static str) -> Self {
        Self { config_dir: Some(name), ..self }
    }

    /// What the front is called with; makes the directories that are named there.
    pub fn arguments(&self, directory: &Path) -> Vec<OsString> {
        let mut arguments = vec!["serve".into(), "--config-file".into(), directory.join("nova.conf").into()];
        if let Some(dir) = self.config_dir.map(|name| directory.join(name)) {
            std::fs::create_dir(&dir).expect("a --config-dir");
            arguments.extend(["--config-dir".into(), dir.into()]);
        }
        arguments
    }

    /// The variables.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The names in `enabled_apis`.
    pub fn enabled(&self) -> &[&'static str] {
        &self.apis
    }

    /// The text of api-paste.ini.
    pub fn paste(&self) -> &str {
        &self.paste
    }

    /// The text of nova.conf for files in `directory`: every port is 0, the admin listener a Unix socket.
    pub fn conf(&self, directory: &Path) -> String {
        let here = directory.display();
        let mut text =
            format!("[DEFAULT]\nenabled_apis = {}\napi_paste_config = {here}/api-paste.ini\n", self.apis.join(","));
        for api in &self.apis {
            text.push_str(&format!("{api}_listen = 127.0.0.1\n{api}_listen_port = 0\n"));
        }
        text.push_str(&lines(&self.default));
        text.push_str(&lines(&self.groups));
        text.push_str(&format!(
            "[pasteway]\nrelease = {}\nworker_kind = builtin\nworker_threads = 16\nfront_threads = 2\n\
             admin_listen = unix:{here}/admin.sock\nruntime_dir = {here}/run\nwatch_settle = 0.02\n",
            self.release
        ));
        text.push_str(&lines(&self.pasteway));
        text
    }
}

fn lines(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}
