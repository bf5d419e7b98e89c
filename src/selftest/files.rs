//! What the instance's files say, and the changes that are made to that.
//!
//! Must not know how a file is written, or what the instance makes of it.

use std::path::Path;

use fastrand::Rng;

use crate::command::Class;

/// Filters that may come, go and change places: the front runs each of them by itself.
const OPTIONAL: [(&str, &str); 5] = [
    ("request_id", "oslo_middleware:RequestId.factory"),
    ("correlation_id", "oslo_middleware:CorrelationId.factory"),
    ("http_proxy_to_wsgi", "oslo_middleware:HTTPProxyToWSGI.factory"),
    ("cors", "oslo_middleware:CORS.factory"),
    ("compress", "pasteway:compress"),
];
/// The smallest limit of bodies: above what is sent.
const LIMIT: u64 = 100_000;

/// What is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// An option of a native filter.
    FilterOption,
    /// One filter more in the pipeline.
    FilterInserted,
    /// One fewer.
    FilterRemoved,
    /// Two of them have changed places.
    FiltersReordered,
    /// An option of nova.conf.
    ConfOption,
    /// The number of workers.
    Workers,
    /// The app behind the filters: new workers.
    Tail,
    /// The port of the second API.
    Port,
    /// nova.conf and the paste file, one after the other.
    BothFiles,
    /// An option in the file that a volume brings.
    VolumeOption,
}

impl Change {
    /// Those of nova.conf and the paste file.
    pub(super) const OF_FILES: [Self; 9] = [
        Self::FilterOption,
        Self::FilterInserted,
        Self::FilterRemoved,
        Self::FiltersReordered,
        Self::ConfOption,
        Self::Workers,
        Self::Tail,
        Self::Port,
        Self::BothFiles,
    ];

    /// In the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FilterOption => "filter option",
            Self::FilterInserted => "filter inserted",
            Self::FilterRemoved => "filter removed",
            Self::FiltersReordered => "filters reordered",
            Self::ConfOption => "nova.conf option",
            Self::Workers => "worker count",
            Self::Tail => "app behind the cut",
            Self::Port => "port moved",
            Self::BothFiles => "both files",
            Self::VolumeOption => "option in a volume",
        }
    }

    /// What it takes to apply it.
    pub(super) fn class(self) -> Class {
        match self {
            Self::Tail => Class::Rolling,
            Self::Port => Class::Rebind,
            _ => Class::Live,
        }
    }
}

/// The state that the files tell.
#[derive(Clone)]
pub(super) struct Files {
    limit: u64,
    filters: Vec<&'static str>,
    conf_limit: u64,
    queue: u64,
    workers: u32,
    /// Numbers the app's section.
    pub(super) tail: u64,
    port: u16,
}

/// The texts of all files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Texts {
    /// nova.conf
    pub(super) conf: String,
    /// api-paste.ini
    pub(super) paste: String,
    /// The second file of options, in a volume.
    pub(super) volume: String,
}

impl Files {
    /// The state at the start; `port` is the second API's.
    pub(super) fn new(port: u16) -> Self {
        let filters = vec!["request_id", "sizelimit", "http_proxy_to_wsgi"];
        Self { limit: LIMIT, filters, conf_limit: LIMIT, queue: LIMIT, workers: 2, tail: 1, port }
    }

    /// Makes a change; which it was in the end: from a full pipeline a filter is removed, to an empty one it is added.
    pub(super) fn change(&mut self, change: Change, rng: &mut Rng, port: impl FnOnce() -> u16) -> Change {
        match change {
            Change::FilterOption => self.limit += 1,
            Change::FilterInserted if self.filters.len() > OPTIONAL.len() => {
                return self.change(Change::FilterRemoved, rng, port);
            }
            Change::FilterInserted => {
                let absent = OPTIONAL.iter().map(|(name, _)| *name).filter(|name| !self.filters.contains(name));
                let absent: Vec<_> = absent.collect();
                let at = rng.usize(..=self.filters.len());
                if let Some(name) = rng.choice(absent) {
                    self.filters.insert(at, name);
                }
            }
            Change::FilterRemoved if self.filters.len() <= 2 => {
                return self.change(Change::FilterInserted, rng, port);
            }
            Change::FilterRemoved => {
                let optional: Vec<usize> =
                    (0..self.filters.len()).filter(|n| self.filters.get(*n) != Some(&"sizelimit")).collect();
                if let Some(n) = rng.choice(optional) {
                    self.filters.remove(n);
                }
            }
            Change::FiltersReordered => self.filters.rotate_left(1),
            Change::ConfOption => self.conf_limit += 1,
            Change::Workers => self.workers = self.workers % 3 + 1,
            Change::Tail => self.tail += 1,
            Change::Port => self.port = port(),
            Change::BothFiles => {
                self.limit += 1;
                self.conf_limit += 1;
            }
            Change::VolumeOption => self.queue += 1,
        }
        change
    }

