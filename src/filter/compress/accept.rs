//! Which coding of those that the front can make a client's `Accept-Encoding` wants (RFC 9110 §12.5.3).
//!
//! Must not know how a coding is made.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// A coding that the front can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `zstd` (RFC 8878).
    Zstd,
    /// `br` (RFC 7932).
    Brotli,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl Coding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As it stands in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The coding with that name; `x-gzip` is an old word for gzip.
    pub fn named(name: &str) -> Option<Self> {
        let same = |coding: &Self| coding.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(same).or_else(|| name.eq_ignore_ascii_case("x-gzip").then_some(Self::Gzip))
    }
}

/// Qualities in thousandths, by coding; `None` where the client does not say.
#[derive(Default)]
struct Wants {
    codings: [Option<u16>; 3],
    identity: Option<u16>,
    rest: Option<u16>,
}

impl Wants {
    /// Reads every item of every line, each once, and keeps nothing but five numbers: an absurd header costs its own
    /// length. An item whose `q` is none does not count; of equal names the last one does.
    fn read(headers: &HeaderMap) -> Self {
        let mut wants = Self::default();
        let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        for item in lines.flat_map(|line| line.split(',')) {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let Some(quality) = quality(parameters) else { continue };
            let place = match name.trim() {
                "*" => &mut wants.rest,
                name if name.eq_ignore_ascii_case("identity") => &mut wants.identity,
                name => {
                    let Some(coding) = Coding::named(name) else { continue };
                    match wants.codings.get_mut(coding as usize) {
                        Some(place) => place,
                        None => continue,
                    }
                }
            };
            *place = Some(quality);
        }
        wants
    }

    fn quality(&self, coding: Coding) -> u16 {
        self.codings.get(coding as usize).copied().flatten().or(self.rest).unwrap_or(0)
    }
}

/// The coding of `offers`, which the front likes best first, that the client likes best; `None` for the body as it is:
/// where the client accepts none of them, likes `identity` better, or says nothing at all.
///
/// A client that forbids `identity` and accepts nothing else gets the body as it is too; 406 would help nobody.
pub fn choose(headers: &HeaderMap, offers: &[Coding]) -> Option<Coding> {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return None;
    }
    let wants = Wants::read(headers);
    let mut best: Option<(Coding, u16)> = None;
    for &offer in offers {
        let quality = wants.quality(offer);
        if quality > best.map_or(0, |(_, quality)| quality) {
            best = Some((offer, quality));
        }
    }
    // Unless it is named, `identity` is the last choice.
    best.filter(|(_, quality)| *quality >= wants.identity.unwrap_or(0)).map(|(coding, _)| coding)
}

/// `q` of an item's parameters in thousandths: 1 without one, `None` if it is not a number between 0 and 1 with at
/// most three digits.
fn quality(parameters: &str) -> Option<u16> {
    let mut found = 1000;
    for parameter in parameters.split(';') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if !name.trim().eq_ignore_ascii_case("q") {
            continue;
        }
        let (whole, digits) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
        if digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let thousandths: u16 = format!("{digits:0<3}").parse().ok()?;
        found = match (whole, thousandths) {
            ("0", n) => n,
            ("1", 0) => 1000,
            _ => return None,
        };
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::Case;

    fn chosen(accept: &str) -> Option<Coding> {
        choose(Case::new("GET", "/").header("accept-encoding", accept).request.headers(), &Coding::ALL)
    }

    #[test]
    fn the_clients_order_counts_and_then_the_fronts() {
        use Coding::{Brotli, Gzip, Zstd};
        for (accept, want) in [
            ("gzip", Some(Gzip)),
            ("GZip", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("gzip, deflate", Some(Gzip)),
            ("gzip, deflate, br", Some(Brotli)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip;q=1.0, zstd;q=0.5", Some(Gzip)),
            ("gzip ; Q = 0.2 , br;q=0.3", Some(Brotli)),
            ("*", Some(Zstd)),
            ("*;q=0.1, gzip;q=0.2", Some(Gzip)),
            ("zstd;q=0, *", Some(Brotli)),
        ] {
            assert_eq!(chosen(accept), want, "{accept:?}");
        }
    }

    #[test]
    fn what_is_not_wanted_is_not_made() {
        for accept in [
            "",
            "identity",
            "deflate",
            "gzip;q=0",
            "gzip;q=0.000",
            "*;q=0",
            "gzip;q=0.5, identity",
            "gzip;q=0.5, identity;q=0.6",
            "identity;q=0",
            "identity;q=0, *;q=0",
            "gzip;q=2",
            "gzip;q=1.5",
            "gzip;q=-1",
            "gzip;q=0.1234",
            "gzip;q=",
            "gzip;q=NaN",
            "gzip;q=1, gzip;q=0",
            "gzipped",
            ",;,;q=1,",
        ] {
            assert_eq!(chosen(accept), None, "{accept:?}");
        }
        assert_eq!(choose(Case::new("GET", "/").request.headers(), &Coding::ALL), None);
    }

    #[test]
    fn a_client_that_forbids_the_plain_body_gets_any_coding() {
        assert_eq!(chosen("identity;q=0, *;q=0.001"), Some(Coding::Zstd));
        assert_eq!(chosen("gzip;q=0.5, identity;q=0.5"), Some(Coding::Gzip));
    }

    #[test]
    fn repeated_lines_are_one_list() {
        let case = Case::new("GET", "/").header("accept-encoding", "br;q=0.1").header("accept-encoding", "gzip");
        assert_eq!(choose(case.request.headers(), &Coding::ALL), Some(Coding::Gzip));
    }

    #[test]
    fn an_absurd_header_is_read_once_and_forgotten() {
        let many = "a;q=0.1;b=c,".repeat(100_000) + "gzip";
        assert_eq!(chosen(&many), Some(Coding::Gzip));
        assert_eq!(chosen(&format!("gzip{}", ";q=0.5".repeat(100_000))), Some(Coding::Gzip));
        let mut case = Case::new("GET", "/");
        let bytes = http::HeaderValue::from_bytes(b"gzip, \xff").unwrap();
        case.request.headers_mut().insert(ACCEPT_ENCODING, bytes);
        assert_eq!(choose(case.request.headers(), &Coding::ALL), None);
    }
}
