//! Storms of events over a slot, and what holds in all of them.
//!
//! The storms are proptest's, which finds the shortest one that breaks something (`PROPTEST_CASES` makes more of them,
//! `PASTEWAY_SEED` the same again). Must not know more of the state than its answers.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// Something that happens, after so many milliseconds.
type Gust = (u64, Event);

fn jitter() -> impl Strategy<Value = f64> {
    (0_u32..=4).prop_map(|quarters| f64::from(quarters) / 4.0)
}

fn seconds(most: u64) -> impl Strategy<Value = Duration> {
    (0..=most).prop_map(Duration::from_secs)
}

fn event(orders: u32) -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => Just(Event::Tick),
        3 => Just(Event::Ready),
        2 => Just(Event::Beat),
        1 => Just(Event::Leaving),
        1 => Just(Event::Idle),
        1 => Just(Event::Hung),
        4 => (any::<bool>(), jitter()).prop_map(|(signal, jitter)| Event::Exited { signal, jitter }),
        1 => jitter().prop_map(|jitter| Event::Unborn { jitter }),
        1 => jitter().prop_map(|jitter| Event::Unusable { jitter }),
        orders => prop_oneof![
            3 => seconds(40).prop_map(|drain| Order::Retire { drain, why: Reason::Rss }),
            1 => proptest::option::of(seconds(40)).prop_map(|grace| Order::Stop { grace }),
            1 => Just(Order::Kill),
        ].prop_map(Event::Asked),
    ]
}

fn storm(orders: u32) -> impl Strategy<Value = Vec<Gust>> {
    // Mostly close together; now and then long enough for a life to be a steady one.
    let pause = prop_oneof![9 => 0_u64..8_000, 1 => 8_000_u64..70_000];
    proptest::collection::vec((pause, event(orders)), 1..150)
}

fn limits() -> impl Strategy<Value = Limits> {
    proptest::option::of(seconds(20)).prop_map(|stop| Limits {
        start: Duration::from_secs(60),
        stop: stop.filter(|stop| !stop.is_zero()),
        hang: Duration::from_secs(20),
        quiet: Duration::from_secs(6),
    })
}

/// What the world around a slot has seen.
#[derive(Debug, Default)]
struct World {
    now: Duration,
    alive: bool,
    admitted: bool,
    suspected: bool,
    /// When the life became ready.
    ready: Option<Duration>,
    /// SIGKILL is on its way.
    doomed: bool,
    ordered: bool,
    closed: bool,
    spawns: u32,
    burials: u32,
    /// Deaths in a row that nobody asked for, as the slot must count them.
    row: u32,
    /// The last death was told to those who waited for the start.
    told: bool,
}

impl World {
    /// Whether this can happen at all to who lives in the slot now.
    fn admits(&self, state: &State, event: &Event) -> bool {
        match event {
            Event::Unborn { .. } => self.alive && state.as_str() == "starting",
            Event::Exited { .. } | Event::Unusable { .. } => self.alive,
            Event::Ready | Event::Beat | Event::Leaving => self.alive && !self.doomed,
            _ => true,
        }
    }

    /// One event, with all that must hold after it.
    fn pass(&mut self, state: &mut State, event: Event, limits: &Limits) {
        if !self.admits(state, &event) {
            return;
        }
        let death = matches!(event, Event::Exited { .. } | Event::Unborn { .. } | Event::Unusable { .. });
        if death {
            self.alive = false;
            self.spawns -= u32::from(matches!(event, Event::Unborn { .. }));
            let steady = self.ready.is_some_and(|ready| state.as_str() == "serving" && self.now - ready >= STEADY);
            self.row = if steady { 1 } else { self.row + 1 };
        }
        self.ordered |= matches!(event, Event::Asked(_));
        self.told = false;
        let (next, actions) = state.step(event, self.now, limits);
        *state = next;
        actions.into_iter().for_each(|action| self.perform(action));
        assert_eq!(self.burials + u32::from(self.alive), self.spawns, "every process is buried, once");
        assert_eq!(self.closed, state.is_over());
        assert!(!(self.ordered && state.as_str() == "backoff"), "who was asked to go is not followed");
        if death && !self.closed {
            self.waits_as_it_must(state);
        }
        let sleeps = self.doomed || state.is_over() || (state.as_str() == "draining" && limits.stop.is_none());
        assert!(sleeps || state.wakes_at(limits).is_some() || self.alive, "nothing would ever happen again");
    }

    /// Three deaths are free unless they fail a start, then the wait doubles from a second to half a minute, less a quarter at most.
    fn waits_as_it_must(&self, state: &State) {
        let wait = state.pause(self.now).unwrap_or_default();
        let longest = match if self.told { self.row.max(4) } else { self.row } {
            0..=3 => Duration::ZERO,
            row => Duration::from_secs(1 << (row - 4).min(5)).min(Duration::from_secs(30)),
        };
        assert!(wait <= longest && wait >= longest * 3 / 4, "{wait:?} after {} deaths in a row", self.row);
    }

