//! Texts at random: picks, repetitions, and mutations of a text that is there.
//!
//! Must not know which grammar a text is of.

use fastrand::Rng;

/// One of these.
pub fn pick<'a, T: ?Sized>(rng: &mut Rng, all: &[&'a T]) -> &'a T {
    all[rng.usize(..all.len())]
}

/// Whether something that happens once in `n` times happens.
pub fn once_in(rng: &mut Rng, n: usize) -> bool {
    rng.usize(..n) == 0
}

/// Words, joined.
pub fn words(rng: &mut Rng, most: usize, between: &str, mut word: impl FnMut(&mut Rng) -> String) -> String {
    let n = rng.usize(0..=most);
    let all: Vec<_> = (0..n).map(|_| word(rng)).collect();
    all.join(between)
}

/// Signs that parsers trip over.
const SIGNS: [&str; 30] = [
    "[", "]", "=", ":", "#", ";", "%", "(", ")", "s", "$", "{", "}", "\"", "'", " ", "\t", "\n", "\r", "\\", ",",
    "\u{a0}", "\u{feff}", "é", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "rem ", "0",
];

/// The text after a few small accidents.
pub fn mutated(rng: &mut Rng, text: &str) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..lines.len());
        let other = rng.usize(..lines.len());
        match rng.usize(..9) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            3 => lines[at].insert_str(0, pick(rng, &[" ", "\t", "    ", "\u{a0}"])),
            4 => lines[at].push_str(pick(rng, &[" ", "\r", " ; x", " # x", "\\"])),
            5 => lines.insert(at, pick(rng, &["", "  ", "# c", "  # c", "; c", "  ; c"]).to_owned()),
            6 => {
                let line = lines[at].trim_start().to_owned();
                lines[at] = line;
            }
            n => {
                let line = &lines[at];
                let ends: Vec<_> = line.char_indices().map(|(n, _)| n).chain([line.len()]).collect();
                let place = ends[rng.usize(..ends.len())];
                let mut changed = line.clone();
                if n == 7 || place == line.len() {
                    changed.insert_str(place, pick(rng, &SIGNS));
                } else {
                    changed.remove(place);
                }
                lines[at] = changed;
            }
        }
        if lines.is_empty() {
            return String::new();
        }
    }
    let text = lines.join(if once_in(rng, 20) { "\r\n" } else { "\n" });
    if once_in(rng, 20) { text.trim_end().to_owned() } else { text }
}

/// A text from which lines are taken away as long as `wrong` still holds: what is left shows why.
pub fn shrunk(text: &str, mut wrong: impl FnMut(&str) -> bool) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let mut at = 0;
    while at < lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(at);
        if wrong(&fewer.join("\n")) { lines = fewer } else { at += 1 }
    }
    lines.join("\n")
}
