//! Generations under load: data threads that take views of what is live, and a daemon that swaps, rolls back and retires.
//!
//! Views, the count of their users and pools are the program's. The daemon's steps are told again here, in the order of
//! `daemon/retire.rs`: it would bring all of the program with it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderMap;
use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::thread::{self, JoinHandle};

use crate::filter::Outside;
use crate::id::Generation;
use crate::lease::pool;
use crate::metrics::ThreadMetrics;
use crate::proxy::live::{CurrentView, Live, View};
use crate::proxy::snapshot::{Api, Canary, CanaryShare, Snapshot};
use crate::release::Release;
use crate::worker::{Lease, Pool};

const THREADS: usize = 2;
const GENERATIONS: usize = 4;

/// What is known of a generation beside what the program knows.
#[derive(Default)]
struct Fate {
    requests: AtomicUsize,
    retired: AtomicBool,
}

type Fates = Arc<[Fate; GENERATIONS]>;

enum Message {
    Begin,
    End,
    Refresh(Sender<()>),
}

/// A request from its head to its last byte.
struct Request {
    view: Rc<View>,
    lease: Option<Lease>,
    fates: Fates,
}

impl Request {
    fn begin(view: Rc<View>, fates: &Fates) -> Self {
        let fate = &fates[view.snapshot.generation.0 as usize];
        fate.requests.fetch_add(1, Ordering::SeqCst);
        assert!(!fate.retired.load(Ordering::SeqCst), "it begins with a generation that is retired");
        view.usage.begin();
        let lease = view.snapshot.apis[0].pool.try_lease(&[]);
        Self { view, lease, fates: Arc::clone(fates) }
    }

    fn end(self) {
        let Self { view, lease, fates } = self;
        let generation = view.snapshot.generation.0 as usize;
        assert!(!fates[generation].retired.load(Ordering::SeqCst), "its generation was retired under it");
        if let Some(lease) = &lease {
            assert!(lease.member().in_flight() > 0, "its worker was taken for idle");
        }
        drop(lease);
        view.usage.end();
        fates[generation].requests.fetch_sub(1, Ordering::SeqCst);
    }
}

fn data_thread(live: Live, inbox: Receiver<Message>, fates: Fates) {
    let metrics = ThreadMetrics;
    let current = CurrentView::new(live, &metrics, Rc::new(Cell::new(false)), Rc::new(Outside));
    let mut requests = VecDeque::new();
    for message in inbox {
        match message {
            Message::Begin => {
                let view = current.choose(&metrics, &HeaderMap::new());
                requests.push_back(Request::begin(view, &fates));
            }
            Message::End => requests.pop_front().into_iter().for_each(Request::end),
            Message::Refresh(done) => {
                current.get(&metrics);
                // The daemon may have gone.
                let _ = done.send(());
            }
        }
    }
    requests.into_iter().for_each(Request::end);
}

/// Begins and ends requests on a thread.
fn client(thread: Sender<Message>) {
    for message in [Message::Begin, Message::Begin, Message::End, Message::Begin, Message::End, Message::End] {
        thread.send(message).expect("the thread is there");
    }
}

fn snapshot(generation: usize, pool: &Arc<Pool>) -> Arc<Snapshot> {
    let api = Api {
        name: "api".into(),
        listener: 1,
        former: Vec::new(),
        mounts: 1,
        filter_names: Vec::new(),
        pool: Arc::clone(pool),
    };
    Arc::new(Snapshot {
        generation: Generation(generation as u64),
        release: Release,
        apis: vec![Arc::new(api)],
        usage: Arc::default(),
        header: false,
        canary: None,
    })
}

struct Front {
    live: Live,
    threads: Vec<Sender<Message>>,
    running: Vec<JoinHandle<()>>,
    fates: Fates,
}

