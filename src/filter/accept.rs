//! What a client's `Accept` header wants: once as Nova's urlmap and WebOb 1.6 read it, once as RFC 7231 has it
//! (WebOb 1.7 and later).
//!
//! Must not know which types a service offers.

use smallvec::SmallVec;

/// The pieces of `name; key=value; ...`, the name first, as the expression in `nova/api/openstack/urlmap.py`
/// finds them: a key ends at a blank, `;` or `=`, a value at `;` only, and quotes around either are taken off.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    rest: &'a str,
    started: bool,
}

/// Splits a header such as `Content-Type`, or one item of `Accept`.
pub fn pieces(text: &str) -> Pieces<'_> {
    Pieces { rest: text, started: false }
}

impl<'a> Pieces<'a> {
    /// The value of the last piece named `key` after the name. A key without a value has none.
    pub fn param(mut self, key: &str) -> Option<&'a str> {
        if !self.started {
            self.next();
        }
        self.filter(|(found, _)| *found == key).last().and_then(|(_, value)| value)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let after = if self.started { self.rest.split_once(';')?.1 } else { self.rest };
            self.started = true;
            self.rest = after;
            let body = after.trim_start();
            let end = body.find(|c: char| c.is_whitespace() || c == ';' || c == '=').unwrap_or(body.len());
            let (key, tail) = body.split_at_checked(end)?;
            if key.is_empty() {
                continue;
            }
            self.rest = tail;
            let mut value = None;
            if let Some(from) = tail.trim_start().strip_prefix('=') {
                let (raw, tail) = from.split_at_checked(from.find(';').unwrap_or(from.len()))?;
                self.rest = tail;
                value = match raw.trim_start() {
                    // Nothing but blanks: the expression gives the last of them back to the value.
                    "" => raw.char_indices().last().and_then(|(at, _)| raw.get(at..)),
                    text => Some(text),
                };
            }
            return Some((unquote(key), value.map(unquote)));
        }
    }
}

/// Takes off one pair of quotes.
fn unquote(text: &str) -> &str {
    if text.starts_with('"') && text.ends_with('"') {
        text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
    } else {
        text
    }
}

/// The items of a comma-separated header, trimmed; commas in quotes do not count (`urllib.request.parse_http_list`).
fn items(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let split = move |c: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    };
    text.split(split).map(str::trim)
}

/// What [`best_match`] chose.
#[derive(Debug)]
pub struct Best<'a> {
    /// The offer.
    pub offer: &'static str,
    /// Its `q`.
    pub quality: f64,
    /// The pieces of the item that matched, its name among them.
    pub item: Pieces<'a>,
}