    fn perform(&mut self, action: Action) {
        assert!(!self.closed, "an action after the end");
        match action {
            Action::Spawn => {
                assert!(!self.alive, "two processes in one slot");
                assert!(!self.ordered, "a process for a slot that was asked to go");
                (self.alive, self.doomed, self.admitted, self.ready) = (true, false, false, None);
                self.suspected = false;
                self.spawns += 1;
            }
            Action::Admit => {
                assert!(self.alive && !self.admitted && !self.doomed, "admitted twice, or dead");
                self.admitted = true;
                self.ready = Some(self.now);
            }
            Action::Suspect => {
                assert!(self.admitted && !std::mem::replace(&mut self.suspected, true), "suspected twice")
            }
            Action::Trust => {
                assert!(self.admitted && std::mem::take(&mut self.suspected), "trusted, but not suspected")
            }
            Action::Dismiss => assert!(std::mem::take(&mut self.admitted), "dismissed without being admitted"),
            Action::Terminate | Action::Abort => {
                assert!(
                    self.alive && !self.admitted && !self.doomed,
                    "a signal while it gets requests, or to the dead"
                );
            }
            Action::Kill => {
                assert!(self.alive && !self.admitted && !self.doomed, "killed twice, dead, or while it gets requests");
                self.doomed = true;
            }
            Action::Bury(why) => {
                assert!(!self.alive && !self.admitted, "buried alive, or while it gets requests");
                assert!(!(why == Reason::NeverReady && self.ready.is_some()), "it was ready");
                self.burials += 1;
                self.doomed = false;
            }
            Action::GiveUp(cause) => {
                assert!(self.ready.is_none(), "a start that succeeded has not failed");
                if let Cause::Died(times) = cause {
                    assert!(times >= START_TRIES);
                }
                self.told = cause != Cause::Timeout;
            }
            Action::Close => {
                assert!(!self.alive, "closed over a living process");
                self.closed = true;
            }
        }
    }

    /// The process ends as soon as SIGKILL has come, and only then.
    fn dies_of_sigkill(&mut self, state: &mut State, limits: &Limits) {
        if self.alive && self.doomed {
            self.pass(state, Event::Exited { signal: true, jitter: 0.0 }, limits);
        }
    }
}

fn config() -> ProptestConfig {
    let given = std::env::var("PASTEWAY_SEED").ok().map(|text| text.parse().expect("a number"));
    let seed: u64 = given.unwrap_or_else(|| fastrand::u64(..));
    println!("storms: repeat with PASTEWAY_SEED={seed}");
    ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_storm_of_events_breaks_a_slot(gusts in storm(1), limits in limits()) {
        let (mut state, mut world) = (State::new(), World::default());
        for (after, event) in gusts {
            world.now += Duration::from_millis(after);
            world.pass(&mut state, event, &limits);
        }
        // Whatever happened, an order to stop ends the slot in two deadlines, with a process that only SIGKILL ends.
        world.pass(&mut state, Event::Asked(Order::Stop { grace: Some(Duration::from_secs(5)) }), &limits);
        for _ in 0..4 {
            world.now = state.wakes_at(&limits).unwrap_or(world.now).max(world.now);
            world.pass(&mut state, Event::Tick, &limits);
            world.dies_of_sigkill(&mut state, &limits);
        }
        prop_assert!(world.closed, "{state:?}");
    }

    #[test]
    fn after_any_storm_without_orders_a_slot_serves_again_in_bounded_time(gusts in storm(0), limits in limits()) {
        let (mut state, mut world) = (State::new(), World::default());
        for (after, event) in gusts {
            world.now += Duration::from_millis(after);
            world.pass(&mut state, event, &limits);
        }
        // From now on processes are good: they become ready, and die of SIGTERM.
        let calm = world.now;
        for _ in 0..8 {
            if world.alive && state.as_str() == "starting" {
                world.pass(&mut state, Event::Ready, &limits);
            } else if world.alive && state.as_str() == "draining" {
                world.pass(&mut state, Event::Exited { signal: false, jitter: 0.0 }, &limits);
            } else if state.as_str() == "backoff" {
                world.now = state.wakes_at(&limits).unwrap_or(world.now).max(world.now);
                world.pass(&mut state, Event::Tick, &limits);
            }
        }
        prop_assert_eq!(state.as_str(), "serving");
        prop_assert!(world.now - calm <= LONGEST_WAIT, "{:?}", world.now - calm);
        // And a steady life ends the crash loop.
        world.now += STEADY;
        world.pass(&mut state, Event::Exited { signal: true, jitter: 0.0 }, &limits);
        prop_assert_eq!(state.pause(world.now), None);
    }
}
