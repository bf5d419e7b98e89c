//! Keystone stopped, stalled, and started again under load: who is known goes on, who is not waits no longer than the
//! options say, and nothing piles up.
//!
//! Must not know how a front waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::stack::project;
use crate::stage::{authtoken, layout, stage};
use crate::support::{Front, eventually};

/// Gives up early, so that a test need not wait long.
const IMPATIENT: [&str; 2] = ["http_connect_timeout = 4", "http_request_max_retries = 0"];
/// What an impatient filter may take at most: a question, and a login before it, on a busy machine.
const AT_MOST: Duration = Duration::from_secs(15);

#[track_caller]
fn status(front: &Front, token: &str) -> u16 {
    front.client().get("/v2.1/flavors", &[("X-Auth-Token", token)]).expect("an answer").status
}

#[test]
fn while_keystone_is_stopped_the_known_go_on_and_the_unknown_are_told() {
    let Some(stage) = stage() else { return };
    let (gate, own) = (stage.gate(), stage.another_keystone(3600));
    gate.lead_to(own.address);
    let front = Front::start(&layout(&authtoken(&gate, &IMPATIENT)));
    let (known, unknown) = (stage.stack.token("demo", project("demo")), stage.stack.token("reader", project("demo")));
    assert_eq!(status(&front, &known), 200);
    let address = own.address;
    drop(own);
    let begun = Instant::now();
    let answer = front.client().get("/v2.1/flavors", &[("X-Auth-Token", &unknown)]).expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("The Keystone service is temporarily unavailable."), "{}", answer.text());
    assert!(begun.elapsed() < AT_MOST, "{:?}", begun.elapsed());
    assert_eq!(status(&front, &known), 200);
    // It comes back, and nobody has to tell the front.
    let _own = stage.another_keystone_at(address, 3600);
    // Its first answers may take longer than the front is patient here.
    eventually("it is asked again", || (status(&front, &unknown) == 200).then_some(()));
}

#[test]
fn while_keystone_is_stalled_nobody_waits_for_long_and_nothing_piles_up() {
    const MANY: usize = 30;
    let Some(stage) = stage() else { return };
    let (gate, own) = (stage.gate(), stage.another_keystone(3600));
    gate.lead_to(own.address);
    let front = Front::start(&layout(&authtoken(&gate, &IMPATIENT)));
    let (known, unknown) = (stage.stack.token("demo", project("demo")), stage.stack.token("reader", project("demo")));
    assert_eq!(status(&front, &known), 200);
    own.signal(Signal::STOP);
    gate.take();
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let asking: Vec<_> = (0..MANY).map(|_| scope.spawn(|| status(&front, &unknown))).collect();
        eventually("they wait", || (gate.asked_about(&unknown) > 0).then_some(()));
        // Whoever is known does not wait with them.
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(status(&front, &known), 200);
            assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        }
        for one in asking {
            assert_eq!(one.join().expect("no panic"), 503);
        }
        assert!(begun.elapsed() < AT_MOST, "{:?}", begun.elapsed());
    });
    let calls = gate.asked_about(&unknown);
    assert!(calls <= 4, "{calls} calls for {MANY} requests");
    own.signal(Signal::CONT);
    eventually("it goes on", || (status(&front, &unknown) == 200).then_some(()));
}

/// Ends the load when dropped, by a failure too: the threads would be waited for without end.
struct End<'s>(&'s AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_restart_of_keystone_under_load_fails_nobody_who_is_known() {
    let Some(stage) = stage() else { return };
    let (gate, own) = (stage.gate(), stage.another_keystone(3600));
    gate.lead_to(own.address);
    let front = Front::start(&layout(&authtoken(&gate, &IMPATIENT)));
    let known = stage.stack.token("demo", project("demo"));
    let fresh: Vec<_> = (0..40).map(|_| stage.stack.token("reader", project("demo"))).collect();
    assert_eq!(status(&front, &known), 200);
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let end = End(&stop);
        let load: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = front.client();
                    while !stop.load(Ordering::Relaxed) {
                        let answer = client.get("/v2.1/flavors", &[("X-Auth-Token", &known)]).expect("an answer");
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let newcomers = scope.spawn(|| {
            let mut seen = Vec::new();
            for token in fresh.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                seen.push(status(&front, token));
            }
            seen
        });
        let address = own.address;
        drop(own);
        let before = served.load(Ordering::Relaxed);
        let _own = stage.another_keystone_at(address, 3600);
        assert!(served.load(Ordering::Relaxed) > before, "the load stood still");
        for token in &fresh {
            // Somebody may still be waiting for an answer of the old one, and whoever asks now waits with them.
            eventually("Keystone is believed again", || (status(&front, token) == 200).then_some(()));
        }
        drop(end);
        for one in load {
            one.join().expect("no failure");
        }
        let seen = newcomers.join().expect("no panic");
        assert!(seen.iter().all(|status| [200, 503].contains(status)), "{seen:?}");
        assert!(seen.contains(&503), "Keystone was down in the meantime");
    });
}