/// The best offer: the highest `q`, then the mask with fewer stars, then the earlier offer, then the earlier mask.
/// An offer with `q=0` can win, and an item whose `q` is not a number does not count.
pub fn best_match<'a>(accept: &'a str, offers: &[&'static str]) -> Option<Best<'a>> {
    struct Mask<'a> {
        name: &'a str,
        stars: usize,
        quality: f64,
        item: Pieces<'a>,
    }
    let masks: SmallVec<[Mask<'_>; 8]> = items(accept)
        .filter_map(|item| {
            // An item in quotes loses two pairs of them.
            let inner = unquote(item);
            let item = pieces(if inner.len() == item.len() { item } else { unquote(inner) });
            let name = item.clone().next()?.0;
            let q = item.clone().skip(1).filter(|(key, _)| *key == "q").last();
            let quality = q.map_or(Some(1.0), |(_, value)| value?.trim().parse().ok())?;
            Some(Mask { name, stars: name.matches('*').count(), quality, item })
        })
        .collect();
    let mut best: Option<Best<'_>> = None;
    let (mut quality, mut stars) = (-1.0, 2);
    for &offer in offers {
        for mask in &masks {
            if mask.quality < quality || (mask.quality == quality && mask.stars >= stars) || !fits(mask.name, offer) {
                continue;
            }
            (quality, stars) = (mask.quality, mask.stars);
            best = Some(Best { offer, quality, item: mask.item.clone() });
        }
    }
    best
}

fn fits(mask: &str, offer: &str) -> bool {
    match mask {
        "*/*" => true,
        _ if mask.contains('*') => {
            mask.get(..mask.len().saturating_sub(2)) == offer.split_once('/').map(|(major, _)| major)
        }
        _ => mask == offer,
    }
}

/// The best offer by RFC 7231: for each offer the most specific range decides, `q=0` excludes, ties go to the
/// earlier offer. A malformed header counts as none, so that the first offer wins; an empty one accepts nothing.
pub fn acceptable(accept: &str, offers: &[&'static str]) -> Option<&'static str> {
    struct Range<'a> {
        major: &'a str,
        minor: &'a str,
        quality: f32,
    }
    let mut ranges = SmallVec::<[Range<'_>; 8]>::new();
    for item in items(accept).filter(|item| !item.is_empty()) {
        let mut parts = item.split(';').map(str::trim);
        let (mut quality, mut exact) = (1.0, true);
        let Some((major, minor)) = parts.next().and_then(|name| name.split_once('/')) else {
            return offers.first().copied();
        };
        if !(is_token(major) && is_token(minor)) {
            return offers.first().copied();
        }
        for part in parts {
            match part.split_once('=') {
                Some(("q" | "Q", q)) => match parse_quality(q) {
                    Some(q) => {
                        quality = q;
                        break; // What follows are extensions of the header, not parameters of the type.
                    }
                    None => return offers.first().copied(),
                },
                _ => exact = false,
            }
        }
        // A range with parameters is none of our offers, which have none.
        if exact {
            ranges.push(Range { major, minor, quality });
        }
    }
    let mut best = (None, 0.0);
    for &offer in offers {
        let Some((major, minor)) = offer.split_once('/') else { continue };
        let (mut rank, mut quality) = (0, 0.0);
        for range in &ranges {
            let fit = if range.major.eq_ignore_ascii_case(major) && range.minor.eq_ignore_ascii_case(minor) {
                3
            } else if range.major.eq_ignore_ascii_case(major) && range.minor == "*" {
                2
            } else {
                u8::from(range.major == "*" && range.minor == "*")
            };
            if fit > rank {
                (rank, quality) = (fit, range.quality);
            }
        }
        if quality > best.1 {
            best = (Some(offer), quality);
        }
    }
    best.0
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// `0`, `1`, or one of them with up to three decimals; not above 1.
fn parse_quality(text: &str) -> Option<f32> {
    let plain =
        text.len() <= 5 && text.starts_with(['0', '1']) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|q| plain && *q <= 1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    const HAVANA: &[&str] = &[
        "application/json",
        "application/vnd.openstack.compute+json",
        "application/xml",
        "application/vnd.openstack.compute+xml",
    ];
    const JSON_ONLY: &[&str] = &["application/json", "application/vnd.openstack.compute+json"];
    const WITH_ATOM: &[&str] = &[
        "application/json",
        "application/vnd.openstack.compute+json",
        "application/xml",
        "application/vnd.openstack.compute+xml",
        "application/atom+xml",
    ];

    fn params(mut item: Pieces<'_>) -> Value {
        if !item.started {
            item.next();
        }
        Value::Object(item.map(|(key, value)| (key.to_owned(), value.into())).collect::<Map<_, _>>())
    }

    #[test]
    fn the_recorded_answers_of_novas_parser_are_ours() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/integration/golden/urlmap-accept.json"));
        let cases: Vec<Map<String, Value>> = serde_json::from_str(text).unwrap();
        assert_eq!(cases.len(), 24);
        for case in cases {
            let header = case["header"].as_str().unwrap();
            for (key, offers) in [("havana", HAVANA), ("json_only", JSON_ONLY), ("with_atom", WITH_ATOM)] {
                let ours = match best_match(header, offers) {
                    Some(best) => Value::from(vec![best.offer.into(), params(best.item)]),
                    None => Value::from(vec![Value::Null, Map::new().into()]),
                };
                assert_eq!(ours, case[key], "{key} of {header}");
            }
            let name = pieces(header).next().map_or("", |(name, _)| name);
            let ours = Value::from(vec![name.into(), params(pieces(header))]);
            assert_eq!(ours, case["as_content_type"], "{header} as a content type");
        }
    }

    #[test]
    fn odd_pieces_are_what_the_expression_makes_of_them() {
        let all = |text| pieces(text).collect::<Vec<_>>();
        assert_eq!(all(";version=2"), [("version", Some("2"))]);
        assert_eq!(all("a;b=;c= ;d"), [("a", None), ("b", None), ("c", Some(" ")), ("d", None)]);
        assert_eq!(all("a b;=c"), [("a", None)]);
        assert_eq!(all(""), []);
        assert_eq!(pieces("a;v=1;v=\"2\"").param("v"), Some("2"));
        assert_eq!(pieces("v=1").param("v"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_header_has_an_answer_and_it_is_one_of_the_offers(header in "([a-z*/;=,q\\\\\" é.0-9]|application/json){0,40}") {
            let best = best_match(&header, HAVANA).map(|best| best.offer);
            proptest::prop_assert!(best.is_none_or(|offer| HAVANA.contains(&offer)));
            proptest::prop_assert!(acceptable(&header, JSON_ONLY).is_none_or(|offer| JSON_ONLY.contains(&offer)));
            for (key, _) in pieces(&header) {
                proptest::prop_assert!(!key.contains([';', '=', ' ']));
            }
        }
    }

    #[test]
    fn the_most_specific_range_decides_and_malformed_headers_count_as_none() {
        const OFFERS: &[&str] = &["text/html", "application/json"];
        for (accept, want) in [
            ("*/*", Some("text/html")),
            ("application/*, text/*;q=0.9", Some("application/json")),
            ("text/html;q=0, */*", Some("application/json")),
            ("TEXT/HTML", Some("text/html")),
            ("text/html;level=1", None),
            ("application/json;q=0.5;ext=1, text/plain", Some("application/json")),
            ("", None),
            (" , ,", None),
            ("garbage", Some("text/html")),
            ("application/json;q=x", Some("text/html")),
            ("application/json;q=1.5", Some("text/html")),
        ] {
            assert_eq!(acceptable(accept, OFFERS), want, "{accept:?}");
        }
    }
}
