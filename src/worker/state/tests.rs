//! What a slot may and may not do, by example.
//!
//! Must not know more of the state than its answers.

use super::*;

const LIMITS: Limits = Limits {
    start: Duration::from_secs(60),
    stop: Some(Duration::from_secs(10)),
    hang: Duration::from_secs(20),
    quiet: Duration::from_secs(6),
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Takes a slot through events that all happen at their second; answers the last one's actions.
fn walk(events: &[(u64, Event)]) -> (State, Vec<Action>) {
    events
        .iter()
        .fold((State::new(), Vec::new()), |(state, _), (second, event)| state.step(*event, at(*second), &LIMITS))
}

const EXIT: Event = Event::Exited { signal: false, jitter: 0.0 };
const CRASH: Event = Event::Exited { signal: true, jitter: 0.0 };
const RETIRE: Event = Event::Asked(Order::Retire { drain: Duration::from_secs(30), why: Reason::Asked });

#[test]
fn a_slot_is_filled_at_once_and_serves_when_its_worker_says_so() {
    assert_eq!(walk(&[(0, Event::Tick)]).1, [Action::Spawn]);
    let (state, actions) = walk(&[(0, Event::Tick), (3, Event::Ready)]);
    assert_eq!(actions, [Action::Admit]);
    assert_eq!(state.as_str(), "serving");
}

#[test]
fn a_worker_that_dies_gets_no_more_requests_and_is_followed_at_once() {
    let (state, actions) = walk(&[(0, Event::Tick), (1, Event::Ready), (2, CRASH)]);
    assert_eq!(actions, [Action::Dismiss, Action::Bury(Reason::Signal)]);
    assert_eq!(state.pause(at(2)), None);
    assert_eq!(state.step(Event::Tick, at(2), &LIMITS).1, [Action::Spawn]);
}

#[test]
fn the_wait_doubles_after_the_free_deaths_up_to_half_a_minute() {
    let waits: Vec<u64> = (1..=10).map(|deaths| wait_after(deaths, 0.0).as_secs()).collect();
    assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(wait_after(4, 1.0), Duration::from_millis(750));
    assert_eq!(wait_after(u32::MAX, 0.0), at(30));
}

#[test]
fn a_long_life_forgives_the_deaths_before_it() {
    let mut state = State::new();
    let mut now = at(0);
    for _ in 0..6 {
        now = state.wakes_at(&LIMITS).expect("an empty slot waits").max(now);
        (state, _) = state.step(Event::Tick, now, &LIMITS);
        (state, _) = state.step(Event::Ready, now, &LIMITS);
        (state, _) = state.step(CRASH, now, &LIMITS);
    }
    assert_eq!(state.pause(now), Some(at(4)));
    now = state.wakes_at(&LIMITS).expect("an empty slot waits");
    (state, _) = state.step(Event::Tick, now, &LIMITS);
    (state, _) = state.step(Event::Ready, now, &LIMITS);
    now += STEADY;
    (state, _) = state.step(CRASH, now, &LIMITS);
    assert_eq!(state.pause(now), None);
}

#[test]
fn a_start_that_takes_too_long_is_killed_and_told_and_tried_again() {
    let (state, actions) = walk(&[(0, Event::Tick), (59, Event::Tick)]);
    assert_eq!(actions, []);
    let (state, actions) = state.step(Event::Tick, at(60), &LIMITS);
    assert_eq!(actions, [Action::Kill, Action::GiveUp(Cause::Timeout)]);
    let (state, actions) = state.step(CRASH, at(61), &LIMITS);
    assert_eq!(actions, [Action::Bury(Reason::NeverReady)]);
    assert_eq!(state.step(Event::Tick, at(61), &LIMITS).1, [Action::Spawn]);
}

#[test]
fn the_third_death_before_readiness_fails_the_start() {
    let (_, actions) = walk(&[(0, Event::Tick), (0, EXIT), (0, Event::Tick), (0, EXIT), (0, Event::Tick), (0, EXIT)]);
    assert_eq!(actions, [Action::Bury(Reason::NeverReady), Action::GiveUp(Cause::Died(3))]);
    let unborn = Event::Unborn { jitter: 0.0 };
    let (state, actions) =
        walk(&[(0, Event::Tick), (0, unborn), (0, Event::Tick), (0, unborn), (0, Event::Tick), (0, unborn)]);
    assert_eq!(actions, [Action::GiveUp(Cause::Died(3))]);
    assert_eq!(state.pause(at(0)), Some(at(1)), "whoever waited may want no other one");
}

#[test]
fn a_worker_without_a_sign_of_life_is_avoided_then_killed_as_hung_and_followed() {
    let (state, actions) = walk(&[(0, Event::Tick), (1, Event::Ready), (15, Event::Beat), (20, Event::Tick)]);
    assert_eq!((actions, state.wakes_at(&LIMITS)), (vec![], Some(at(21))));
    let (state, actions) = state.step(Event::Tick, at(21), &LIMITS);
    assert_eq!((actions, state.wakes_at(&LIMITS)), (vec![Action::Suspect], Some(at(35))));
    // It was only late.
    let (trusted, actions) = state.step(Event::Beat, at(22), &LIMITS);
    assert_eq!(actions, [Action::Trust]);
    assert_eq!(trusted.step(Event::Beat, at(23), &LIMITS).1, []);
    let (state, actions) = state.step(Event::Tick, at(34), &LIMITS);
    assert_eq!(actions, []);
    let (state, actions) = state.step(Event::Tick, at(35), &LIMITS);
    assert_eq!(actions, [Action::Dismiss, Action::Kill]);
    let (state, actions) = state.step(CRASH, at(36), &LIMITS);
    assert_eq!(actions, [Action::Bury(Reason::Hang)]);
    assert!(!state.is_over());
}

#[test]
fn a_retired_worker_is_asked_to_go_when_idle_and_killed_when_it_does_not() {
    let served = [(0, Event::Tick), (1, Event::Ready), (2, RETIRE)];
    let (state, actions) = walk(&served);
    assert_eq!(actions, [Action::Dismiss]);
    assert!(state.is_draining());
    let (state, actions) = state.step(Event::Idle, at(5), &LIMITS);
    assert_eq!(actions, [Action::Terminate]);
    assert_eq!(state.step(Event::Tick, at(14), &LIMITS).1, []);
    let (state, actions) = state.step(Event::Tick, at(15), &LIMITS);
    assert_eq!(actions, [Action::Kill]);
    let (state, actions) = state.step(CRASH, at(15), &LIMITS);
    assert_eq!(actions, [Action::Bury(Reason::Asked), Action::Close]);
    assert!(state.is_over());
}

#[test]
fn a_worker_with_a_request_that_never_ends_tells_where_it_hangs_and_is_followed() {
    let (state, actions) = walk(&[(0, Event::Tick), (1, Event::Ready), (9, Event::Hung)]);
    assert_eq!(actions, [Action::Dismiss, Action::Abort]);
    assert_eq!(state.step(Event::Hung, at(10), &LIMITS).1, []);
    let (state, actions) = state.step(Event::Tick, at(11), &LIMITS);
    assert_eq!(actions, [Action::Kill]);
    let (state, actions) = state.step(CRASH, at(11), &LIMITS);
    assert_eq!(actions, [Action::Bury(Reason::Hang)]);
    assert!(!state.is_over());
    let (state, actions) = walk(&[(0, Event::Tick), (1, Event::Ready), (2, RETIRE), (9, Event::Hung)]);
    assert_eq!(actions, [Action::Abort]);
    assert_eq!(state.step(CRASH, at(9), &LIMITS).1, [Action::Bury(Reason::Hang), Action::Close]);
}

#[test]
fn a_hang_that_shows_when_a_worker_may_take_its_time_to_end_ends_it() {
    let limits = Limits { stop: None, ..LIMITS };
    let drain = Event::Asked(Order::Retire { drain: at(3), why: Reason::Asked });
    let mut state = State::default();
    for (when, event) in [(0, Event::Tick), (1, Event::Ready), (2, drain), (5, Event::Tick)] {
        state = state.step(event, at(when), &limits).0;
    }
    assert_eq!(state.step(Event::Tick, at(900), &limits).1, [], "as long as it takes");
    let (state, actions) = state.step(Event::Hung, at(901), &limits);
    assert_eq!(actions, [Action::Abort]);
    assert_eq!(state.step(Event::Hung, at(902), &limits).1, [], "once");
    let (state, actions) = state.step(Event::Tick, at(903), &limits);
    assert_eq!(actions, [Action::Kill]);
    assert_eq!(state.step(CRASH, at(903), &limits).1, [Action::Bury(Reason::Hang), Action::Close]);
}

#[test]
fn a_worker_that_is_replaced_leaves_its_reason() {
    let order = Event::Asked(Order::Retire { drain: at(30), why: Reason::MaxRequests });
    let (_, actions) = walk(&[(0, Event::Tick), (1, Event::Ready), (2, order), (3, Event::Idle), (4, EXIT)]);
    assert_eq!(actions, [Action::Bury(Reason::MaxRequests), Action::Close]);
}

#[test]
fn a_drain_ends_at_its_deadline_with_requests_or_without() {
    let (state, actions) = walk(&[(0, Event::Tick), (1, Event::Ready), (2, RETIRE), (31, Event::Tick)]);
    assert_eq!(actions, []);
    assert_eq!(state.step(Event::Tick, at(32), &LIMITS).1, [Action::Terminate]);
}

#[test]
fn a_worker_that_leaves_by_itself_is_spared_requests_and_replaced() {
    let (state, actions) = walk(&[(0, Event::Tick), (1, Event::Ready), (2, Event::Leaving)]);
    assert_eq!(actions, [Action::Dismiss]);
    let (state, actions) = state.step(EXIT, at(3), &LIMITS);
    assert_eq!(actions, [Action::Bury(Reason::Exit)]);
    assert_eq!(state.step(Event::Tick, at(3), &LIMITS).1, [Action::Spawn]);
}

#[test]
fn an_order_to_an_empty_slot_ends_it() {
    for order in [Order::Kill, Order::Stop { grace: None }, Order::Retire { drain: at(1), why: Reason::Asked }] {
        assert_eq!(walk(&[(0, Event::Asked(order))]).1, [Action::Close]);
    }
}

#[test]
fn a_spawned_worker_that_does_nothing_is_never_left_alone() {
    let (mut state, mut now) = (State::new(), Duration::ZERO);
    let mut lives = 0;
    for _ in 0..100 {
        let (next, actions) = state.step(Event::Tick, now, &LIMITS);
        lives += actions.iter().filter(|a| **a == Action::Spawn).count();
        state = if actions.contains(&Action::Kill) { next.step(CRASH, now, &LIMITS).0 } else { next };
        now = state.wakes_at(&LIMITS).expect("there is always a next step");
    }
    assert!(lives > 30, "{lives}");
}

#[test]
fn a_worker_that_says_that_none_like_it_can_start_fails_the_start_at_once_and_is_tried_again_all_the_same() {
    const UNUSABLE: Event = Event::Unusable { jitter: 0.0 };
    let (state, actions) = walk(&[(0, Event::Tick), (1, UNUSABLE)]);
    assert_eq!(actions, [Action::Bury(Reason::NeverReady), Action::GiveUp(Cause::Unusable)]);
    assert_eq!(state.as_str(), "backoff");
    let (_, actions) = walk(&[(0, Event::Tick), (1, Event::Ready), (2, UNUSABLE)]);
    assert_eq!(actions, [Action::Dismiss, Action::Bury(Reason::Exit)]);
}
