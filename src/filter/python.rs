//! Text as Python's own functions write it, for answers that must not differ from the original's by a byte.
//!
//! Must not know where the text is shown.

use std::fmt::Write;

use crate::release::Release;

/// Whether a release's services run on Python 3; dictionaries keep their order and escaping is stricter there.
pub fn is_python3(release: Release) -> bool {
    release >= Release::STEIN
}

/// `json.dumps` of a string: ASCII only, in double quotes.
pub fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => push_escaped(&mut out, c),
        }
    }
    out.push('"');
    out
}

/// A character as JSON escapes it: `\uXXXX`, beyond the first 65 536 as two of them.
pub fn push_escaped(out: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// The order in which a dictionary of CPython 2.7 on 64 bits gives its keys back, as places in the order in which they
/// were put in: that of the slots of its hash table.
pub fn dict_order<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut slots: Vec<Option<(u64, usize)>> = vec![None; 8];
    for (place, key) in keys.enumerate() {
        put(&mut slots, (hash(key), place));
        let used = place + 1;
        if used * 3 >= slots.len() * 2 {
            let size = (if used > 50_000 { 2 } else { 4 } * used + 1).next_power_of_two();
            let old = std::mem::replace(&mut slots, vec![None; size]);
            old.into_iter().flatten().for_each(|entry| put(&mut slots, entry));
        }
    }
    slots.into_iter().flatten().map(|(_, place)| place).collect()
}

fn put(slots: &mut [Option<(u64, usize)>], entry: (u64, usize)) {
    let mask = slots.len() as u64 - 1;
    let (mut at, mut perturb) = (entry.0 & mask, entry.0);
    loop {
        match slots.get_mut((at & mask) as usize) {
            Some(slot @ None) => {
                *slot = Some(entry);
                return;
            }
            _ => at = at.wrapping_mul(5).wrapping_add(perturb).wrapping_add(1),
        }
        perturb >>= 5;
    }
}

/// `hash(unicode)`, the same as `hash(str)` for ASCII.
fn hash(text: &str) -> u64 {
    let mut chars = text.chars().map(u64::from).peekable();
    let begin = chars.peek().map_or(0, |first| first << 7);
    let (hash, length) = chars.fold((begin, 0), |(hash, length), c| (hash.wrapping_mul(1_000_003) ^ c, length + 1_u64));
    // -1 is an error in CPython.
    match hash ^ length {
        u64::MAX => u64::MAX - 1,
        hash => hash,
    }
}

/// `cgi.escape(text, True)` of Python 2, `html.escape(text)` of Python 3 (which takes the apostrophe too).
pub fn html_escape(text: &str, python3: bool) -> String {
    let escaped = tag_escape(text).replace('"', "&quot;");
    if python3 { escaped.replace('\'', "&#x27;") } else { escaped }
}

/// `cgi.escape(text)`: quotes stay.
pub fn tag_escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_ascii_and_astral_characters_are_pairs() {
        assert_eq!(json_string("a\"\\\n\u{7f}é😀"), r#""a\"\\\n\u007f\u00e9\ud83d\ude00""#);
    }

    #[test]
    fn keys_come_back_in_the_order_of_their_hashes() {
        for (put, got) in [
            ("type name endpoints_links endpoints", "endpoints endpoints_links type name"),
            ("id region adminURL internalURL publicURL", "adminURL region publicURL id internalURL"),
            ("region publicURL", "region publicURL"),
            ("publicURL internalURL adminURL region id", "adminURL region id internalURL publicURL"),
            ("a b c d e f g h i j k l m n o p", "a c b e d g f i h k j m l o n p"),
            ("type name endpoints", "endpoints type name"),
            ("aa ab ac ad ae", "aa ac ab ae ad"),
            (
                "k0 k1 k2 k3 k4 k5 k6 k7 k8 k9 k10 k11 k12 k13 k14 k15 k16 k17 k18 k19 k20 k21 k22 k23",
                "k13 k12 k11 k10 k17 k16 k15 k14 k19 k18 k3 k2 k1 k0 k7 k6 k5 k4 k9 k8 k22 k23 k20 k21",
            ),
            ("RegionOne RegionTwo R1 R2", "RegionOne RegionTwo R1 R2"),
        ] {
            let keys: Vec<_> = put.split(' ').collect();
            let order: Vec<_> = dict_order(keys.iter().copied()).into_iter().map(|at| keys[at]).collect();
            assert_eq!(order.join(" "), got);
        }
    }

    #[test]
    fn only_python3_escapes_the_apostrophe() {
        assert_eq!(html_escape("<'\"&", false), "&lt;'&quot;&amp;");
        assert_eq!(html_escape("<'\"&", true), "&lt;&#x27;&quot;&amp;");
    }
}
