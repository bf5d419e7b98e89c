//! The fuzz targets in a bounded run with a fixed seed, so that every test run covers them: recorded files and samples,
//! mutated; then bytes at random. Each input has its time, and all of them together may not make the process grow.
//!
//! Must not know what a target does.

#[path = "../differential/grow.rs"]
#[allow(dead_code)]
mod grow;
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

const SEED: u64 = 20_131_017;
/// What one input may take in a debug build on a busy machine: far more than any does.
const LONGEST: Duration = Duration::from_secs(20);
/// Resident pages of 4 KiB that all inputs together may add.
const GROWTH: usize = 32 * 1024;

/// Texts to begin with: every recorded case and every sample.
fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for name in ["paste-cases.py27-pd152.json", "oslo-config-cases.py311-10.7.json"] {
        let recording = std::fs::read(root.join("integration/golden").join(name)).expect("a recording");
        for case in serde_json::from_slice::<Vec<Value>>(&recording).expect("JSON") {
            let files: Vec<&str> = match &case["files"] {
                Value::Object(files) => files.values().filter_map(Value::as_str).collect(),
                Value::Array(files) => files.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            all.push(files.join("\u{0}").into_bytes());
        }
    }
    for name in ["etc/nova/nova.conf", "etc/nova/api-paste.ini"] {
        all.extend(std::fs::read(root.join(name)));
    }
    all
}

fn input(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let seed = &seeds[rng.usize(..seeds.len())];
    let mut bytes = match rng.usize(..5) {
        0 => (0..rng.usize(..200)).map(|_| rng.u8(..)).collect(),
        1 => (0..rng.usize(..120)).map(|_| b"[]=:%()s$${}#;\n\t ab,\"'\xff"[rng.usize(..23)]).collect(),
        _ => grow::mutated(rng, &String::from_utf8_lossy(seed)).into_bytes(),
    };
    // The parts of an input stand one after the other.
    bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = 0xff);
    bytes
}

fn resident_pages() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default()
}

fn run(name: &str, inputs: usize, target: fn(&[u8])) {
    let (mut rng, seeds) = (Rng::with_seed(SEED), seeds());
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    // What the allocator keeps for itself is there after the first tenth.
    let mut before = None;
    for n in 0..inputs {
        let bytes = input(&mut rng, &seeds);
        let since = Instant::now();
        target(&bytes);
        let took = since.elapsed();
        assert!(took < LONGEST, "{name} took {took:?} for {:?}", String::from_utf8_lossy(&bytes));
        longest = longest.max(took);
        if n == inputs / 10 {
            before = Some(resident_pages());
        }
    }
    let grown = resident_pages().saturating_sub(before.unwrap_or_default());
    eprintln!(
        "fuzz, bounded: {name}: {inputs} inputs, {:.1} s, longest {longest:?}, {} KiB grown, seed {SEED}",
        begun.elapsed().as_secs_f64(),
        grown * 4
    );
    assert!(grown < GROWTH, "{name} grew by {} KiB", grown * 4);
}

// One test: the process's memory is everybody's.
#[test]
fn no_input_makes_any_target_panic_hang_or_grow() {
    run("paste_parser", 4000, targets::paste_parser);
    run("oslo_parser", 250, targets::oslo_parser);
    run("interpolation", 4000, targets::interpolation);
    run("substitution", 250, targets::substitution);
    run("resolve", 1500, targets::resolve);
}