    /// What the files of this state say, in `directory`.
    pub(super) fn texts(&self, directory: &Path) -> Texts {
        let Self { limit, filters, conf_limit, queue, workers, tail, port } = self;
        let here = directory.display();
        let conf = format!(
            "[DEFAULT]\nenabled_apis = osapi_compute,metadata\napi_paste_config = {here}/api-paste.ini\n\
             osapi_compute_listen = 127.0.0.1\nosapi_compute_listen_port = 0\nosapi_compute_workers = {workers}\n\
             metadata_listen = 127.0.0.1\nmetadata_listen_port = {port}\nmetadata_workers = 1\n\n\
             [oslo_middleware]\nmax_request_body_size = {conf_limit}\n\n\
             [pasteway]\nrelease = 34\nworker_kind = builtin\nworker_threads = 4096\nfront_threads = 2\n\
             admin_listen = unix:{here}/admin.sock\nruntime_dir = {here}/run\naccess_log = false\n\
             generation_header = true\n"
        );
        let mut paste = format!(
            "[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v2: compute\n\n\
             [composite:metadata]\nuse = egg:Paste#urlmap\n/v2: instance\n\n\
             [pipeline:compute]\npipeline = {} tail{tail}\n\n\
             [filter:sizelimit]\npaste.filter_factory = oslo_middleware:RequestBodySizeLimiter.factory\n\
             max_request_body_size = {limit}\n\n",
            filters.join(" ")
        );
        for (name, factory) in OPTIONAL {
            paste.push_str(&format!("[filter:{name}]\npaste.filter_factory = {factory}\n"));
            paste.push_str(if name == "cors" { "allowed_origin = http://127.0.0.1\n\n" } else { "\n" });
        }
        paste.push_str(&format!(
            "[app:tail{tail}]\npaste.app_factory = pasteway.selftest:compute\n\n\
             [app:instance]\npaste.app_factory = pasteway.selftest:instance\n"
        ));
        Texts { conf, paste, volume: format!("[pasteway]\nqueue_size = {queue}\n") }
    }
}

/// A paste file that cannot be loaded, in one of several ways; `None`: it is gone.
pub(super) fn broken(good: &str, rng: &mut Rng) -> Option<String> {
    match rng.u8(..4) {
        0 => Some(good.replace("sizelimit ", "sizelimt ").replace(" sizelimit", " sizelimt")),
        1 => Some("[composite:osapi_compute\nuse = ".to_owned()),
        2 => Some(String::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_makes_another_text_whatever_came_before() {
        let mut rng = Rng::with_seed(7);
        let mut files = Files::new(1);
        for port in 2..500 {
            let all = [Change::OF_FILES.as_slice(), &[Change::VolumeOption]].concat();
            let before = files.texts(Path::new("/x"));
            let Some(change) = rng.choice(all) else { panic!("there are some") };
            let change = files.change(change, &mut rng, || port);
            let after = files.texts(Path::new("/x"));
            let differ = [before.conf != after.conf, before.paste != after.paste, before.volume != after.volume];
            let want = match change {
                Change::ConfOption | Change::Workers | Change::Port => [true, false, false],
                Change::BothFiles => [true, true, false],
                Change::VolumeOption => [false, false, true],
                _ => [false, true, false],
            };
            assert_eq!(differ, want, "{change:?}");
            assert!(files.filters.contains(&"sizelimit"));
            for _ in 0..4 {
                assert_ne!(broken(&after.paste, &mut rng).as_ref(), Some(&after.paste));
            }
        }
    }
}
