//! What happens, told to those who listen (`GET /events`).
//!
//! Nobody is waited for: who does not read in time is left out from then on. Must not know how it travels.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Daemon;
use super::generation::{Record, State};
use crate::command::Event;

/// Events that a listener may be behind.
const BEHIND: usize = 64;
/// Listeners at a time.
const LISTENERS: usize = 16;
/// How often the workers are looked at while somebody listens.
const LOOK: Duration = Duration::from_millis(200);
/// So many looks make one `ping`, by which who has gone is noticed.
const PING: u32 = 50;

impl Daemon {
    /// A new listener; `None` when there are too many.
    pub(super) fn listen(self: &Rc<Self>) -> Option<mpsc::Receiver<Event>> {
        let (sender, receiver) = mpsc::channel(BEHIND);
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| !listener.is_closed());
        if listeners.len() >= LISTENERS {
            return None;
        }
        if listeners.is_empty() {
            let daemon = Rc::clone(self);
            tokio::task::spawn_local(async move { daemon.look_at_workers().await });
        }
        listeners.push(sender);
        Some(receiver)
    }

    /// Tells those who listen.
    pub(super) fn tell(&self, kind: &'static str, data: &Value) {
        let mut listeners = self.listeners.borrow_mut();
        if !listeners.is_empty() {
            let event = Event { kind, data: data.to_string().into() };
            listeners.retain(|listener| listener.try_send(event.clone()).is_ok());
        }
    }

    /// A generation has come to this.
    pub(super) fn enter(&self, record: &Record, state: State) {
        record.enter(state);
        self.tell("generation", &json!({ "generation": record.number, "state": state.as_str() }));
    }

    /// Tells what changed among the workers, as long as somebody listens.
    async fn look_at_workers(&self) {
        let mut before: Option<HashMap<_, (&'static str, u32)>> = None;
        for turn in 1_u32.. {
            let slots = self.supervisor.glance().into_iter();
            let now: HashMap<_, _> = slots
                .map(|slot| ((slot.api.to_string(), slot.slot, slot.generation, slot.life), (slot.state, slot.pid)))
                .collect();
            if let Some(before) = &before {
                let worker = |key: &(String, u32, crate::id::Generation, u64), state: &str, pid: u32| {
                    let (api, slot, generation, _) = key;
                    json!({ "api": api, "slot": slot, "generation": generation, "state": state, "pid": pid })
                };
                for (key, (state, pid)) in now.iter().filter(|(key, is)| before.get(*key) != Some(*is)) {
                    self.tell("worker", &worker(key, state, *pid));
                }
                for (key, (_, pid)) in before.iter().filter(|(key, _)| !now.contains_key(*key)) {
                    self.tell("worker", &worker(key, "gone", *pid));
                }
            }
            before = Some(now);
            if turn % PING == 0 {
                self.tell("ping", &json!({}));
            }
            tokio::time::sleep(LOOK).await;
            self.listeners.borrow_mut().retain(|listener| !listener.is_closed());
            if self.listeners.borrow().is_empty() {
                return;
            }
        }
    }
}
