//! What an API's worker side is made from: where nothing of it has changed, the workers stay.
//!
//! One place decides it, for `plan`, reloads and the record of a generation alike. Builtin workers are made from their
//! mounts and the few options that they are told; external ones from their sockets. Python workers read nova.conf by
//! themselves, so that every option counts of which it is not known that the front alone reads it: those of launching
//! and listening, and those of filters that run in the front. Commands serve the whole API by themselves: to them, all
//! filters are their own.
//! Must not know what a change is for.

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::split::{Split, Tree};
use super::{ApiPlan, python};
use crate::command::Class;
use crate::config::settings::{ApiSettings, WorkerKind};
use crate::config::{ConfSource, Config, options};
use crate::filter::{Side, registry};
use crate::worker::manifest::{HostSpec, Manifest, Mount};

/// Options of nova.conf (group and current name) that only filters of the front read.
pub type Owned = HashSet<(String, String)>;

impl ApiPlan {
    /// Whether the API's workers are made from an option of nova.conf.
    pub fn workers_read(&self, group: &str, name: &str) -> bool {
        reads(&self.settings.kind, &self.owned, group, name)
    }
}

fn reads(kind: &WorkerKind, owned: &Owned, group: &str, name: &str) -> bool {
    let opt = options::find_any(group, name);
    let rolling = opt.is_some_and(|opt| opt.change == Class::Rolling);
    if group == "pasteway" || !matches!(kind, WorkerKind::Python { .. } | WorkerKind::Command(_)) {
        return rolling;
    }
    let Some(opt) = opt else {
        return matches!(kind, WorkerKind::Command(_)) || !owned.contains(&(group.to_owned(), name.to_owned()));
    };
    let launching = options::is_launching(opt) && !rolling;
    // A program that serves the whole API has all filters in it.
    !launching
        && (matches!(kind, WorkerKind::Command(_)) || !owned.contains(&(opt.group.to_owned(), opt.name.to_owned())))
}

/// Groups of nova.conf that nobody but filters reads.
const OF_FILTERS: [&str; 4] = ["cors", "healthcheck", "keystone_authtoken", "oslo_middleware"];

/// The options that only the front reads, because the filters that read them run there, and in no mount.
pub fn owned(split: &Split) -> Owned {
    let (mut front, mut worker) = (Owned::new(), Owned::new());
    let mut trees = vec![&split.tree];
    while let Some(tree) = trees.pop() {
        match tree {
            Tree::Map { entries, not_found, .. } => {
                trees.extend(entries.iter().map(|(_, tree)| tree));
                trees.extend(not_found.as_deref());
            }
            Tree::Cascade { branches, .. } => trees.extend(branches),
            Tree::Filtered(step, next) => {
                let of_both = step.factory.side == Side::Both;
                own(if of_both { &mut worker } else { &mut front }, step.factory.options);
                trees.push(next);
            }
            Tree::App(step) => own(&mut front, step.factory.options),
            Tree::Mount { contexts, .. } => {
                for factory in contexts.iter().filter_map(|context| registry::find(&super::split::factory_of(context)))
                {
                    own(&mut worker, factory.options);
                }
            }
        }
    }
    // Where an API has no such filter at all, its workers read the filter's group no more than where the front has it.
    let mut filters = Owned::new();
    for factory in registry::FACTORIES.iter().filter(|factory| factory.side == Side::Front) {
        own(&mut filters, factory.options);
    }
    front.extend(filters.into_iter().filter(|(group, _)| OF_FILTERS.contains(&group.as_str())));
    front.retain(|option| !worker.contains(option));
    front
}

fn own(set: &mut Owned, options: &[crate::filter::OptionSpec]) {
    let in_conf = options.iter().filter(|option| !option.group.is_empty());
    set.extend(in_conf.map(|option| match options::find_any(option.group, option.name) {
        Some(known) => (known.group.to_owned(), known.name.to_owned()),
        None => (option.group.to_owned(), option.name.to_owned()),
    }));
}