impl Front {
    fn start(first: Arc<Snapshot>) -> Self {
        let live: Live = Arc::new(ArcSwap::new(first));
        let fates: Fates = Arc::default();
        let (mut threads, mut running) = (Vec::new(), Vec::new());
        for _ in 0..THREADS {
            let (messages, inbox) = channel();
            let (live, fates) = (Arc::clone(&live), Arc::clone(&fates));
            running.push(thread::spawn(move || data_thread(live, inbox, fates)));
            let clients = messages.clone();
            running.push(thread::spawn(move || client(clients)));
            threads.push(messages);
        }
        Self { live, threads, running, fates }
    }

    /// Beside the daemon, as `Daemon::retire`: no thread begins with it any more, the last request ends, and then what
    /// only it used. `shared`: its pool is another's too.
    fn retire(&self, old: Arc<Snapshot>, shared: bool) -> JoinHandle<()> {
        let (threads, fates) = (self.threads.clone(), Arc::clone(&self.fates));
        thread::spawn(move || {
            for thread in &threads {
                let (done, seen) = channel();
                thread.send(Message::Refresh(done)).expect("the thread is there");
                seen.recv().expect("the thread looks");
            }
            block_on(old.usage.drained());
            let fate = &fates[old.generation.0 as usize];
            assert_eq!(old.usage.in_flight(), 0, "drained with requests");
            assert_eq!(fate.requests.load(Ordering::SeqCst), 0, "drained with requests that are not counted");
            assert!(!fate.retired.swap(true, Ordering::SeqCst), "retired twice");
            if !shared {
                let pool = &old.apis[0].pool;
                for member in pool.members().iter() {
                    pool.dismiss(member.life);
                    block_on(member.idle());
                    assert_eq!(member.in_flight(), 0);
                }
            }
        })
    }

    fn stop(self, retiring: Vec<JoinHandle<()>>) {
        retiring.into_iter().for_each(|it| it.join().expect("no panic"));
        drop(self.threads);
        self.running.into_iter().for_each(|it| it.join().expect("no panic"));
    }
}

/// Generation 1 takes new workers, and while 0 drains it is rolled back: 2 has the workers of 0 again.
pub fn retired_once_after_the_last_request() {
    let (old, new) = (pool(&[8]), pool(&[8]));
    let (first, second, third) = (snapshot(0, &old), snapshot(1, &new), snapshot(2, &old));
    let front = Front::start(Arc::clone(&first));
    front.live.store(Arc::clone(&second));
    let mut retiring = vec![front.retire(first, true)];
    thread::yield_now();
    front.live.store(third);
    retiring.push(front.retire(second, false));
    let fates = Arc::clone(&front.fates);
    front.stop(retiring);
    let retired: Vec<bool> = fates.iter().map(|fate| fate.retired.load(Ordering::SeqCst)).collect();
    assert_eq!(retired, [true, true, false, false]);
    assert_eq!(old.members().len(), 1, "what the live one uses serves on");
}

/// Generation 1 is tried beside 0 and taken out; 2 is tried and becomes the live one.
pub fn a_canary_comes_and_goes() {
    let pool = pool(&[8]);
    let (first, tried, better) = (snapshot(0, &pool), snapshot(1, &pool), snapshot(2, &pool));
    let with = |canary: Option<&Arc<Snapshot>>| {
        let canary = canary.map(|it| Canary { snapshot: Arc::clone(it), share: CanaryShare });
        let Snapshot { generation, release, header, .. } = *first;
        let (apis, usage) = (first.apis.clone(), Arc::clone(&first.usage));
        Arc::new(Snapshot { generation, release, apis, usage, header, canary })
    };
    let front = Front::start(Arc::clone(&first));
    front.live.store(with(Some(&tried)));
    thread::yield_now();
    front.live.store(with(None));
    let mut retiring = vec![front.retire(Arc::clone(&tried), true)];
    front.live.store(with(Some(&better)));
    thread::yield_now();
    front.live.store(Arc::clone(&better));
    retiring.push(front.retire(Arc::clone(&first), true));
    let fates = Arc::clone(&front.fates);
    front.stop(retiring);
    let retired: Vec<bool> = fates.iter().map(|fate| fate.retired.load(Ordering::SeqCst)).collect();
    assert_eq!(retired, [true, true, false, false]);
}
