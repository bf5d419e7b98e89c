//! What a data thread counts: one block per API and thread, which that thread alone writes.
//!
//! Must not know how blocks are summed or shown.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;

use super::Metrics;
use super::cell::{COMPUTING, Codes, Count, Durations, WAITING};
use super::words::{QueueRejection, TunnelEnd, UpstreamError};
use crate::id::ApiName;

/// The metrics of one data thread; made by [`Metrics::thread`].
#[derive(Debug)]
pub struct ThreadMetrics {
    metrics: Metrics,
    blocks: RefCell<Vec<(ApiName, Rc<ApiBlock>)>>,
}

impl ThreadMetrics {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, blocks: RefCell::default() }
    }

    /// This thread's block for an API: made at the first call, the same one ever after.
    pub fn api(&self, api: &ApiName) -> Rc<ApiBlock> {
        let mut blocks = self.blocks.borrow_mut();
        if let Some((_, block)) = blocks.iter().find(|(name, _)| name == api) {
            return Rc::clone(block);
        }
        let cells = Arc::new(ApiCells::default());
        self.metrics.add_block(api.clone(), Arc::clone(&cells));
        let block = Rc::new(ApiBlock { cells, filters: RefCell::default() });
        blocks.push((api.clone(), Rc::clone(&block)));
        block
    }
}

/// Methods with a label of their own; all others are `other`.
pub(super) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "other"];

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::PATCH => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::CONNECT => 8,
        _ => METHODS.len() - 1,
    }
}

/// The counters behind an [`ApiBlock`], which scrapes read.
#[derive(Debug)]
pub(super) struct ApiCells {
    pub(super) requests: [Codes; METHODS.len()],
    pub(super) started: Count,
    pub(super) finished: Count,
    pub(super) duration: Durations,
    pub(super) request_bytes: Count,
    pub(super) response_bytes: Count,
    pub(super) opened: Count,
    pub(super) closed: Count,
    pub(super) upstream: Durations,
    pub(super) upstream_errors: [Count; UpstreamError::ALL.len()],
    pub(super) retries: Count,
    pub(super) queued: Durations,
    pub(super) rejected: [Count; QueueRejection::ALL.len()],
    pub(super) tunnels_ended: [Count; TunnelEnd::ALL.len()],
    filters: Mutex<Vec<(String, Arc<FilterCells>)>>,
}

impl Default for ApiCells {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            started: Count::default(),
            finished: Count::default(),
            duration: Durations::new(WAITING),
            request_bytes: Count::default(),
            response_bytes: Count::default(),
            opened: Count::default(),
            closed: Count::default(),
            upstream: Durations::new(WAITING),
            upstream_errors: Default::default(),
            retries: Count::default(),
            queued: Durations::new(WAITING),
            rejected: Default::default(),
            tunnels_ended: Default::default(),
            filters: Mutex::default(),
        }
    }
}

impl ApiCells {
    pub(super) fn filters(&self) -> MutexGuard<'_, Vec<(String, Arc<FilterCells>)>> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one thread counts for one API. No call here locks, hashes or allocates, but [`filter`](Self::filter).
#[derive(Debug)]
pub struct ApiBlock {
    cells: Arc<ApiCells>,
    filters: RefCell<Vec<(String, Rc<FilterBlock>)>>,
}

impl ApiBlock {
    /// A request's head was read. [`finished`](Self::finished) or [`abandoned`](Self::abandoned) must follow.
    pub fn started(&self) {
        self.cells.started.add(1);
    }

    /// The last byte of a response was sent. Bytes are those of the two bodies.
    pub fn finished(&self, method: &Method, status: u16, duration: Duration, request_bytes: u64, response_bytes: u64) {
        let cells = &self.cells;
        if let Some(codes) = cells.requests.get(method_index(method)) {
            codes.add(status);
        }
        cells.duration.observe(duration);
        cells.request_bytes.add(request_bytes);
        cells.response_bytes.add(response_bytes);
        cells.finished.add(1);
    }

    /// A request ended before there was a status: the client went away.
    pub fn abandoned(&self) {
        self.cells.finished.add(1);
    }

    /// A client's connection was accepted.
    pub fn connection_opened(&self) {
        self.cells.opened.add(1);
    }

    /// It is gone.
    pub fn connection_closed(&self) {
        self.cells.closed.add(1);
    }

    /// A worker's response began `duration` after the request was handed to it.
    pub fn upstream(&self, duration: Duration) {
        self.cells.upstream.observe(duration);
    }

    /// A worker failed a request.
    pub fn upstream_error(&self, reason: UpstreamError) {
        if let Some(count) = self.cells.upstream_errors.get(reason as usize) {
            count.add(1);
        }
    }

    /// A failed exchange is tried again.
    pub fn retry(&self) {
        self.cells.retries.add(1);
    }

    /// A request had to wait for a worker.
    pub fn queued(&self, duration: Duration) {
        self.cells.queued.observe(duration);
    }

    /// A request was turned away.
    pub fn queue_rejected(&self, reason: QueueRejection) {
        if let Some(count) = self.cells.rejected.get(reason as usize) {
            count.add(1);
        }
    }

    /// An upgraded connection has ended.
    pub fn tunnel_ended(&self, reason: TunnelEnd) {
        if let Some(count) = self.cells.tunnels_ended.get(reason as usize) {
            count.add(1);
        }
    }

    /// The counters of a filter in this API's trees, by its name; to be kept and not asked for per request.
    pub fn filter(&self, name: &str) -> Rc<FilterBlock> {
        let mut filters = self.filters.borrow_mut();
        if let Some((_, block)) = filters.iter().find(|(known, _)| known == name) {
            return Rc::clone(block);
        }
        let cells = Arc::new(FilterCells::default());
        self.cells.filters().push((name.to_owned(), Arc::clone(&cells)));
        let block = Rc::new(FilterBlock { cells, one_writer: PhantomData });
        filters.push((name.to_owned(), Rc::clone(&block)));
        block
    }
}

/// The counters behind a [`FilterBlock`].
#[derive(Debug)]
pub(super) struct FilterCells {
    pub(super) duration: Durations,
    pub(super) replies: Codes,
}

impl Default for FilterCells {
    fn default() -> Self {
        Self { duration: Durations::new(COMPUTING), replies: Codes::default() }
    }
}

/// What one thread counts for one filter of one API.
#[derive(Debug)]
pub struct FilterBlock {
    cells: Arc<FilterCells>,
    /// Keeps it on its thread: a second writer would lose counts.
    one_writer: PhantomData<Rc<()>>,
}

impl FilterBlock {
    /// A request took this long to pass it on its way in.
    pub fn passed(&self, duration: Duration) {
        self.cells.duration.observe(duration);
    }

    /// It answered a request itself.
    pub fn replied(&self, status: u16) {
        self.cells.replies.add(status);
    }
}
