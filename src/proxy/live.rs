//! The one `ArcSwap` of the configuration, and each data thread's view of it.
//!
//! A request takes its thread's view once and holds it to the last byte of its response; that is one non-atomic
//! count. When the last request of a thread lets an old view go, the generation learns that this thread has left it.
//! Must not know how a snapshot is made.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use http::{HeaderMap, HeaderValue};

use super::holder::Oldest;
use super::snapshot::{Api, CanaryShare, Snapshot};
use super::usage::UsageCell;
use crate::filter::{Health, Outside};
use crate::id::Generation;
use crate::metrics::{ApiBlock, FilterBlock, ThreadMetrics};
use crate::release::Release;
use crate::worker::{Pool, wire as names};

/// What serves now.
pub type Live = Arc<ArcSwap<Snapshot>>;

/// A data thread's view of one generation.
pub struct View {
    /// The generation.
    pub snapshot: Arc<Snapshot>,
    /// This thread's use of it.
    pub usage: Arc<UsageCell>,
    /// What its answers say of it, if they do.
    pub header: Option<HeaderValue>,
    apis: Vec<Rc<ApiView>>,
}

/// A data thread's view of one API of a generation.
pub struct ApiView {
    /// The API.
    pub api: Arc<Api>,
    /// Where this thread counts its requests.
    pub metrics: Rc<ApiBlock>,
    /// By [`FilterNode::index`](super::snapshot::FilterNode::index).
    pub filters: Vec<Rc<FilterBlock>>,
    /// For filters that answer in the workers' place.
    pub health: Rc<dyn Health>,
    /// For filters that ask other programs.
    pub outside: Rc<Outside>,
    /// The era whose answers hold.
    pub release: Release,
    /// The header lines that name the mount and the generation to workers, by the mount's index.
    pub mount_lines: Vec<String>,
}

struct PoolHealth {
    pool: Arc<Pool>,
    /// See [`CurrentView::new`].
    lame: Rc<Cell<bool>>,
}

impl Health for PoolHealth {
    fn health(&self) -> Result<(), String> {
        if self.lame.get() {
            return Err("the front is stopping".to_owned());
        }
        self.pool.health()
    }

    fn facts(&self) -> Option<&serde_json::Value> {
        self.pool.facts()
    }
}

impl View {
    fn new(snapshot: Arc<Snapshot>, metrics: &ThreadMetrics, lame: &Rc<Cell<bool>>, outside: &Rc<Outside>) -> Self {
        let apis = snapshot.apis.iter().map(|api| {
            let block = metrics.api(&api.name);
            Rc::new(ApiView {
                filters: api.filter_names.iter().map(|name| block.filter(name)).collect(),
                metrics: block,
                release: snapshot.release,
                health: Rc::new(PoolHealth { pool: Arc::clone(&api.pool), lame: Rc::clone(lame) }),
                outside: Rc::clone(outside),
                mount_lines: (0..api.mounts)
                    .map(|n| format!("{}: {n}\r\n{}: {}\r\n", names::MOUNT, names::GENERATION, snapshot.generation))
                    .collect(),
                api: Arc::clone(api),
            })
        });
        let header = snapshot.header.then(|| HeaderValue::from(snapshot.generation.0));
        Self { apis: apis.collect(), usage: snapshot.usage.enter(), header, snapshot }
    }

    /// The API that a listener belongs to in this generation, or belonged to before the API moved elsewhere.
    pub fn api_of(&self, listener: u64) -> Option<&Rc<ApiView>> {
        let now = self.apis.iter().find(|view| view.api.listener == listener);
        now.or_else(|| self.apis.iter().find(|view| view.api.former.contains(&listener)))
    }

    /// The API that these workers serve in this generation.
    pub fn api_on(&self, pool: &Arc<Pool>) -> Option<&Rc<ApiView>> {
        self.apis.iter().find(|view| Arc::ptr_eq(&view.api.pool, pool))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.snapshot.usage.leave(&self.usage);
    }
}

/// What a data thread serves now.
struct Serving {
    view: Rc<View>,
    /// Beside the view, not in it: a request that began with the one must not hold the other.
    canary: Option<(Rc<View>, CanaryShare)>,
}

/// A data thread's current view, and the older ones that its requests still hold.
pub struct CurrentView {
    cache: RefCell<Cache<Live, Arc<Snapshot>>>,
    serving: RefCell<Serving>,
    /// Counts the canary's share out.
    turn: Cell<u32>,
    older: RefCell<Vec<Weak<View>>>,
    lame: Rc<Cell<bool>>,
    outside: Rc<Outside>,
}

impl CurrentView {
    /// A view of what serves now. `lame`: the front is about to go, and what answers for its health says so.
    pub fn new(live: Live, metrics: &ThreadMetrics, lame: Rc<Cell<bool>>, outside: Rc<Outside>) -> Self {
        let mut cache = Cache::new(live);
        let view = Rc::new(View::new(Arc::clone(cache.load()), metrics, &lame, &outside));
        let serving = RefCell::new(Serving { view, canary: None });
        Self { cache: RefCell::new(cache), serving, turn: Cell::new(0), older: RefCell::default(), lame, outside }
    }

    /// The view of what serves now, canaries aside.
    pub fn get(&self, metrics: &ThreadMetrics) -> Rc<View> {
        Rc::clone(&self.look(metrics).view)
    }

    /// The view for a request with this head: the canary's, where there is one and the request is its.
    pub fn choose(&self, metrics: &ThreadMetrics, headers: &HeaderMap) -> Rc<View> {
        let serving = self.look(metrics);
        if let Some((canary, share)) = &serving.canary {
            let mut turn = self.turn.get();
            let takes = share.takes(headers, &mut turn);
            self.turn.set(turn);
            if takes {
                return Rc::clone(canary);
            }
        }
        Rc::clone(&serving.view)
    }

    /// The views that requests begin with now: of what serves, and of its canary.
    pub fn all(&self, metrics: &ThreadMetrics) -> Vec<Rc<View>> {
        let serving = self.look(metrics);
        let canary = serving.canary.as_ref().map(|(view, _)| view);
        std::iter::once(&serving.view).chain(canary).cloned().collect()
    }

    fn look(&self, metrics: &ThreadMetrics) -> std::cell::Ref<'_, Serving> {
        let mut cache = self.cache.borrow_mut();
        let now = cache.load();
        if !Arc::ptr_eq(now, &self.serving.borrow().view.snapshot) {
            let view = |of: &Arc<Snapshot>| Rc::new(View::new(Arc::clone(of), metrics, &self.lame, &self.outside));
            let canary = now.canary.as_ref().map(|canary| (view(&canary.snapshot), canary.share.clone()));
            let old = self.serving.replace(Serving { view: view(now), canary });
            let old = [Some(old.view), old.canary.map(|(view, _)| view)];
            self.older.borrow_mut().extend(old.iter().flatten().map(Rc::downgrade));
        }
        self.serving.borrow()
    }

    /// Tells each generation that this thread uses its oldest requests, and when the first of them began (ms since 1970).
    pub fn tell_oldest(&self, mut oldest: impl FnMut(Generation) -> (u64, Oldest)) {
        let mut tell = |view: &View| {
            let (ms, holders) = oldest(view.snapshot.generation);
            view.usage.tell_oldest(ms, holders.into_vec());
        };
        // Of two views of one generation the first to be asked tells all: the newer one.
        let serving = self.serving.borrow();
        tell(&serving.view);
        if let Some((canary, _)) = &serving.canary {
            tell(canary);
        }
        self.older.borrow_mut().retain(|older| older.upgrade().inspect(|view| tell(view)).is_some());
    }
}