/// What a worker of this API would be told.
pub fn manifest(
    settings: &ApiSettings,
    config: &Config,
    mounts: Vec<Mount>,
    host: HostSpec,
    generation: u64,
) -> Manifest {
    // The options that decide what Nova's version documents say.
    let read = [("osapi_v3", "enabled"), ("DEFAULT", "osapi_compute_link_prefix"), ("api", "compute_link_prefix")];
    let options = read.iter().filter_map(|(group, name)| {
        config.conf.raw(group, name).map(|setting| (format!("{group}.{name}"), setting.value))
    });
    Manifest {
        api: settings.name.to_string(),
        release: config.settings.release.to_string(),
        generation,
        mounts,
        options: options.collect(),
        host,
    }
}

/// The digest of everything that an API's workers are made from. Where a section stands in its file is no part of it.
pub fn digest(
    settings: &ApiSettings,
    config: &Config,
    mounts: &mut Vec<Mount>,
    filter_names: &[&'static str],
    owned: &Owned,
) -> [u8; 32] {
    let mut lines = Vec::new();
    for context in mounts.iter_mut().flat_map(|mount| &mut mount.contexts) {
        lines.push(std::mem::take(&mut context.line));
    }
    // Where the copies are is another place in each generation; what is in them counts by itself.
    let mut host = python::host(settings, config, mounts, filter_names, &Path::to_owned);
    host.frozen.clear();
    // Lent, not copied: a large file has many contexts.
    let told = manifest(settings, config, std::mem::take(mounts), host, 0);
    let mut sum = Sum(Sha256::new());
    // A manifest is strings, numbers and maps with string keys: it always has a JSON form.
    let _ = serde_json::to_writer(BufWriter::new(&mut sum), &told);
    // Options that a pool is made with for its life.
    let made_with = &config.settings.pasteway;
    sum.0.update(format!(
        "{:?} {} {:?} {:?}",
        settings.kind, settings.worker_threads, made_with.worker_start_timeout, made_with.worker_ready_request,
    ));
    sum.0.update(format!("{:?}", settings.protocol));
    if matches!(settings.kind, WorkerKind::Python { .. } | WorkerKind::Command(_)) {
        sum.0.update(read_by_python(settings, config, owned));
    }
    *mounts = told.mounts;
    let contexts = mounts.iter_mut().flat_map(|mount| &mut mount.contexts);
    contexts.zip(lines).for_each(|(context, line)| context.line = line);
    sum.0.finalize().into()
}

/// What Python workers read by themselves: their interpreter, nova.conf, and the service's other files.
fn read_by_python(settings: &ApiSettings, config: &Config, owned: &Owned) -> [u8; 32] {
    let mut sum = Sha256::new();
    let mut part = |text: &[u8]| {
        sum.update(text.len().to_le_bytes());
        sum.update(text);
    };
    if let Some(interpreter) = &config.interpreter {
        part(format!("{} {} {}", interpreter.program.display(), interpreter.target, interpreter.python).as_bytes());
    }
    let mut names: Vec<_> = config.conf.assigned().into_keys().collect();
    names.sort();
    for (group, name) in
        names.iter().filter(|(group, name)| group != "pasteway" && reads(&settings.kind, owned, group, name))
    {
        part(format!("[{group}] {name}").as_bytes());
        config.conf.all_of(group, name).iter().for_each(|text| part(text.as_bytes()));
    }
    let texts = match settings.kind {
        WorkerKind::Command(_) => config.paste_texts(),
        _ => config.paste_logging(),
    };
    for text in texts {
        part(format!("[{}] {}", text.section, text.name).as_bytes());
        part(text.setting.value.as_bytes());
    }
    let mut files: Vec<_> = config.service.files.iter().collect();
    files.sort();
    for path in files {
        part(path.as_os_str().as_encoded_bytes());
        match config.reading.file(path) {
            Ok(source) => part(&source.digest),
            Err(_) => part(b"there is none"),
        }
    }
    sum.finalize().into()
}

/// Takes the sum of what is written.
struct Sum(Sha256);

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
