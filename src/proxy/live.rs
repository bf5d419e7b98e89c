//! The one `ArcSwap` of the configuration, and each data thread's view of it.
//!
//! A request takes its thread's view once and holds it to the last byte of its response; that is one non-atomic
//! count. When the last request of a thread lets an old view go, the generation learns that this thread has left it.
//! Must not know how a snapshot is made.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use super::snapshot::{Api, Snapshot, UsageCell};
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
        Self { apis: apis.collect(), usage: snapshot.usage.enter(), snapshot }
    }

    /// The API that a listener belongs to in this generation, or belonged to before the API moved elsewhere.
    pub fn api_of(&self, listener: u64) -> Option<&Rc<ApiView>> {
        let now = self.apis.iter().find(|view| view.api.listener == listener);
        now.or_else(|| self.apis.iter().find(|view| view.api.former.contains(&listener)))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.snapshot.usage.leave(&self.usage);
    }
}

/// A data thread's current view, and the older ones that its requests still hold.
pub struct CurrentView {
    cache: RefCell<Cache<Live, Arc<Snapshot>>>,
    view: RefCell<Rc<View>>,
    older: RefCell<Vec<Weak<View>>>,
    lame: Rc<Cell<bool>>,
    outside: Rc<Outside>,
}

impl CurrentView {
    /// A view of what serves now. `lame`: the front is about to go, and what answers for its health says so.
    pub fn new(live: Live, metrics: &ThreadMetrics, lame: Rc<Cell<bool>>, outside: Rc<Outside>) -> Self {
        let mut cache = Cache::new(live);
        let view = View::new(Arc::clone(cache.load()), metrics, &lame, &outside);
        Self { cache: RefCell::new(cache), view: RefCell::new(Rc::new(view)), older: RefCell::default(), lame, outside }
    }

    /// The view of what serves now, for one request.
    pub fn get(&self, metrics: &ThreadMetrics) -> Rc<View> {
        let mut cache = self.cache.borrow_mut();
        let now = cache.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(now, &view.snapshot) {
            let new = Rc::new(View::new(Arc::clone(now), metrics, &self.lame, &self.outside));
            let old = std::mem::replace(&mut *view, new);
            self.older.borrow_mut().push(Rc::downgrade(&old));
        }
        Rc::clone(&view)
    }

    /// Tells each generation that this thread uses when its oldest request began (ms since 1970).
    pub fn tell_oldest(&self, began: impl Fn(Generation) -> Option<u64>) {
        let tell = |view: &View| view.usage.tell_oldest(began(view.snapshot.generation).unwrap_or(0));
        tell(&self.view.borrow());
        self.older.borrow_mut().retain(|older| older.upgrade().inspect(|view| tell(view)).is_some());
    }
}
